//! What a value looks like: a secret, a stand-in for one, a piece of code, or words. Nothing here knows
//! where the value stood. See "Redaction" in `protocols/pubsub.md`.

use super::{MARK, field};

/// How much a value looks like a secret by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// Words, names, paths, short numbers.
    Words,
    /// A word with a number behind it: a weak password, or `sha256`.
    Numbered,
    /// Letters, digits and signs as people choose them for passwords.
    Mixed,
    /// As a machine draws it.
    Random,
}

/// Values that stand where a secret will be, whole and in lower case.
const STAND_INS: &[&str] = words! {
    "changeme" "change_me" "change-me" "changeit" "changethis" "password" "passwd" "pass" "passwort" "pwd" "secret"
    "token" "key" "apikey" "api_key" "api-key" "passphrase" "passcode" "credential" "credentials" "none" "null"
    "nil" "undefined" "true" "false" "yes" "no" "empty" "unset" "blank" "string" "str" "text" "bytes" "number"
    "integer" "int" "bool" "boolean" "object" "required" "optional" "hidden" "masked" "redacted" "removed" "omitted"
    "filtered" "censored" "protected" "encrypted" "n/a" "tbd" "todo" "foo" "bar" "baz" "foobar" "foobarbaz" "dummy"
    "sample" "example" "placeholder" "default" "prompt" "ask" "value" "hash" "hashed" "username:password"
    "user:pass" "user:password" "here" "later" "below" "above" "varchar" "char" "nvarchar" "uuid" "any" "unknown"
    "invalid" "valid" "missing" "expired" "incorrect" "correct" "wrong" "set" "enabled" "disabled" "mandatory"
    "basic" "bearer" "plain" "plaintext" "generated" "auto" "random" "self" "this" "it" "is" "are" "was" "must"
    "should" "for" "the" "a" "an" "of" "to" "in" "on" "and" "or" "not" "your" "my" "our" "with" "from" "as" "be"
    "can" "will" "used" "using" "if" "when" "by" "at" "that" "which" "only" "use" "new" "old" "same" "ok" "fail"
    "failed" "failure" "success" "accepted" "rejected" "denied" "reset" "sent" "found" "input" "output" "field"
    "type" "name" "id" "config" "env" "vault" "file" "stdin" "interactive" "1password" "keepass" "keepassxc"
    "bitwarden" "lastpass" "abc123" "abc" "12345abcde" "tbc" "same" "see" "ask" "passwords" "tokens" "secrets"
};

/// What a password, a token or a key is called, in the languages that people write: a label, and no secret.
const LABELS: &[&str] = words! {
    "password" "passwords" "passwort" "passwörter" "kennwort" "kennwörter" "contraseña" "contraseñas" "clave" "claves"
    "senha" "senhas" "wachtwoord" "wachtwoorden" "hasło" "hasła" "heslo" "hesla" "lösenord" "lösenordet" "passord"
    "passordet" "adgangskode" "adgangskoden" "kodeord" "salasana" "salasanan" "jelszó" "jelszava" "parola" "parolă"
    "parolayı" "şifre" "şifreniz" "sifre" "пароль" "пароля" "пароли" "гасло" "парола" "лозинка" "κωδικός" "κωδικού"
    "mot" "passe" "motdepasse" "codice" "zugriffstoken" "zugangstoken" "jeton" "ficha" "schlüssel" "geheimnis"
    "secreto" "secreta" "secrète" "secret" "segreto" "segredo" "clé" "clef" "chave" "chiave" "sleutel" "klucz" "klíč"
    "nyckel" "nøkkel" "nøgle" "avain" "kulcs" "anahtar" "ключ" "токен" "секрет" "token" "key" "passphrase" "pin"
    "code" "código" "credenciales" "identifiants" "zugangsdaten" "credentials" "lozinka" "geslo" "slaptažodis"
    "parole" "parool" "fjalëkalimi" "lykilorð"
};

/// The same in scripts without spaces, and in those where a letter's case tells nothing.
const LABEL_PARTS: &[&str] = words! {
    "密码" "密碼" "口令" "密钥" "密鑰" "令牌" "パスワード" "暗証番号" "トークン" "秘密" "キー" "비밀번호" "암호" "토큰"
    "كلمة" "סיסמ" "mật khẩu" "รหัสผ่าน" "पासवर्ड" "পাসওয়ার্ড" "רמז"
};

