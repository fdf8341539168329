//! The first words on a stream between two nodes that carries files: who opened it for what, and whether
//! somebody takes it. After `ready` the two commands speak ([`crate::wire::transfer`]).

use crate::wire::strict;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version that is spoken here.
pub const VERSION: u32 = 1;

/// Largest of these words, bytes.
pub const WORD_MAX: usize = 4096;

/// Longest sentence of a refusal, bytes. What is longer is cut.
const DETAIL_MAX: usize = 512;

/// A first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stream", rename_all = "snake_case")]
pub enum Word {
    /// By whoever wants to send files.
    Open {
        /// The version it speaks.
        version: u32,
    },
    /// By whoever dialled because it was called by a link frame: this is the stream that was wanted.
    Called {
        /// The call.
        call: Uuid,
    },
    /// Somebody takes files.
    Ready,
    /// Nobody does, or not from there.
    Refused {
        /// A stable name of the reason.
        code: String,
        /// The same, in a sentence.
        detail: String,
    },
}

impl Word {
    /// Reads a word; `None` when it is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > WORD_MAX {
            return None;
        }
        let mut word = serde_json::from_value(strict::parse(text).ok()?).ok()?;
        if let Self::Refused { code, detail } = &mut word {
            for text in [code, detail] {
                text.truncate(text.floor_char_boundary(DETAIL_MAX));
                // Terminals obey control characters.
                text.retain(|c| !c.is_control());
            }
        }
        Some(word)
    }

    /// The word as JSON text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("its keys are all texts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_again_and_anything_else_is_not() {
        let refused = Word::Refused { code: "no_receiver".to_owned(), detail: "nobody".to_owned() };
        for word in [Word::Open { version: 1 }, Word::Called { call: Uuid::from_u128(1) }, Word::Ready, refused] {
            assert_eq!(Word::parse(word.encode().as_bytes()), Some(word));
        }
        for text in ["", "{}", r#"{"stream":"sing"}"#, r#"{"stream":"ready","stream":"ready"}"#] {
            assert_eq!(Word::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Word::parse(&vec![b' '; WORD_MAX + 1]), None);
    }

    #[test]
    fn a_refusal_is_cut_and_has_no_control_characters() {
        let refused = |code: &str, detail: &str| Word::Refused { code: code.to_owned(), detail: detail.to_owned() };
        let said = refused("\u{7}no_receiver", &format!("\u{1b}[2Jnobody\n\u{9b}31m{}", "x".repeat(600)));
        let Some(Word::Refused { code, detail }) = Word::parse(said.encode().as_bytes()) else { panic!("a refusal") };
        assert_eq!(code, "no_receiver");
        assert!(detail.starts_with("[2Jnobody31mxxx") && detail.len() <= DETAIL_MAX, "{detail}");
    }
}
