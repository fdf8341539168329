//! The words of HTML. It follows the tokens of the WHATWG's standard and builds no tree, so that
//! depth costs nothing; scripts and styles are left out.

use super::flow::{Flow, Taken};
use super::language_tag;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// The words of an HTML document, its title and its tongue.
pub(super) fn taken(html: &str) -> Taken {
    let mut page = Page { flow: Flow::new(), title: None, language: None, within: Within::Body, verbatim: 0 };
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| page.take(event));
    emitter.naively_switch_states(true);
    // The tokenizer stops only for what the page says, which is that it is full.
    let _full = Tokenizer::new_with_emitter(html, emitter).next();
    let Page { flow, title, language, .. } = page;
    Taken { title, language, ..flow.finish() }
}

/// What has been read of a page.
struct Page {
    flow: Flow,
    title: Option<String>,
    language: Option<String>,
    within: Within,
    /// How many elements are open in which lines mean something.
    verbatim: u32,
}

/// Where the next token stands, as far as that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Body,
    Title,
    /// An element whose text is for programs.
    Hidden,
    /// The first tag, which may name the tongue.
    Root,
    /// The value of its attribute `lang`.
    Language,
}

/// The page has all the text it can hold.
struct Full;

impl Page {
    fn take(&mut self, event: CallbackEvent<'_>) -> Option<Full> {
        match event {
            CallbackEvent::OpenStartTag { name } => self.open(name),
            CallbackEvent::AttributeName { name } if matches!(self.within, Within::Root | Within::Language) => {
                self.within = if matches!(name, b"lang" | b"xml:lang") { Within::Language } else { Within::Root };
            }
            CallbackEvent::AttributeValue { value } if self.within == Within::Language => {
                self.language = str::from_utf8(value).ok().and_then(language_tag).or(self.language.take());
                self.within = Within::Root;
            }
            CallbackEvent::CloseStartTag { .. } if matches!(self.within, Within::Root | Within::Language) => {
                self.within = Within::Body;
            }
            CallbackEvent::EndTag { name } => self.close(name),
            CallbackEvent::String { value } => self.text(&String::from_utf8_lossy(value)),
            _ => {}
        }
        self.flow.is_full().then_some(Full)
    }

    fn open(&mut self, name: &[u8]) {
        self.within = match name {
            b"html" => Within::Root,
            b"title" => Within::Title,
            b"script" | b"style" | b"iframe" | b"noembed" | b"noframes" | b"noscript" => Within::Hidden,
            _ => Within::Body,
        };
        if name == b"pre" {
            self.verbatim = self.verbatim.saturating_add(1);
        }
        self.apart(name);
    }

    fn close(&mut self, name: &[u8]) {
        self.within = Within::Body;
        if name == b"pre" {
            self.verbatim = self.verbatim.saturating_sub(1);
        }
        self.apart(name);
    }

    fn text(&mut self, text: &str) {
        match self.within {
            Within::Title => {
                self.title.get_or_insert_with(|| text.trim().to_owned());
            }
            Within::Hidden => {}
            _ if self.verbatim > 0 => self.flow.verbatim(text),
            _ => self.flow.words(text),
        }
    }

    /// What an element puts between the words before and after its tag.
    fn apart(&mut self, name: &[u8]) {
        match name {
            b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"pre" | b"blockquote" | b"table" | b"ul"
            | b"ol" | b"dl" | b"section" | b"article" | b"hr" | b"figure" => self.flow.paragraph(),
            b"br" | b"div" | b"li" | b"tr" | b"dt" | b"dd" | b"header" | b"footer" | b"nav" | b"main" | b"aside"
            | b"form" | b"option" | b"caption" | b"address" | b"details" | b"summary" | b"figcaption" | b"body" => {
                self.flow.line();
            }
            b"td" | b"th" | b"button" | b"label" | b"select" | b"img" => self.flow.space(),
            _ => {}
        }
    }
}
