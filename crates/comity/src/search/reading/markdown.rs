//! The words of Markdown (CommonMark, with the tables and notes of GitHub). Its title is its first
//! heading, else the `title` of its front matter.

use super::flow::{Flow, Taken};
use super::html;
use pulldown_cmark::{Event, MetadataBlockKind, Options, Parser, Tag, TagEnd};

/// The words of a Markdown document, and its title.
pub(super) fn taken(markdown: &str) -> Taken {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut page = Page { flow: Flow::new(), heading: None, within: Within::Text, gathered: String::new() };
    for event in Parser::new_ext(markdown, options) {
        if page.flow.is_full() {
            break;
        }
        page.take(event);
    }
    let Page { flow, heading, .. } = page;
    Taken { title: heading, ..flow.finish() }
}

/// What has been read of a document.
struct Page {
    flow: Flow,
    heading: Option<String>,
    within: Within,
    /// The first heading, or a block that is read at its end.
    gathered: String,
}

/// Where the next event stands, as far as that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Text,
    /// The first heading.
    Heading,
    /// A block of HTML.
    Html,
    /// The front matter.
    Metadata,
    /// A block of code.
    Code,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(&tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) | Event::Code(text) => self.text(&text),
            Event::Html(text) if self.within == Within::Html => self.gathered.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.text(" "),
            Event::Rule => self.flow.paragraph(),
            _ => {}
        }
    }

    fn open(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                self.flow.paragraph();
                if self.heading.is_none() {
                    self.within = Within::Heading;
                    self.gathered.clear();
                }
            }
            Tag::HtmlBlock => {
                self.within = Within::Html;
                self.gathered.clear();
            }
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle) => {
                self.within = Within::Metadata;
                self.gathered.clear();
            }
            Tag::CodeBlock(_) => {
                self.flow.paragraph();
                self.within = Within::Code;
            }
            Tag::Paragraph | Tag::BlockQuote(_) | Tag::Table(_) => self.flow.paragraph(),
            Tag::Item | Tag::TableRow | Tag::FootnoteDefinition(_) => self.flow.line(),
            Tag::TableCell => self.flow.space(),
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                if self.within == Within::Heading {
                    self.heading = Some(std::mem::take(&mut self.gathered)).filter(|text| !text.trim().is_empty());
                }
                self.flow.paragraph();
            }
            TagEnd::HtmlBlock => {
                self.flow.paragraph();
                self.flow.verbatim(&html::taken(&self.gathered).text);
                self.flow.paragraph();
            }
            TagEnd::MetadataBlock(_) => self.heading = titled(&self.gathered),
            TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::Table => self.flow.paragraph(),
            _ => return,
        }
        self.within = Within::Text;
    }

    fn text(&mut self, text: &str) {
        match self.within {
            Within::Metadata => {
                self.gathered.push_str(text);
                return;
            }
            Within::Heading => self.gathered.push_str(text),
            Within::Code => return self.flow.verbatim(text),
            Within::Text | Within::Html => {}
        }
        self.flow.words(text);
    }
}

/// The title that front matter names.
fn titled(metadata: &str) -> Option<String> {
    let title = metadata.lines().find_map(|line| line.strip_prefix("title:"))?;
    let title = title.trim().trim_matches(['"', '\'']);
    (!title.is_empty()).then(|| title.to_owned())
}