/// What the beginning of a stand-in says, in lower case.
const STAND_IN_STARTS: &[&str] = words! {
    "your" "<your" "[your" "my_" "my-" "mysecret" "mypass" "myapi" "mytoken" "insert" "enter" "replace" "changeme"
    "change_" "change-" "put_" "put-" "some_" "some-" "somesecret" "somepass" "sometoken" "dummy" "example"
    "placeholder" "sample" "fake_" "fake-" "redacted" "fill" "the_" "the-" "add_" "add-" "paste" "not_" "not-"
    "todo" "test_key" "secret_here" "set_" "set-" "see_" "see-" "n/a" "supersecret_example"
};

/// What a stand-in may hold anywhere, in lower case.
const STAND_IN_PARTS: &[&str] = words! {
    "changeme" "change_me" "change-me" "placeholder" "your_" "your-" "yourapi" "yourkey" "yoursecret" "yourtoken"
    "yourpass" "_here" "-here" "example" "goes-here" "xxxx" "****" "redacted" "insert_" "insert-" "replace_"
    "replace-" "replaceme" "dummy" "notasecret" "not-a-secret" "not_a_secret" "notreal" "not-real" "not_real" "••••"
};

/// What holds a secret elsewhere: a reference says where it is, not what it is.
const REFERENCES: &[&str] = words! {
    "op://" "vault:" "ssm:" "arn:aws:" "env:" "env." "file:" "file://" "secretsmanager:" "keyvault:" "kms:" "sops:"
    "gcp:" "azure:" "bws:" "doppler:" "keyring:" "keychain:" "ref+" "enc[" "!ref" "!sub" "!vault" "!env"
    "/run/secrets/" "/etc/" "/var/" "/opt/" "/usr/" "/tmp/" "~/" "./" "../" "c:\\" "@keyvault"
    "@microsoft.keyvault"
};

/// Whether a value stands for a secret that is not there: a template, a mask, a reference, `changeme`.
pub(super) fn is_stand_in(value: &str) -> bool {
    is_mask(value) || is_template(value) || is_wordy_stand_in(value)
}

/// Whether a value is what a field is called, as a translation says it: `Mot de passe`, `Passwort vergessen?`.
pub(super) fn is_label(value: &str) -> bool {
    const LONGEST: usize = 120;
    if value.len() > LONGEST || value.bytes().any(|byte| byte.is_ascii_digit() || b"-_=+$#@%^&*\\".contains(&byte)) {
        return false;
    }
    let small = value.to_lowercase();
    LABEL_PARTS.iter().any(|part| small.contains(part))
        || small.split(|letter: char| !letter.is_alphabetic()).any(|word| LABELS.contains(&word))
}

/// Whether nothing of a secret is in the value, whatever its key says: empty, a mask, a template.
pub(super) fn is_mask(value: &str) -> bool {
    let value = value.trim();
    let Some(first) = value.chars().next() else { return true };
    if value == MARK || value.chars().all(|letter| letter == first) && value.chars().nth(1).is_some() {
        return value == MARK || !first.is_ascii_digit() || value.len() > 5;
    }
    let masked = value.chars().filter(|letter| matches!(letter, '*' | '•' | '●' | '.' | '…' | '_' | '-' | '?')).count();
    value.chars().count() == masked || value.contains("****") || value.contains("••••")
}

/// Whether something else fills the value in later: `${X}`, `{{ x }}`, `<x>`, `%X%`, `$(x)`, `$X`, `%s`.
pub(super) fn is_template(value: &str) -> bool {
    let value = value.trim();
    let bytes = value.as_bytes();
    let wrapped =
        [("<", ">"), ("{{", "}}"), ("{", "}"), ("${", "}"), ("$(", ")"), ("#{", "}"), ("[", "]"), ("__", "__")];
    if wrapped.iter().any(|(open, close)| value.starts_with(open) && value.ends_with(close)) {
        // ODBC puts a password in braces as others do in quotes.
        let inner = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        return inner.contains(['{', '.', ' ', '"', ':']) || strength(inner) < Strength::Mixed;
    }
    let filled = ["%(", "%{", "%env(", "$__"].iter().any(|open| value.starts_with(open));
    if filled || is_variable_of_a_shell(value) || is_yaml_tag(value) {
        return true;
    }
    if value.contains("${") || value.contains("{{") || value.contains("$(") || value.contains("<%") {
        return true;
    }
    let name = |rest: &[u8]| !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match bytes {
        [b'$', rest @ ..] => {
            name(rest) && !rest[0].is_ascii_digit() && rest.iter().all(|byte| !byte.is_ascii_lowercase())
                || name(rest) && strength(&value[1..]) <= Strength::Words
        }
        [b'%', rest @ .., b'%'] => name(rest),
        [b'%', kind] => b"sdvq@".contains(kind),
        [b':' | b'@', rest @ ..] => name(rest) && strength(&value[1..]) <= Strength::Words,
        [b'{', rest @ ..] => rest.contains(&b'}') && name(&rest[..rest.iter().position(|b| *b == b'}').unwrap_or(0)]),
        [b'<', ..] | [b'\\', ..] => true,
        _ => value.ends_with("...") || value.ends_with('…') || value.starts_with("..."),
    }
}

