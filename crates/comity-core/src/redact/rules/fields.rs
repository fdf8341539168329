//! Rules for what is a secret by its name only: fields called password, secret, token and the like.

use crate::redact::field::Noun;
use crate::redact::rule::Find::Field;
use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, special};

const FIELD: &[&str] = &["field"];

pub(super) const RULES: &[Rule] = &[
    special(
        "password-field",
        High,
        FIELD,
        &["pass", "pwd", "kennwort", "senha", "contrase", "parola", "_pw", "\"pw", "'pw", " pw", "rootpw"],
        Field(Noun::Password),
        "password = \"@\"",
    ),
    special("secret-field", High, FIELD, &["secret"], Field(Noun::Secret), "client_secret: \"@\""),
    special("token-field", High, FIELD, &["token"], Field(Noun::Token), "{\"access_token\": \"@\"}"),
    special("api-key-field", High, FIELD, &["key"], Field(Noun::ApiKey), "API_KEY=@"),
    special("private-key-field", Critical, FIELD, &["privkey"], Field(Noun::PrivateKey), "private_key = \"@\""),
    special("credential-field", High, FIELD, &["cred"], Field(Noun::Credential), "credential: '@'"),
    special(
        "authorization-field",
        High,
        FIELD,
        &["authorization", "auth\"", "auth:", "auth=", "auth'"],
        Field(Noun::Authorization),
        "Authorization: @",
    ),
    special("cookie-field", Medium, FIELD, &["cookie"], Field(Noun::Cookie), "Cookie: id=@; theme=dark"),
    special(
        "seed-field",
        Critical,
        FIELD,
        &["mnemonic", "seed phrase", "seed_phrase", "seedphrase", "recovery phrase"],
        Field(Noun::Seed),
        "mnemonic: \"@\"",
    ),
    special(
        "pin-field",
        Medium,
        FIELD,
        &["pin\"", "pin:", "pin=", "pin is", "otp", "passcode", "one-time code"],
        Field(Noun::Pin),
        "otp: 482913",
    ),
    special("named-key-field", Medium, FIELD, &["psk", "jwt"], Field(Noun::Named), "psk=\"@\""),
];
