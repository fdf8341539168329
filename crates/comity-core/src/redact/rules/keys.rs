//! Rules for keys themselves, and for what carries a proof in a header: these come first, for they say most.

use crate::redact::rule::Severity::{Critical, High, Low, Medium};
use crate::redact::rule::{Check, Find, Rule, after, special, token};

const KEY: &[&str] = &["private-key"];
const HEADER: &[&str] = &["authorization"];

pub(super) const RULES: &[Rule] = &[
    special(
        "private-key-block",
        Critical,
        KEY,
        &["-----BEGIN", "---- BEGIN"],
        Find::Block,
        "-----BEGIN RSA PRIVATE KEY-----\n@\n-----END RSA PRIVATE KEY-----",
    ),
    after(
        "putty-private-key",
        Critical,
        KEY,
        &["private-lines:"],
        r"\s*\d{1,3}((?:(?:\r?\n|\\r|\\n)+[A-Za-z0-9+/=]{1,80})+)",
    )
    .check(Check::Printed),
    token("age-secret-key", Critical, KEY, &["AGE-SECRET-KEY-1"], r"[02-9AC-HJ-NP-Z]{50,60}"),
    after("rails-master-key", Critical, KEY, &["master.key", "master_key", "credentials.yml.enc", ".key\n"], r#"[\s"'`:=>]{1,6}([a-f0-9]{32})(?:\W|\z)"#),
    after(
        "disk-recovery-key",
        Critical,
        KEY,
        &["recovery key", "recovery-key", "wiederherstellungsschlüssel", "bitlocker", "filevault", "clé de récupération", "recoverypassword"],
        r"[^\n]{0,60}?[^\w-](\d{6}(?:-\d{6}){7}|[A-Z0-9]{4}(?:-[A-Z0-9]{4}){5})(?:[^\w-]|\z)",
    )
    .check(Check::Printed),
    after("lock-combination", Medium, KEY, &["combination is ", "combination: ", "combination to the ", "combination for the "], r"(?:[^\n\d]{1,40}?(?:is|:) )?(\d{1,2}[- ]\d{1,2}[- ]\d{1,2}|\d{3,8})(?:[^\w-]|\z)"),
    after(
        "piped-private-key",
        Critical,
        KEY,
        &["private-key <(echo ", "preshared-key <(echo "],
        r#"["']?([A-Za-z0-9+/]{43}=)"#,
    ),
    token(
        "encoded-private-key",
        Critical,
        KEY,
        &[
            "LS0tLS1CRUdJTiBQUklWQVRFIEtFW", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURS", "LS0tLS1CRUdJTiBFQyBQUklWQVRF",
            "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVE", "LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURS", "LS0tLS1CRUdJTiBQR1AgUFJJVkFUR",
            "LS0tLS1CRUdJTiBEU0EgUFJJVkFURS",
        ],
        r"[A-Za-z0-9+/_-]{16,}={0,2}",
    ),
    token("encoded-docker-config", High, &["packages"], &["eyJhdXRocyI6", "ewogICJhdXRocyI6", "ewoJImF1dGhzIj"], r"[A-Za-z0-9+/]{20,}={0,2}"),
    after("saml-assertion", High, HEADER, &["samlresponse=", "samlrequest=", "SAMLResponse=", "SAMLRequest="], r"([A-Za-z0-9+/%]{40,}={0,2})").check(Check::Printed),
    after("session-header", Medium, &["cookie"], &["session-id: ", "session_id: ", "sessionid: ", "session-token: ", "x-session: "], r#"["']?([A-Za-z0-9_]{20,})"#).check(Check::Drawn),
    token("age-plugin-identity", Medium, KEY, &["AGE-PLUGIN-"], r"[A-Z0-9]{2,20}-1[02-9AC-HJ-NP-Z]{20,}"),
    token("minisign-secret-key", Critical, KEY, &["RWRTY0Iy"], r"[A-Za-z0-9+/=]{100,}"),
    token("xml-private-key", Critical, KEY, &["<D>", "<P>", "<Q>", "<DP>", "<DQ>", "<InverseQ>"], r"([A-Za-z0-9+/]{24,}={0,2})</").check(Check::Near("KeyValue>")),
    after("json-web-key", Critical, KEY, &["\"d\""], r#"\s{0,4}:\s{0,4}"([\w-]{22,})""#).check(Check::Near("\"kty\"")),
    after("json-web-key-symmetric", Critical, KEY, &["\"k\""], r#"\s{0,4}:\s{0,4}"([\w-]{16,})""#)
        .check(Check::Near("\"kty\"")),
    special(
        "json-web-token",
        High,
        &["jwt", "authorization"],
        &["eyJ"],
        Find::WebToken,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.@",
    ),
    token(
        "paseto-token",
        High,
        HEADER,
        &["v1.local.", "v2.local.", "v3.local.", "v4.local.", "v1.public.", "v2.public.", "v3.public.", "v4.public."],
        r"[\w-]{40,}(?:\.[\w-]+)?",
    ),
    token("macaroon", High, HEADER, &["MDAx", "AgEU", "AgEL"], r"[A-Za-z0-9+/_=-]{60,}").random(),
    token("openshift-token", High, HEADER, &["sha256~"], r"[\w-]{40,48}").random(),
    after("basic-authorization", High, HEADER, &["basic "], r"([A-Za-z0-9+/_-]{6,}={0,2})").check(Check::Basic),
    after("bearer-authorization", High, HEADER, &["bearer ", "bearer%20", "bearer+"], r"([A-Za-z0-9._~+/-]{8,}={0,2})")
        .random(),
    after(
        "scheme-authorization",
        High,
        HEADER,
        &[
            "authorization: token ",
            "authorization: bot ",
            "authorization: apikey ",
            "authorization: key ",
            "authorization: genie",
            "authorization: splunk ",
            "authorization: api-token ",
            "authorization: oauth ",
            "authorization: negotiate ",
            "authorization: ntlm ",
            "authorization: key=",
        ],
        r"(?:key )?([A-Za-z0-9._~+/-]{8,}={0,2})",
    ),
    token("docker-config-auth", High, &["packages"], &["\"auth\""], r#"\s{0,4}:\s{0,4}"([A-Za-z0-9+/]{6,}={0,2})""#)
        .check(Check::Basic),
    after("npmrc-auth", High, &["packages"], &["_auth="], r#""?([A-Za-z0-9+/]{6,}={0,2})"#).check(Check::Basic),
    after(
        "session-cookie",
        Medium,
        &["cookie"],
        &[
            "phpsessid=",
            "jsessionid=",
            "sessionid=",
            "connect.sid=",
            "asp.net_sessionid=",
            "_session=",
            "laravel_session=",
            ".aspxauth=",
            "sessid=",
            "wordpress_logged_in_",
        ],
        r"([\w%.+/:-]{16,}={0,2})",
    )
    .random(),
    after(
        "otp-key",
        High,
        &["mfa"],
        &["authenticator", "2fa", "totp", "two-factor", "two factor", "setup key", "mfa", "otp"],
        r#"[^\n]{0,80}?[\s"':=]{1,4}((?-i:[A-Z2-7]{16,64})|(?-i:[A-Z2-7]{4}(?:[ -][A-Z2-7]{4}){3,15})|(?-i:[a-z2-7]{4}(?: [a-z2-7]{4}){3,15}))(?:[^\w]|\z)"#,
    )
    .random(),
    after("otp-seed", High, &["mfa"], &["otpauth://"], r#"[^\s"'<>]{1,300}?secret=([A-Za-z2-7]{8,})"#),
    after("otp-export", Critical, &["mfa"], &["otpauth-migration://"], r#"[^\s"'<>]{0,40}?data=([\w%+/=-]{20,})"#),
    after(
        "recovery-link",
        Low,
        &["link"],
        &["reset_password_token=", "confirmation_token=", "magic_token=", "invite_token="],
        r"([\w-]{8,})",
    ),
];