/// `$env:NAME`, `${NAME`, `%NAME%`: where a shell keeps it.
fn is_variable_of_a_shell(value: &str) -> bool {
    let small = value.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("$env:"));
    small || value.starts_with("$::") || value.starts_with("$script:") || value.starts_with("$global:")
}

/// `!GetAtt`, `!reference`: a tag of YAML, behind which stands what is meant.
fn is_yaml_tag(value: &str) -> bool {
    let Some(tag) = value.strip_prefix('!') else { return false };
    let name = tag.split(' ').next().unwrap_or_default();
    name.len() > 2 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b':' | b'/' | b'_'))
}

fn is_wordy_stand_in(value: &str) -> bool {
    const LONGEST: usize = 64;
    let value = value.trim();
    if value.len() > LONGEST {
        let start = lower(&value[..floor(value, LONGEST)]);
        return STAND_IN_PARTS.iter().any(|part| start.contains(part)) && strength(value) <= Strength::Words
            || REFERENCES.iter().any(|reference| start.starts_with(reference));
    }
    let small = lower(value);
    let bare = small.trim_matches(|letter: char| !letter.is_alphanumeric());
    let shouted = value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let names_another =
        value.contains(['_', '-']) && field::noun(value).is_some() && (shouted || strength(value) < Strength::Random);
    names_another
        || is_label(value)
        || STAND_INS.contains(&bare)
        || STAND_IN_STARTS.iter().any(|start| small.starts_with(start)) && strength(value) < Strength::Random
        || STAND_IN_PARTS.iter().any(|part| small.contains(part))
        || REFERENCES.iter().any(|reference| small.starts_with(reference))
}

/// Whether the value of a vendor's token is one that documentation prints: `…EXAMPLE`, `xxxxxxxx`, `your…`.
pub(super) fn is_printed(value: &str) -> bool {
    const RUN: usize = 6;
    let mut run = 1;
    let mut last = 0;
    for byte in value.bytes() {
        run = if byte == last { run + 1 } else { 1 };
        if run >= RUN && byte != b'=' && byte != b'A' {
            return true;
        }
        last = byte;
    }
    if value.len() > 512 {
        return false;
    }
    let small = lower(value);
    [
        "0123456789abcdef",
        "example",
        "your",
        "placeholder",
        "redacted",
        "changeme",
        "xxxx",
        "-here",
        "_here",
        "dummy",
        "replace",
    ]
    .iter()
    .any(|word| small.contains(word))
}

/// How much a value looks like a secret by itself.
pub(super) fn strength(value: &str) -> Strength {
    let (mut letters, mut digits, mut signs) = (0, 0, 0);
    for byte in value.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => letters += 1,
            b'-' | b'_' | b'.' | b'/' | b' ' | b':' | b',' => {}
            _ => signs += 1,
        }
    }
    if letters == 0 {
        return match digits {
            _ if signs > 1 && digits > 3 => Strength::Mixed,
            8.. if !value.contains(['.', ':', '-', '/', ' ']) => Strength::Mixed,
            _ => Strength::Words,
        };
    }
    let mut numbered = false;
    let mut plain = signs == 0;
    if plain {
        for part in value.split(['-', '_', '.', '/', ' ', ':', ',']) {
            match part_strength(part) {
                Strength::Words => {}
                Strength::Numbered => numbered = true,
                _ => plain = false,
            }
        }
    }
    if plain {
        return if numbered { Strength::Numbered } else { Strength::Words };
    }
    let kinds = usize::from(letters > 0) + usize::from(digits > 0) + usize::from(signs > 0);
    if value.len() >= 16 && entropy(value) >= 3.0 && (kinds > 1 || letters > 0) && !value.contains(' ') {
        return Strength::Random;
    }
    let has_sense = signs > 0 && digits == 0 && wordlike(value.trim_matches(|letter: char| !letter.is_alphabetic()));
    if value.len() < 6 || has_sense && signs == 1 && value.ends_with(['=', '?', '!']) {
        return Strength::Words;
    }
    Strength::Mixed
}

