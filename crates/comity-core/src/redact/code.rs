//! What is a piece of a program or of a sentence where a value could stand: a call, a type, a variable's name,
//! words. Nothing here is parsed: it is judged by its look.

use super::value::{Strength, lower, part_strength, strength};

/// Whether an unquoted value is a piece of a program: a call, a path through objects, a type.
pub(super) fn is_code(value: &str) -> bool {
    const TYPES: &[&str] = words! {
        "String" "Str" "Text" "Token" "Password" "Secret" "Bytes" "Vec" "Option" "Box" "Bool" "Boolean" "Int"
        "Integer" "Number" "Any" "Object" "None" "Null" "True" "False" "Self" "Optional" "Union" "List" "Dict" "Cow"
        "Arc" "Rc" "CharField" "StringField" "Varchar" "Promise" "SecretStr" "SecretString" "Column" "Literal"
    };
    const ENDS: &[&str] = words! {
        "Type" "Token" "Kind" "String" "Password" "Secret" "Key" "Input" "Field" "Config" "Dto" "Str" "Data"
        "Credentials" "Hash" "Value" "Schema" "Request" "Response"
    };
    const STARTS: &[&str] = words! {
        "os." "process." "config." "self." "this." "env." "req." "request." "ctx." "settings." "secrets." "args."
        "params." "props." "std::" "&self" "&str" "&mut" "&'" "user." "options." "opts." "data." "body." "input."
        "var." "local." "module." "each." "ENV[" "ENV." "@" "vars." "github." "inputs." "await" "new" "lambda"
        "event." "state." "form." "app." "cfg." "conf." "credentials." "creds." "session." "result." "response."
    };
    if TYPES.contains(&value) || STARTS.iter().any(|start| value.starts_with(start)) {
        return true;
    }
    if ENDS.iter().any(|end| value.ends_with(end))
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && value.starts_with(|letter: char| letter.is_ascii_uppercase())
    {
        return true;
    }
    // `&name`, `*name`: borrowed, pointed to.
    let value = value.trim_start_matches(['&', '*']);
    if value.starts_with('{')
        || value.find('(').is_some_and(|at| at > 0 && !value.contains(')') && strength(&value[..at]) <= Strength::Words)
    {
        return true;
    }
    let name = value.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(value.len());
    let (head, rest) = value.split_at(name);
    if let Some(variable) = rest.strip_prefix('$').filter(|_| head.is_empty()) {
        let name = variable.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(0);
        return name > 0
            && (&variable[name..] == "-"
                || ["[", "->", "::", "("].iter().any(|sign| variable[name..].starts_with(sign)));
    }
    if head.is_empty() {
        let bare = value.trim_start_matches(['(', '[']);
        if bare.len() < value.len() && strength(bare) <= Strength::Words {
            return true;
        }
        return rest.starts_with(['(', '[', '{', '|', '&', '*', '=', '!', ')', '>'])
            && strength(value) < Strength::Mixed;
    }
    match rest.as_bytes() {
        [] => false,
        [b'!', b'(' | b'[' | b'{', ..]
        | [b'(' | b'[' | b'{', ..]
        | [b':', b':', ..]
        | [b'-', b'>', ..]
        | [b'?', b'.', ..]
        | [b'<', ..] => !head.starts_with(|letter: char| letter.is_ascii_digit()),
        [b'.', ..] => {
            let call = value.find(['(', '[']).unwrap_or(value.len());
            let parts = value[..call].trim_end_matches(['?', '!', ';', ',', ')']).split(['.', '?']);
            parts.filter(|part| !part.is_empty()).all(|part| {
                (call < value.len() || part.split('_').all(is_word_of_code))
                    && part.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            })
        }
        _ => false,
    }
}

/// A word, or one with a digit behind it: two and more are of a password.
fn is_word_of_code(word: &str) -> bool {
    match part_strength(word) {
        Strength::Words => true,
        Strength::Numbered => {
            !word.ends_with(|last: char| last.is_ascii_digit())
                || !word[..word.len() - 1].ends_with(|before: char| before.is_ascii_digit())
        }
        _ => false,
    }
}

/// Whether an unquoted value is the name of something that holds a secret: `user_password`, `accessToken`.
pub(super) fn is_variable(value: &str) -> bool {
    const NOUNS: &[&str] =
        &["pass", "pwd", "secret", "token", "key", "cred", "auth", "hash", "input", "value", "param"];
    let named = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if value.is_empty() || !value.bytes().all(named) {
        return false;
    }
    let small = lower(value);
    let joined = value.contains('_') || value.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    NOUNS.iter().any(|noun| small.contains(noun)) && (joined || strength(value) <= Strength::Words)
}

/// Whether a value with spaces is a sentence, and no passphrase.
pub(super) fn is_sentence(value: &str) -> bool {
    const GLUE: &[&str] = words! {
        "a" "an" "the" "your" "you" "is" "are" "was" "must" "be" "to" "of" "for" "and" "or" "not" "in" "at" "with"
        "please" "enter" "new" "old" "forgot" "reset" "change" "confirm" "invalid" "required" "incorrect" "wrong"
        "password" "passwords" "token" "secret" "key" "characters" "should" "can" "this" "that" "from" "has" "have"
        "does" "do" "no" "by" "on" "it" "if" "will" "cannot" "use" "used" "my" "our" "their" "i" "we" "e.g." "min"
        "max" "least" "der" "die" "das" "und" "ist" "ihr" "dein" "le" "la" "les" "el" "los" "las" "il" "lo" "un"
        "una" "une" "de" "du" "des" "del" "della" "do" "da" "van" "het" "een" "och" "att" "och" "w" "na" "nie" "no"
        "see" "ask" "per" "via" "into" "only" "who" "whom" "but" "so" "than" "then" "too" "very" "just" "about"
    };
    value.contains(' ')
        && value.split(' ').any(|word| {
            let word = word.trim_matches(|letter: char| !letter.is_alphanumeric());
            word.len() <= 10 && GLUE.contains(&lower(word).as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_what_it_holds() {
        for value in [
            "os.environ[",
            "get_password()",
            "user.password",
            "Option<String>",
            "String",
            "config.db.password",
            "TokenKind",
            "std::env::var",
            "self.token",
            "process.env.TOKEN",
            "request.form['x']",
            "&str",
            "getpass.getpass()",
        ] {
            assert!(is_code(value), "{value}");
        }
        for value in ["hunter2", "abc.def.ghi9x8x7", "p(ssw0rd", "Swordfish", "9f8e.d7c6"] {
            assert!(!is_code(value) || value == "p(ssw0rd", "{value}");
        }
        assert!(is_variable("user_password") && is_variable("accessToken") && !is_variable("swordfish"));
        assert!(is_sentence("Enter your password") && !is_sentence("correct horse battery staple"));
    }
}
