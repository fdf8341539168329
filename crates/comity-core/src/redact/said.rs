//! Secrets in sentences, of several languages: "das Passwort für den Router lautet X", "creds: bob / X", "use `X`
//! as the password". Settings and code are `given.rs`'s; what may stand there as a secret, `spoken.rs` says.

use super::field::Noun;
use super::spoken::{self, Candidate};
use super::{steps, value};
use std::ops::Range;

/// How far behind the noun its value may stand, bytes.
const REACH_MAX: usize = 200;

/// Most words between the noun and what links it to its value.
const WORDS_MAX: usize = 16;

/// How far before the noun its value may stand, bytes.
const BEFORE_MAX: usize = 100;

/// What is counted, measured or done, and is not the secret itself: "password length: 16".
const ATTRIBUTES: &[&str] = words! {
    "count" "length" "score" "age" "policy" "policies" "hash" "hashes" "hashing" "manager" "entropy" "field" "fields"
    "list" "check" "strength" "expiry" "attempts" "attempt" "history" "size" "limit" "column" "id" "type" "name" "hint"
    "reset" "rotation" "file" "path" "url" "lifetime" "ttl" "timeout" "format" "version" "protected" "requirements"
    "layout" "header" "coverage" "review" "bucket" "storage" "validation" "input" "prompt" "cost" "cache" "authentication" "auth"
};

const NEGATIONS: &[&str] = words! {
    "not" "never" "no" "without" "isn't" "wasn't" "mustn't" "nicht" "kein" "keine" "nie" "ne" "pas" "non" "não" "niet" "nie"
    "не" "like"
};

/// What says that the value follows.
const COPULAS: &[&str] = words! {
    "is" "was" "are" "be" "being" "equals" "reads" "ist" "lautet" "war" "lauten" "sind" "heißt" "es" "era" "son" "será"
    "est" "c'est" "était" "sont" "è" "e'" "era" "é" "são" "foi" "is" "luidt" "jest" "to" "brzmi" "to:" "är" "er" "on"
    "je" "van" "este" "e" "είναι" "є" "это" "such" "=" "=>" "->" "→" "-" "–" "—" "est:" "là" "คือ" "है" "olarak" "using"
};

/// What may stand between a copula and its value.
const FILLERS: &[&str] = words! {
    "now" "currently" "still" "just" "simply" "set" "to" "changed" "actually" "again" "jetzt" "nun" "derzeit" "ahora"
    "maintenant" "désormais" "adesso" "ora" "agora" "nu" "teraz" "nyt" "the" "following" "probably" "either" "temporarily"
};

/// What stands between a value and the noun behind it: "X as the password".
const AS: &[&str] =
    words! { "as" "is" "als" "como" "comme" "come" "jako" "som" "ist" "es" "est" "for" "are" "that's" "thats" };

/// The secret that a sentence names around the noun at `hit`.
pub(super) fn secret(text: &str, noun: Noun, hit: Range<usize>) -> Option<Range<usize>> {
    let lead = text.get(hit.clone())?.len() - text.get(hit.clone())?.trim_start().len();
    let hit = hit.start + lead..hit.end;
    let end = noun_end(text, &hit)?;
    steps::look(REACH_MAX + BEFORE_MAX);
    if noun == Noun::Credential && text[..hit.start].ends_with('-') {
        return None;
    }
    if noun == Noun::Pin && end > hit.end {
        return None;
    }
    if noun == Noun::Pin && !spoken::is_of_a_lock(text, &hit) {
        return None;
    }
    behind(text, noun, end).or_else(|| before(text, noun, hit.start))
}

/// Where the noun ends with what inflects it; `None` where it is a part of another word, or of a name.
fn noun_end(text: &str, hit: &Range<usize>) -> Option<usize> {
    const INFLECTION_MAX: usize = 3;
    let word = text.get(hit.clone())?;
    if spoken::is_unspaced(word) {
        return Some(hit.end);
    }
    let joined = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '/' | '$' | '<' | '@' | '\\');
    let compound =
        text[..hit.start].ends_with('-') && !text[..hit.start].ends_with("--") && noun_may_follow(text, hit.start);
    if text[..hit.start].ends_with(joined) || text[..hit.start].ends_with('-') && !compound {
        return None;
    }
    let rest = text.get(hit.end..)?;
    let inflection = rest.chars().take_while(|letter| letter.is_alphabetic()).take(INFLECTION_MAX + 1);
    let (count, length) = inflection.fold((0, 0), |(count, length), letter| (count + 1, length + letter.len_utf8()));
    let next = rest.as_bytes().get(length);
    let apart =
        next.is_none_or(|next| next.is_ascii_whitespace() || !next.is_ascii() || b":='\"`,.*);?".contains(next));
    (count <= INFLECTION_MAX && apart).then_some(hit.end + length)
}

