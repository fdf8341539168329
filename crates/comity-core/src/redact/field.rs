//! Names of fields that hold secrets: `DB_PASSWORD`, `clientSecret`, `x-api-key`. A name counts by what it
//! ends with, so that `password_hint`, `token_type` and `public_key` are none.

/// What a field holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun {
    Password,
    Secret,
    Token,
    ApiKey,
    /// Some key: only what a machine drew is one.
    SomeKey,
    PrivateKey,
    Credential,
    Authorization,
    Cookie,
    Seed,
    Pin,
    Named,
    /// The secret half of a pair that is called an id: only a UUID is one.
    SecretId,
}

/// Longest name of a field, bytes. What is longer is no name.
pub(super) const NAME_MAX: usize = 96;

/// Most parts of a name that are looked at, from its end.
const PARTS: usize = 6;

/// What a name may end with behind the noun and still mean the secret itself.
const NEUTRAL: &[&str] = words! {
    "value" "val" "plain" "plaintext" "raw" "b64" "base64" "prod" "production" "dev" "development" "test" "testing"
    "staging" "live" "sandbox" "old" "new" "current" "primary" "secondary" "main" "backup" "local" "default"
    "master" "root" "admin" "1" "2" "3" "4" "v1" "v2" "confirm" "confirmation" "again" "repeat"
};

const PASSWORDS: &[&str] = words! {
    "password" "passwd" "passwort" "passphrase" "pwd" "passwords" "kennwort" "senha" "contrasena" "contraseña"
    "parola" "userpass" "dbpass" "rootpass" "adminpass" "mypass" "smtppass" "mailpass" "ftppass" "authpass"
    "sshpass" "rootpw" "userpw" "dbpw" "adminpw" "passphrases" "storepass" "keypass" "srcstorepass" "deststorepass"
    "wachtwoord" "hasło" "haslo" "heslo" "lösenord" "losenord" "passord" "adgangskode" "kodeord" "salasana" "jelszó"
    "jelszo" "şifre" "sifre" "motdepasse" "mdp" "пароль" "clave" "bindpw" "psksecret"
};

/// What of a language's grammar or a list's paging is called a token.
const OTHER_TOKENS: &[&str] = words! {
    "page" "pagetoken" "continuation" "next" "cursor" "eos" "bos" "pad" "unk" "stop" "cancel" "cancellation" "mask"
    "sep" "cls" "special" "start" "end" "first" "last" "prev" "previous" "lexer" "parser" "word" "sub" "per" "input"
    "output" "completion" "prompt" "max" "min" "num" "total" "count" "design" "no" "missing" "invalid" "expired"
    "unexpected" "bad" "public" "nft" "erc20" "lock" "fencing" "sync" "delta" "skip" "open" "close" "punctuation"
};

/// What stands before `key` where it is a secret.
const SECRET_KEYS: &[&str] = words! {
    "api" "wifi" "wlan" "access" "secret" "encryption" "encrypt" "decryption" "signing" "master" "auth" "account" "shared"
    "storage" "service" "ssh" "deploy" "license" "session" "hmac" "aes" "crypto" "consumer" "subscription" "admin"
    "webhook" "write" "ingest" "ingestion" "integration" "developer" "jwt" "cookie" "symmetric" "sas" "root"
    "function" "live" "server" "app" "application" "client" "rest" "bot" "openai" "anthropic" "claude" "stripe"
    "aws" "azure" "gemini" "google" "sendgrid" "twilio" "github" "gitlab" "mailgun" "datadog" "algolia" "cloudflare"
    "groq" "mistral" "cohere" "deepseek" "openrouter" "huggingface" "sharedaccess" "x" "wireguard" "preshared"
    "vault" "unseal" "recovery" "seal" "accesskey" "security" "maps" "firebase" "team" "org" "user" "personal"
    "rapidapi" "production" "sandbox" "test"
};

/// Names that end with a noun and hold none, or where something else is meant.
const NEVER: &[&str] = words! {
    "bypass" "compass" "trespass" "surpass" "overpass" "underpass" "encompass" "onepass" "multipass" "keypass"
    "firstpass" "secondpass"
};

/// With what else the last part of such a name ends, besides what the lists above say.
const LASTS: &[&str] = words! {
    "pass" "pw" "passcode" "secret" "secrets" "token" "tokens" "key" "keys" "credential" "credentials" "creds" "cred"
    "authorization" "auth" "cookie" "mnemonic" "phrase" "pin" "otp" "totp" "code" "psk" "jwt" "seed" "salt" "pat"
    "skey" "material" "private" "id" "passe" "base" "data" "seedphrase" "presharedkey" "passphrase" "passwd" "passwort" "pwd"
};

/// Of each letter, the letters that stand behind it at the end of such a part: most names end otherwise.
const ENDINGS: [u32; 26] = {
    let mut endings = [0; 26];
    let lists = [NEUTRAL, PASSWORDS, LASTS];
    let mut list = 0;
    while list < lists.len() {
        let mut word = 0;
        while word < lists[list].len() {
            let bytes = lists[list][word].as_bytes();
            if let [.., before @ b'a'..=b'z', last @ b'a'..=b'z'] = bytes {
                endings[(*before - b'a') as usize] |= 1 << (*last - b'a');
            }
            word += 1;
        }
        list += 1;
    }
    endings
};

