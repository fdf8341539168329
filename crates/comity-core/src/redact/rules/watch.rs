//! Rules for what watches and measures: metrics, errors, incidents, flags, analytics, search.

use crate::redact::rule::Severity::{High, Medium};
use crate::redact::rule::{Rule, after, around, token};

const MONITORING: &[&str] = &["monitoring"];
const FLAGS: &[&str] = &["flags"];
const ANALYTICS: &[&str] = &["analytics"];
const SEARCH: &[&str] = &["search"];

pub(super) const RULES: &[Rule] = &[
    token("sentry-user-token", High, MONITORING, &["sntryu_"], r"[a-f0-9]{60,64}"),
    token("sentry-organization-token", High, MONITORING, &["sntrys_"], r"[\w=+/-]{60,}"),
    token("sentry-integration-token", High, MONITORING, &["sntryi_", "sntrya_"], r"[a-f0-9]{60,64}"),
    after(
        "datadog-key",
        High,
        MONITORING,
        &["datadog", "dd_api_key", "dd-api-key", "dd_app_key", "dd-application-key"],
        r#"[\w .-]{0,24}["'\\]{0,3}\s{0,4}(?:[:=]|=>|is)\s{0,4}["'\\]{0,3}([a-f0-9]{32}(?:[a-f0-9]{8})?)(?:[^\w-]|\z)"#,
    ),
    token("new-relic-user-key", High, MONITORING, &["NRAK-"], r"[A-Z0-9]{27}").random(),
    around("new-relic-license-key", High, MONITORING, &["NRAL"], (36, 36), r"").random(),
    token("new-relic-insert-key", Medium, MONITORING, &["NRII-", "NRIQ-", "NRRA-", "NRJS-", "NRBR-"], r"[\w-]{18,48}")
        .random(),
    token("grafana-service-token", High, MONITORING, &["glsa_"], r"[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}"),
    token("grafana-cloud-token", High, MONITORING, &["glc_"], r"[A-Za-z0-9+/=]{32,}"),
    token("grafana-api-key", High, MONITORING, &["eyJrIjoi"], r"[A-Za-z0-9+/]{50,}={0,2}"),
    token("honeycomb-key", High, MONITORING, &["hcaik_", "hcamk_", "hcxik_", "hcxlk_"], r"[a-z0-9]{40,64}").random(),
    token(
        "dynatrace-token",
        High,
        MONITORING,
        &["dt0c01.", "dt0s01.", "dt0s02.", "dt0s16."],
        r"[A-Z0-9]{8,24}\.[A-Z0-9]{64}",
    ),
    token("pagerduty-key", High, MONITORING, &["u+"], r"[\w+-]{18}").random(),
    token("axiom-token", High, MONITORING, &["xaat-", "xapt-"], r"[a-f0-9-]{36}"),
    token("logfire-token", High, MONITORING, &["pylf_v1_", "pylf_v2_"], r"[a-z]{2}_[A-Za-z0-9]{40,}"),
    token(
        "splunk-token",
        High,
        MONITORING,
        &["splunk "],
        r"([A-Fa-f0-9]{8}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{12})",
    ),
    token("sumologic-endpoint", Medium, MONITORING, &[".sumologic.com/"], r"receiver/v1/http/([\w=+/-]{60,})"),
    token("checkly-key", Medium, MONITORING, &["cu_"], r"[a-f0-9]{32}"),
    token(
        "launchdarkly-key",
        High,
        FLAGS,
        &["sdk-", "api-", "mob-", "rel-"],
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
    ),
    token(
        "feature-flag-token",
        High,
        FLAGS,
        &["ser.", "*:*.", "default:development.", "default:production.", "*:development.", "*:production."],
        r"[A-Za-z0-9]{20,}",
    )
    .random(),
    token("configcat-key", Medium, FLAGS, &["configcat-sdk-1/"], r"[\w-]{22}/[\w-]{22}"),
    token("statsig-secret", High, FLAGS, &["secret-", "console-"], r"[A-Za-z0-9]{40,50}").random(),
    token("posthog-personal-key", High, ANALYTICS, &["phx_", "phs_"], r"[A-Za-z0-9]{36,56}").random(),
    token("segment-token", High, ANALYTICS, &["sgp_"], r"[A-Za-z0-9]{60,66}").random(),
    after(
        "algolia-admin-key",
        High,
        SEARCH,
        &["algolia"],
        r#"[\w .-]{0,24}["'\\]{0,3}\s{0,4}(?:[:=]|=>|is)\s{0,4}["'\\]{0,3}([a-f0-9]{32})(?:[^\w-]|\z)"#,
    ),
    token("elastic-cloud-key", High, SEARCH, &["essu_", "essp_"], r"[A-Za-z0-9+/=]{40,}"),
];
