//! What a node may tell of itself: as much as its peers keep of it, and as its card has room for.

use comity_core::limits;
use comity_core::wire::card::CARD_MAX;
use std::collections::BTreeMap;

/// Most bytes of metadata and capabilities as JSON: a card has no room for more beside the rest. Only
/// texts full of quotation marks, which JSON doubles, come near it.
const TOLD_MAX: usize = CARD_MAX - 3 * 1024;

/// A text that peers keep whole, with something in it.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && is_short(text)
}

/// A text that peers keep whole, or none.
pub(super) fn is_short(text: &str) -> bool {
    text.len() <= limits::PEER_TEXT_MAX && !text.chars().any(char::is_control)
}

/// Whether peers keep all of this, and it fits the card; else the problem.
pub(super) fn told(metadata: &BTreeMap<String, String>, capabilities: &[String]) -> Result<(), String> {
    if metadata.len() > limits::PEER_LIST_MAX {
        return Err(format!("at most {} entries are allowed", limits::PEER_LIST_MAX));
    }
    if let Some((name, _)) = metadata.iter().find(|(name, value)| !is_word(name) || !is_short(value)) {
        return Err(format!("names of 1 to 128 bytes and values of at most 128 are wanted, of visible text: {name:?}"));
    }
    let length = serde_json::json!([metadata, capabilities]).to_string().len();
    if length > TOLD_MAX { Err("with the capabilities it is too much to be told to peers".to_owned()) } else { Ok(()) }
}
