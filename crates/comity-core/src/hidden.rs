//! What is not seen in a text that somebody else wrote, and how it is taken out before the text is shown. Nothing here
//! judges the words. See "Trust" in `protocols/identity.md`.

/// The text without control characters and without characters that change the direction of
/// writing, so that it can be shown.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

/// Whether a character is not seen itself, but may change how others are, or be read by those who do not look: soft
/// hyphens, separators of scripts, variation selectors, and tags, in which whole sentences can be written.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || is_variation(c)
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a character chooses one of several forms of the one before it.
pub fn is_variation(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_goes_and_letters_of_all_scripts_stay() {
        assert_eq!(clean("a\u{202e}b\u{0}\n\u{7f}c\u{ad}\u{fe0f}\u{e0041}d\u{200b}"), "abcd");
        assert_eq!(
            clean("Grüße, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, \u{4f60}\u{597d}"),
            "Grüße, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, \u{4f60}\u{597d}"
        );
        assert!(is_variation('\u{e0100}') && !is_variation('x'));
    }
}
