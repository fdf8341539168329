//! The flags of `comity index` and `comity search`.

use super::duration;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// What to do with the index.
#[derive(Debug, Subcommand)]
pub(crate) enum Index {
    /// Index files, folders, pages of the web, or a text from standard input
    ///
    /// Text, Markdown, HTML, PDF, man pages and source code are read, also with gzip. A file that has not changed since
    /// it was indexed is not read again; of a folder, documents go whose files are gone. Links are not followed; hidden
    /// files and what a .gitignore names are left out. The titles and beginnings of documents are told to whoever
    /// searches this node, secrets taken out.
    ///
    /// A page is fetched by this command, each time, and indexed under its URL: at most 16 MiB within 30 s, over at most
    /// 5 redirects, none of them from https to http. Its content type says what it is, else the name in its URL. The
    /// pages that it links to are not fetched. One that cannot be fetched keeps no other from being indexed; the command
    /// fails in the end.
    Add(Add),
    /// List the documents of this node
    Ls {
        /// Only those whose URL begins with this, or that are below this path
        #[arg(value_name = "PREFIX")]
        prefix: Option<String>,
        /// List the documents of other nodes, too, that are kept here
        #[arg(long)]
        all: bool,
    },
    /// Take documents out of the index; their files stay
    Rm {
        /// Ids of documents, URLs, or paths of files and folders
        #[arg(required = true, value_name = "DOCUMENT", value_parser = NonEmptyStringValueParser::new())]
        documents: Vec<String>,
    },
    /// Show what the index has, and what it costs
    Stats,
}

/// Flags of `comity index add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Files, folders, and http:// or https:// URLs; `-` reads a text from standard input
    #[arg(required = true, value_name = "PATH|URL")]
    pub(crate) paths: Vec<PathBuf>,
    /// Index all files below folders
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Something to find the documents by: `name=value`
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// The URL of the text on standard input [default: none, and its id is made of the text]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The title of the text on standard input
    #[arg(long)]
    pub(crate) title: Option<String>,
}

/// Flags of `comity search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// What is looked for
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) text: String,
    /// Results, at most
    #[arg(long, default_value_t = 10, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) limit: u64,
    /// Ask this node alone: a name, an id or a key; may be given several times [default: all that are known]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Vec<String>,
    /// What documents must have: `name=value`
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) filter: Vec<(String, String)>,
    /// How long other nodes may take, as in `500ms`, `5s`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// A name and a value with `=` between them.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("name=value is wanted".to_owned()),
    }
}
