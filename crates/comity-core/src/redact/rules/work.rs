//! Rules for what people work with: documents, tickets, design, files, identity, secret stores.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, token};

const OFFICE: &[&str] = &["office"];
const IDENTITY: &[&str] = &["identity"];
const VAULT: &[&str] = &["vault"];
const FILES: &[&str] = &["files"];

pub(super) const RULES: &[Rule] = &[
    token("notion-token", High, OFFICE, &["ntn_"], r"[A-Za-z0-9]{40,50}").random(),
    token("notion-integration-secret", High, OFFICE, &["secret_"], r"[A-Za-z0-9]{43}").random(),
    token("linear-key", High, OFFICE, &["lin_api_", "lin_oauth_"], r"[A-Za-z0-9]{32,64}").random(),
    token("airtable-token", High, OFFICE, &["pat"], r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    token("atlassian-token", Critical, OFFICE, &["ATATT3", "ATCTT3", "ATSTT3"], r"[\w=+/-]{40,}"),
    token("asana-token", High, OFFICE, &["0/", "1/", "2/"], r"\d{16}/\d{16}:[a-f0-9]{32}"),
    token("asana-short-token", High, OFFICE, &["1/"], r"\d{16}:[a-f0-9]{32}"),
    token("clickup-token", High, OFFICE, &["pk_"], r"\d{6,10}_[A-Z0-9]{32}"),
    token("hubspot-token", High, OFFICE, &["pat-na", "pat-eu"], r"\d-[a-f0-9]{8}-[a-f0-9-]{27}"),
    token("salesforce-session", High, OFFICE, &["00D"], r"[A-Za-z0-9]{12,15}![\w.]{60,}"),
    token("typeform-token", High, OFFICE, &["tfp_"], r"[\w-]{40,60}").random(),
    token("contentful-token", High, OFFICE, &["CFPAT-"], r"[\w-]{40,50}"),
    token("readme-key", High, OFFICE, &["rdme_"], r"[a-z0-9]{60,70}").random(),
    token("figma-token", High, OFFICE, &["figd_", "figo_", "figoh_", "figor_"], r"[\w-]{36,}").random(),
    token("frame-io-token", Medium, OFFICE, &["fio-u-"], r"[\w=-]{60,70}"),
    token("cal-com-key", Medium, OFFICE, &["cal_live_", "cal_test_"], r"[a-f0-9]{32}"),
    token("mapbox-secret-token", High, OFFICE, &["sk.eyJ"], r"[\w-]{40,}\.[\w-]{20,}"),
    token("adobe-client-secret", High, OFFICE, &["p8e-"], r"[A-Za-z0-9_-]{32}").random(),
    token("dropbox-token", High, FILES, &["sl."], r"(?:u\.)?[\w=-]{60,}").random(),
    token("backblaze-key", High, FILES, &["K00"], r"[1-9][A-Za-z0-9+/]{27}").random(),
    token("okta-token", Critical, IDENTITY, &["SSWS "], r"([\w-]{30,60})").random(),
    token("workos-key", Critical, IDENTITY, &["sk_test_a2V5", "sk_live_a2V5", "sk_a2V5"], r"[A-Za-z0-9]{20,}"),
    token("stytch-secret", High, IDENTITY, &["secret-test-", "secret-live-"], r"[\w-]{30,}={0,2}").random(),
    token("vault-service-token", Critical, VAULT, &["hvs."], r"[\w-]{20,}").random(),
    token("vault-batch-token", High, VAULT, &["hvb.", "hvr."], r"[\w-]{20,}").random(),
    token("vault-legacy-token", Critical, VAULT, &["s."], r"[A-Za-z0-9]{24}").random(),
    token(
        "doppler-token",
        Critical,
        VAULT,
        &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."],
        r"(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{36,44}",
    )
    .random(),
    token("infisical-token", Critical, VAULT, &["st."], r"[a-f0-9]{24}\.[a-f0-9]{32}\.[a-f0-9]{32}"),
    token("onepassword-service-token", Critical, VAULT, &["ops_eyJ"], r"[\w+/=-]{100,}"),
    token(
        "onepassword-secret-key",
        Critical,
        VAULT,
        &["A3-"],
        r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
    ),
    token(
        "bitwarden-access-token",
        Critical,
        VAULT,
        &["0."],
        r"[a-f0-9]{8}-[a-f0-9-]{27}\.[A-Za-z0-9]{30}:[A-Za-z0-9+/=]{20,}",
    ),
];