/// A part between separators: a word, a word with a number behind it, or neither.
pub(super) fn part_strength(part: &str) -> Strength {
    let word = part.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = part.len() - word.len();
    if word.is_empty() {
        return if digits <= 4 { Strength::Words } else { Strength::Mixed };
    }
    let acronym = word.len() <= 6 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if !acronym && !wordlike(word) {
        return Strength::Mixed;
    }
    match digits {
        0 => Strength::Words,
        1..=3 if is_algorithm(word) => Strength::Words,
        1..=4 => Strength::Numbered,
        _ => Strength::Mixed,
    }
}

/// What is written with a number and is no secret: `sha256`, `base64`, `v2`.
fn is_algorithm(word: &str) -> bool {
    const NAMES: &[&str] = words! {
        "sha" "sha3-" "md" "rs" "hs" "es" "ps" "aes" "utf" "base" "oauth" "http" "ipv" "ed" "x" "v" "p" "u" "i" "f"
        "int" "uint" "float" "blake" "argon" "bcrypt" "crc" "step" "phase" "part" "line" "col" "item" "test" "node"
        "rfc" "section" "level" "chapter" "version" "port" "latin" "win" "arm" "amd" "k8s" "k" "s" "log" "python"
        "py" "ruby" "java" "es6" "h" "mp" "pbkdf" "totp" "curve" "chacha" "poly" "rsa" "ecdsa" "sm" "token" "key"
        "secret"
    };
    NAMES.contains(&lower(word).as_str())
}

/// Whether letters read as words: parted at capitals, each with vowels among its consonants.
pub(super) fn wordlike(letters: &str) -> bool {
    const LONGEST: usize = 24;
    let (mut parts, mut length, mut total) = (0_usize, 0_usize, 0_usize);
    let (mut vowels, mut consonants) = (0_usize, 0_usize);
    let mut upper = false;
    let readable = |length: usize, vowels: usize| length <= 3 || vowels * 6 >= length && vowels * 10 <= length * 8;
    for letter in letters.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphabetic() {
            return false;
        }
        if letter.is_uppercase() && !upper && length > 0 {
            if !readable(length, vowels) {
                return false;
            }
            (length, vowels, consonants) = (0, 0, 0);
        }
        parts += usize::from(length == 0);
        upper = letter.is_uppercase();
        (length, total) = (length + 1, total + 1);
        if matches!(letter.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y') || !letter.is_ascii() {
            (vowels, consonants) = (vowels + 1, 0);
        } else {
            consonants += 1;
        }
        if consonants > 5 || length > LONGEST {
            return false;
        }
    }
    readable(length, vowels) && total >= parts * 3 || total <= 3
}

/// Whether much of it is words and numbers between separators, or it is an id (RFC 9562): a slug, a path, a file's
/// name with a digest behind it.
pub(super) fn is_worded(value: &str) -> bool {
    const TENTHS: usize = 4;
    if value.contains("//") {
        return true;
    }
    let words = value
        .split(['-', '_', '.', '/', '+', '%'])
        .filter(|part| part.len() > 1 && part_strength(part) <= Strength::Numbered)
        .map(str::len)
        .sum::<usize>();
    words * 10 > value.len() * TENTHS || is_uuid(value)
}

/// `3f2a9c4e-5b1d-4c8a-9f00-1b2c3d4e5f60`.
pub(super) fn is_uuid(value: &str) -> bool {
    let parts = [8, 4, 4, 4, 12];
    value.len() == 36
        && value.split('-').map(str::len).eq(parts)
        && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Words that are joined as generators of passphrases do it, with a number or without.
pub(super) fn is_passphrase(value: &str) -> bool {
    is_hyphenated(value) || is_numbered_words(value)
}

/// `Marble-Forest-56`, `kestrel-91-lamp`: words and a number among them.
fn is_numbered_words(value: &str) -> bool {
    const LETTERS_MIN: usize = 4;
    let (mut words, mut numbers) = (0, 0);
    for part in value.split(['-', '_', '.']) {
        if (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()) {
            numbers += 1;
        } else if part.len() >= LETTERS_MIN && part.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            words += 1;
        } else {
            return false;
        }
    }
    numbers == 1 && (words >= 2 || words == 1 && value.starts_with(char::is_lowercase))
}