/// Whether a name may be one of a secret, by its last two letters; true where it has none.
fn may_be_secret(name: &str) -> bool {
    let bytes = name.as_bytes();
    let end = bytes.iter().rposition(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    let Some(end @ 1..) = end else { return true };
    let (before, last) = (bytes[end - 1].to_ascii_lowercase(), bytes[end].to_ascii_lowercase());
    if !before.is_ascii_lowercase() || !last.is_ascii_lowercase() {
        return true;
    }
    ENDINGS[usize::from(before - b'a')] & (1 << (last - b'a')) != 0
}

/// What a field of this name holds, if that is secret.
pub(super) fn noun(name: &str) -> Option<Noun> {
    if name.len() > NAME_MAX || !may_be_secret(name) {
        return None;
    }
    let mut small = [0; NAME_MAX];
    let mut parts = [(0, 0); PARTS];
    let count = split(name, &mut small, &mut parts);
    let part = |index: usize| {
        parts.get(index).and_then(|(from, to)| std::str::from_utf8(&small[*from..*to]).ok()).unwrap_or("")
    };
    let mut at = 0;
    while at + 1 < count && NEUTRAL.contains(&part(at)) {
        at += 1;
    }
    let (last, before, more) =
        (part(at), if at + 1 < count { part(at + 1) } else { "" }, if at + 2 < count { part(at + 2) } else { "" });
    // `NEXT_PUBLIC_…_KEY`: what a page shows to everybody.
    if (at..count).any(|index| part(index) == "public") && matches!(last, "key" | "token") {
        return None;
    }
    let trimmed = last.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let last = if trimmed.is_empty() { last } else { trimmed };
    if last == "data" && before == "key" && more == "client" {
        return Some(Noun::PrivateKey);
    }
    of_last(last, before, more, count - at == 1)
}

fn of_last(last: &str, before: &str, more: &str, alone: bool) -> Option<Noun> {
    if NEVER.contains(&last) {
        return None;
    }
    match last {
        "pass" | "pw" | "passcode"
            if !matches!(before, "one" | "two" | "first" | "second" | "single" | "render" | "by" | "multi") =>
        {
            Some(Noun::Password)
        }
        "pass" | "pw" | "passcode" => None,
        "secret" | "secrets" => Some(Noun::Secret),
        "token" => (!OTHER_TOKENS.contains(&before)).then_some(Noun::Token),
        "tokens" => matches!(before, "access" | "auth" | "api" | "refresh" | "bearer" | "bot").then_some(Noun::Token),
        "key" | "keys" => of_key(before, more, alone),
        "credential" | "credentials" | "creds" | "cred" => {
            (!matches!(before, "amz" | "goog" | "allow" | "with" | "include")).then_some(Noun::Credential)
        }
        "authorization" => Some(Noun::Authorization),
        "auth" if alone => Some(Noun::Authorization),
        "cookie" if alone || before == "set" => Some(Noun::Cookie),
        "mnemonic" | "seedphrase" => Some(Noun::Seed),
        "phrase" if matches!(before, "seed" | "recovery") => Some(Noun::Seed),
        "pin" if alone || matches!(before, "user" | "card" | "sim" | "unlock" | "security" | "admin") => {
            Some(Noun::Pin)
        }
        "otp" | "totp" if alone => Some(Noun::Pin),
        "code" if matches!(before, "otp" | "2fa" | "mfa" | "totp" | "time") => Some(Noun::Pin),
        "psk" | "jwt" | "presharedkey" => Some(Noun::Named),
        "seed" if matches!(before, "secret" | "private" | "signing" | "master" | "wallet" | "account" | "key") => {
            Some(Noun::Seed)
        }
        "salt" if matches!(before, "auth" | "in" | "nonce" | "token") => Some(Noun::SomeKey),
        "pat" if !alone => Some(Noun::Token),
        "skey" => Some(if alone { Noun::SomeKey } else { Noun::ApiKey }),
        "material" if before == "key" => Some(Noun::Named),
        "private" if matches!(before, "apikey" | "key") => Some(Noun::ApiKey),
        "id" if before == "secret" && !matches!(more, "client" | "aws" | "arn") => Some(Noun::SecretId),
        "phrase" if before == "pass" => Some(Noun::Password),
        "passe" if before == "de" => Some(Noun::Password),
        "base" if before == "key" && more == "secret" => Some(Noun::ApiKey),
        _ => of_joined(last),
    }
}

/// What a name means whose words are written as one: `dbpassword`, `authtoken`.
fn of_joined(last: &str) -> Option<Noun> {
    const PASSWORD_ENDS: &[&str] = &["password", "passwd", "passwort", "passphrase", "pwd"];
    const KEY_ENDS: &[&str] = words! {
        "apikey" "apikeys" "accesskey" "secretkey" "authkey" "accountkey" "signingkey" "encryptionkey" "masterkey"
        "sharedkey" "consumerkey" "appkey"
    };
    const TOKEN_ENDS: &[&str] = words! {
        "accesstoken" "authtoken" "refreshtoken" "bearertoken" "sessiontoken" "apitoken" "idtoken" "usertoken"
        "bottoken" "securitytoken" "identitytoken" "registrytoken" "logintoken" "servicetoken" "admintoken"
        "privatetoken" "deploytoken" "clienttoken" "oauthtoken" "jwttoken" "csrftoken" "xsrftoken" "apptoken"
        "personaltoken" "ssotoken" "sastoken" "resettoken" "vaulttoken" "githubtoken" "gitlabtoken" "npmtoken"
    };
    let ends = |words: &[&str]| words.iter().any(|word| last.ends_with(word));
    match () {
        () if PASSWORDS.contains(&last) || ends(PASSWORD_ENDS) => Some(Noun::Password),
        () if ends(KEY_ENDS) => Some(Noun::ApiKey),
        () if ends(&["privatekey", "privkey"]) => Some(Noun::PrivateKey),
        () if ends(&["secret"]) => Some(Noun::Secret),
        () => ends(TOKEN_ENDS).then_some(Noun::Token),
    }
}

fn of_key(before: &str, more: &str, alone: bool) -> Option<Noun> {
    if alone {
        return None;
    }
    match before {
        "private" | "priv" | "privkey" => Some(Noun::PrivateKey),
        "public" | "pub" | "primary" | "foreign" | "partition" | "sort" | "cache" | "object" | "row" | "map"
        | "idempotency" | "routing" | "restore" | "recv" | "search" | "trusted" | "refresh" | "list" | "delete"
        | "import" | "from" | "by" | "for" | "with" | "the" | "this" | "that" | "of" | "to" | "on" => None,
        "site" | "publishable" | "publish" | "measurement" | "tracking" | "anon" => None,
        _ if matches!(more, "public" | "publishable" | "pub") => None,
        "host" | "authorized" | "known" | "verify" | "verification" | "verifying" | "peer" | "node" | "sealing"
        | "socket" | "websocket" => None,
        _ if SECRET_KEYS.contains(&before) || more == "x" => Some(Noun::ApiKey),
        _ => Some(Noun::SomeKey),
    }
}

/// Parts a name at separators and capitals, in lower case, the last first; how many parts there are.
fn split(name: &str, small: &mut [u8; NAME_MAX], parts: &mut [(usize, usize); PARTS]) -> usize {
    let bytes = name.as_bytes();
    for (to, from) in small.iter_mut().zip(bytes) {
        *to = from.to_ascii_lowercase();
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let mut count = 0;
    let mut end = bytes.len();
    while end > 0 && count < PARTS {
        if !is_part(bytes[end - 1]) {
            end -= 1;
            continue;
        }
        let mut start = end - 1;
        while start > 0 && is_part(bytes[start - 1]) {
            let humps = bytes[start].is_ascii_uppercase()
                && (bytes[start - 1].is_ascii_lowercase()
                    || start + 1 < end
                        && bytes[start + 1].is_ascii_lowercase()
                        && bytes[start - 1].is_ascii_uppercase());
            if humps {
                break;
            }
            start -= 1;
        }
        parts[count] = (start, end);
        count += 1;
        end = start;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_by_its_end() {
        let check = |noun_wanted: Option<Noun>, names: &[&str]| {
            for name in names {
                assert_eq!(noun(name), noun_wanted, "{name}");
            }
        };
        check(
            Some(Noun::Password),
            &[
                "password",
                "DB_PASSWORD",
                "dbPassword",
                "spring.datasource.password",
                "PGPASSWORD",
                "userpass",
                "db-pass",
                "pwd",
                "password_2",
                "ROOT_PW",
                "admin_password_prod",
                "password1",
            ],
        );
        check(Some(Noun::Secret), &["secret", "clientSecret", "CLIENT_SECRET", "app.secret"]);
        check(
            Some(Noun::Token),
            &["token", "X-Auth-Token", "accessToken", "GITHUB_TOKEN", "refresh_tokens", "_authToken"],
        );
        check(
            Some(Noun::ApiKey),
            &[
                "apiKey",
                "X-API-Key",
                "api_key",
                "apikey",
                "AWS_SECRET_ACCESS_KEY",
                "AccountKey",
                "OPENAI_API_KEY",
                "APIKey",
            ],
        );
        check(Some(Noun::PrivateKey), &["private_key", "privateKey", "client-key-data"]);
        check(
            None,
            &[
                "password_hint",
                "token_type",
                "public_key",
                "key",
                "primaryKey",
                "max_tokens",
                "tokenizer",
                "bypass",
                "secretName",
                "keyboard",
                "monkey",
                "next_page_token",
                "token_count",
                "access_key_id",
                "tokens",
                "passwordField",
                "session",
                "signature",
                "nonce",
                "author",
            ],
        );
        check(Some(Noun::SomeKey), &["FOO_KEY"]);
    }
}