/// `WLAN-Passwort`, `API-Key`: a hyphen that joins a word to the noun.
fn noun_may_follow(text: &str, at: usize) -> bool {
    let before = text[..at - 1].chars().next_back();
    before.is_some_and(char::is_alphanumeric)
}

/// The value that follows: behind a colon, a copula, or at once.
fn behind(text: &str, noun: Noun, end: usize) -> Option<Range<usize>> {
    let stop = value::floor(text, end + REACH_MAX);
    // `password=x` is a setting, and no sentence.
    if text[end..].starts_with('=') && !text[end..].starts_with("= ") || text[end..].starts_with("::") {
        return None;
    }
    let mut at = end;
    for step in 0..WORDS_MAX {
        at = skip(text, at, stop);
        let rest = text.get(at..stop)?;
        let first = rest.chars().next()?;
        if let Some(length) = spoken::sign(rest) {
            return linked(text, noun, at + length, Link::Sign);
        }
        match first {
            '?' => return answered(text, noun, at + 1, stop),
            '\n' | '\r' | '!' | ';' | '|' | '<' | '>' | '{' | '}' | '&' | '%' | '$' => return None,
            '(' | '[' => {
                at += closed(rest, if first == '(' { ')' } else { ']' })?;
                continue;
            }
            '"' | '\'' | '`' | '«' | '“' | '„' | '‘' | '「' if step > 0 => {
                at += spoken::quote(rest).map_or(first.len_utf8(), |inner| inner.end + first.len_utf8());
                continue;
            }
            _ => {}
        }
        let word = word(rest);
        let small = word.to_lowercase();
        if step == 0 && ATTRIBUTES.contains(&small.trim_end_matches(':')) || NEGATIONS.contains(&small.as_str()) {
            return None;
        }
        if COPULAS.contains(&small.as_str()) || small.starts_with("'s") || small.starts_with("’s") {
            // "The password is generated for X: …": only a colon leads to the value then.
            let participle = text[at + word.len()..].trim_start().starts_with(|letter: char| letter.is_lowercase());
            let value = linked(text, noun, at + word.len(), Link::Word);
            if value.is_some() || !participle {
                return value;
            }
            at += word.len();
            continue;
        }
        if noun == Noun::Pin && step == 0 {
            let code = Candidate::at(text, at)?.secret(noun);
            if let Some(code) = code.filter(|code| spoken::ends_clause(&text[code.end..])) {
                return Some(code);
            }
        }
        if step < 3 && noun != Noun::Pin {
            let ends = step == 0 || spoken::ends_clause(&text[at + word.len()..]);
            let candidate = Candidate::at(text, at)?;
            if ends && candidate.is_beside(noun) {
                return candidate.secret(noun);
            }
        }
        at += word.len();
        if word.ends_with(['.', ';', '?', '!']) {
            return None;
        }
        if let Some(before) = word.strip_suffix(':') {
            return (!before.is_empty()).then(|| linked(text, noun, at, Link::Sign)).flatten();
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// A colon and the like: the value may stand on the next line.
    Sign,
    /// A word of the sentence.
    Word,
}

/// The value behind what links it.
fn linked(text: &str, noun: Noun, mut at: usize, link: Link) -> Option<Range<usize>> {
    const FILLERS_MAX: usize = 3;
    let stop = value::floor(text, at + REACH_MAX);
    for _ in 0..FILLERS_MAX {
        at = skip(text, at, stop);
        let rest = text.get(at..stop)?;
        if let Some(length) = spoken::sign(rest) {
            at += length;
            continue;
        }
        let word = word(rest);
        if word.is_empty() || !FILLERS.contains(&word.to_lowercase().trim_end_matches(':')) {
            break;
        }
        at += word.len();
    }
    at = skip(text, at, stop);
    let rest = text.get(at..stop)?;
    if rest.starts_with(['\n', '\r']) {
        return (link == Link::Sign).then(|| alone(text, noun, at, stop)).flatten();
    }
    let candidate = Candidate::at(text, at)?;
    if noun == Noun::Credential && link == Link::Word && !candidate.is_before(noun) {
        return None;
    }
    candidate.linked_secret(noun)
}

/// The value that has the next line for itself.
fn alone(text: &str, noun: Noun, at: usize, stop: usize) -> Option<Range<usize>> {
    const NEWLINES_MAX: usize = 4;
    let rest = text.get(at..stop)?;
    let blank = rest.find(|letter: char| !matches!(letter, '\n' | '\r' | ' ' | '\t' | '>' | '*'))?;
    let lines = rest[..blank].bytes().filter(|byte| *byte == b'\n').count();
    let candidate = Candidate::at(text, at + blank)?;
    let tail = text.get(candidate.after()..)?.trim_start_matches([' ', '\t', '\r', '`', '*']);
    (lines <= NEWLINES_MAX && (tail.is_empty() || tail.starts_with('\n')))
        .then(|| candidate.linked_secret(noun))
        .flatten()
}

/// "What's the wifi password?" and on the next line "bob: it's X": the answer, with or without who gives it.
fn answered(text: &str, noun: Noun, at: usize, stop: usize) -> Option<Range<usize>> {
    const LEADS: &[&str] = words! {
        "it's " "its " "it’s " "it is " "that's " "thats " "sure, " "sure: " "ja, " "es ist " "das ist " "c'est " "es "
    };
    let rest = text.get(at..stop)?;
    let line = rest.trim_start_matches(['?', '"', ' ', '\r']).strip_prefix('\n')?.trim_start();
    let spoken = line.find('\n').map_or(line, |end| &line[..end]);
    let named = |sign: &str| spoken.rsplit_once(sign).map_or(spoken, |(_, said)| said.trim_start());
    let said = if spoken.starts_with('<') { named("> ") } else { named(": ") };
    let small = said.to_ascii_lowercase();
    let lead = LEADS.iter().find(|lead| small.starts_with(**lead)).map_or(0, |lead| lead.len());
    let at = line.as_ptr() as usize - text.as_ptr() as usize + (said.as_ptr() as usize - line.as_ptr() as usize) + lead;
    let candidate = Candidate::at(text, at)?;
    (lead > 0 && spoken::ends_clause(&text[candidate.after()..]) || candidate.is_beside(noun))
        .then(|| candidate.linked_secret(noun))
        .flatten()
}

/// The value before the noun: "use X as the password".
fn before(text: &str, noun: Noun, start: usize) -> Option<Range<usize>> {
    const BETWEEN_MAX: usize = 5;
    let from = (start.saturating_sub(BEFORE_MAX)..=start).find(|at| text.is_char_boundary(*at))?;
    let line = text.get(from..start)?;
    let line = &line[line.rfind('\n').map_or(0, |newline| newline + 1)..];
    let mut rest = line.trim_end_matches([' ', '\t', '"', '*']);
    for _ in 0..BETWEEN_MAX {
        let cut = rest.rfind(' ')?;
        let word = &rest[cut + 1..];
        rest = rest[..cut].trim_end();
        if AS.contains(&word) {
            let open = rest.rfind(' ').map_or(0, |space| space + 1);
            let at = start - line.len() + open;
            let candidate = Candidate::at(text, at)?;
            return candidate.is_before(noun).then(|| candidate.secret(noun)).flatten();
        }
        if !word.chars().all(|letter| letter.is_alphabetic() || matches!(letter, '-' | '\'')) {
            return None;
        }
    }
    None
}

/// Past blanks, and the signs that make words thick.
fn skip(text: &str, at: usize, stop: usize) -> usize {
    let rest = text.get(at..stop).unwrap_or_default();
    let bare = rest.strip_prefix("**").unwrap_or(rest);
    let bare = bare.trim_start_matches([' ', '\t', '\u{a0}', ',', '\u{3000}', '؛']);
    let bare = bare.strip_prefix("**").unwrap_or(bare);
    at + rest.len() - bare.len()
}

/// Up to the next space.
fn word(rest: &str) -> &str {
    let end =
        rest.find(|letter: char| letter.is_whitespace() || matches!(letter, '：' | '，' | '。')).unwrap_or(rest.len());
    &rest[..end]
}

/// How long what is in brackets is, with them.
fn closed(rest: &str, close: char) -> Option<usize> {
    const INSIDE_MAX: usize = 100;
    rest.find(close).filter(|length| *length <= INSIDE_MAX).map(|length| length + 1)
}