/// `correct-horse-battery`: words that a generator of passphrases joined.
fn is_hyphenated(value: &str) -> bool {
    const WORDS_MIN: usize = 3;
    const LETTERS_MIN: usize = 3;
    const GLUE: &[&str] = words! {
        "the" "and" "not" "for" "per" "out" "with" "your" "this" "that" "some" "here" "there" "see" "ask" "one" "two"
        "password" "secret" "token" "key" "kms" "ssm" "vault" "file" "env" "from" "set" "name" "field" "input" "prod"
        "dev" "staging" "test" "production" "credentials" "auth" "config" "reset" "read" "only" "based" "manager"
        "service" "page" "local"
    };
    let mut words = 0;
    for word in value.split(['-', '_', '.', '+']) {
        let letters = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let small = letters.len() >= LETTERS_MIN
            && letters.bytes().skip(1).all(|byte| byte.is_ascii_lowercase())
            && letters.as_bytes()[0].is_ascii_alphabetic();
        let number = words > 0 && letters.is_empty();
        if !(small || number) || GLUE.contains(&letters) {
            return false;
        }
        words += usize::from(small);
    }
    words >= WORDS_MIN && value.contains('-') != value.contains('_')
}

/// Shannon's entropy of the bytes of a value, in bits for each.
pub(super) fn entropy(value: &str) -> f32 {
    let mut counts = [0_u16; 256];
    let taken = value.as_bytes().iter().take(512);
    let mut length = 0_f32;
    for byte in taken {
        counts[usize::from(*byte)] += 1;
        length += 1.0;
    }
    let share = |count: &u16| f32::from(*count) / length;
    -counts.iter().filter(|count| **count > 0).map(|count| share(count) * share(count).log2()).sum::<f32>()
}

pub(super) fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// The last boundary between letters at or before `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_no_secrets() {
        for value in [
            "",
            "****",
            "********",
            "xxxxxxxx",
            "[REDACTED]",
            "${DB_PASSWORD}",
            "$DB_PASSWORD",
            "{{ password }}",
            "<password>",
            "<your password>",
            "%PASSWORD%",
            "%s",
            "{password}",
            "changeme",
            "change-me",
            "your-api-key",
            "YOUR_API_KEY_HERE",
            "op://vault/item/field",
            "enter-your-token",
            "string",
            "password",
            "•••••••",
            "$(cat file)",
            "#{secret}",
            "...",
            "{}",
            "vault:secret/data/db#password",
            "__PASSWORD__",
            "/run/secrets/db",
            "sk-xxxxxxxxxxxxxxxx",
            "$password",
        ] {
            assert!(is_stand_in(value), "{value}");
        }
        for value in
            ["hunter2", "correct-horse", "Tr0ub4dor&3", "$ecret1!", "p@ss", "a1b2c3", "swordfish", "123456", "1111"]
        {
            assert!(!is_stand_in(value), "{value}");
        }
    }

    #[test]
    fn words_are_told_from_what_a_machine_drew() {
        for value in [
            "user-name",
            "accessToken",
            "kubernetes.io/service",
            "step-2",
            "sha256",
            "comma",
            "next_page",
            "https",
            "RS256",
            "1.2.3",
        ] {
            assert_eq!(strength(value), Strength::Words, "{value}");
        }
        for value in
            ["f3Kq9ZxLw02mQvTn", "9f86d081884c7d659a2feaa0c55ad015", "wJalrXUtnFEMIK7MDENGbPxRfiCY", "qzxkvbnmwrtplkjh"]
        {
            assert_eq!(strength(value), Strength::Random, "{value}");
        }
        assert_eq!(strength("hunter2"), Strength::Numbered);
        assert_eq!(strength("Tr0ub4dor&3"), Strength::Mixed);
        assert_eq!(strength("s3cr3t"), Strength::Mixed);
    }
}
