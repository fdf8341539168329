//! A lone `key` that its section names: `[api]` above `key=…`, `encryption:` above `  key: …`, `"jwt": {"key": …}`.
//! Only what a machine drew is asked about, and only the nearest section: no format is parsed.

use super::read::{quote_at, skip_blanks};
use super::steps;
use std::ops::Range;

/// How far before the name its section's head may stand, bytes.
const BEFORE_MAX: usize = 400;

/// Fewest signs of a value that is worth the look.
const VALUE_MIN: usize = 24;

/// Sections whose key is a secret.
const HEADS: &[&str] = words! {
    "api" "encryption" "encrypt" "crypto" "cipher" "auth" "authentication" "jwt" "session" "sessions" "cookie" "cookies"
    "signing" "hmac" "secret" "secrets" "credentials" "security" "aes" "webhook" "webhooks" "openai" "anthropic" "stripe"
    "sendgrid" "mailgun" "twilio" "algolia" "datadog" "newrelic" "azure" "openrouter" "groq" "mistral" "gemini"
    "wireguard" "oauth" "license" "service" "account" "zulip" "pagerduty" "cloudflare" "huggingface" "deepl" "rapidapi"
};

/// Whether `name` is `key`, has a long value without a break, and stands in a section that holds secrets.
pub(super) fn holds_secret(text: &str, name: Range<usize>, value: usize) -> bool {
    let bytes = text.as_bytes();
    bytes[name.clone()].eq_ignore_ascii_case(b"key")
        && is_long(bytes, value)
        && head(text, name.start).is_some_and(|head| HEADS.contains(&head.to_ascii_lowercase().as_str()))
}

/// Whether the value of `"key"`, whose closing quote stands at `at`, is long enough to be drawn.
pub(super) fn has_long_value(bytes: &[u8], at: usize) -> bool {
    let colon = skip_blanks(bytes, at + 1);
    bytes.get(colon) == Some(&b':') && is_long(bytes, colon + 1)
}

fn is_long(bytes: &[u8], at: usize) -> bool {
    let at = skip_blanks(bytes, at);
    let at = quote_at(bytes, at).map_or(at, |(_, after)| after);
    let drawn = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_-=.".contains(byte);
    bytes[at..].iter().take(VALUE_MIN).take_while(|byte| drawn(byte)).count() == VALUE_MIN
}

/// The last word of the section's name.
fn head(text: &str, start: usize) -> Option<&str> {
    let from = (start.saturating_sub(BEFORE_MAX)..=start).find(|at| text.is_char_boundary(*at))?;
    let before = &text[from..start];
    steps::look(before.len());
    let named = if before.ends_with('"') { braced(before)? } else { bracketed_or_indented(before)? };
    let named = named.trim_end_matches(['"', '\'', ' ']);
    let word = named.rfind(|letter: char| !letter.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    Some(&named[word..])
}

/// `"name": {`, the brace that no other closes.
fn braced(before: &str) -> Option<&str> {
    let mut closed = 0;
    let open = before.bytes().rposition(|byte| match byte {
        b'}' => {
            closed += 1;
            false
        }
        b'{' if closed > 0 => {
            closed -= 1;
            false
        }
        byte => byte == b'{',
    })?;
    before[..open].trim_end().strip_suffix(':')
}

/// `[name]`, or `name:` further out than the line.
fn bracketed_or_indented(before: &str) -> Option<&str> {
    let (above, line) = before.rsplit_once('\n')?;
    if !line.bytes().all(|byte| byte == b' ' || byte == b'\t') {
        return None;
    }
    let indent = line.len();
    above.rsplit('\n').map(str::trim_end).find_map(|other| {
        if let Some(section) = other.trim_start().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Some(section);
        }
        let out = other.len() - other.trim_start().len() < indent;
        out.then(|| other.strip_suffix(':')).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_the_section_it_stands_in() {
        const VALUE: &str = "ebWW04eu7v1rksCko5M3c9Ho";
        let check = |wanted: bool, text: &str| {
            let text = text.replace('@', VALUE);
            let at = text.rfind("key").unwrap();
            let value = text.find(VALUE).unwrap();
            let value = value - usize::from(text[..value].ends_with('"'));
            assert_eq!(holds_secret(&text, at..at + 3, value), wanted, "{text}");
        };
        check(true, "[api]\nemail=a@b.example\nkey=@");
        check(true, "encryption:\n  key: @\n");
        check(true, "app:\n  jwt:\n    ttl: 5\n    key: @\n");
        check(true, "{\"encryption\": {\"iv\": {}, \"key\": \"@\"}}");
        check(false, "cache:\n  key: @\n");
        check(false, "{\"auth\": {}, \"row\": {\"key\": \"@\"}}");
        check(false, "[auth]\nx=1\n[row]\nkey=@");
        check(false, "the api said:\nmy key: @");
    }
}
