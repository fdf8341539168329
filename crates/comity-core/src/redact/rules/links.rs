//! Rules for addresses that are secrets themselves: who has one may post, deploy, read a calendar or log in.

use crate::redact::rule::Severity::{High, Medium};
use crate::redact::rule::{Check, Rule, after, token};

const HOOK: &[&str] = &["webhook"];
const LINK: &[&str] = &["link"];
const UUID: &str = r"([a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12})";

pub(super) const RULES: &[Rule] = &[
    token("netlify-build-hook", High, HOOK, &["api.netlify.com/build_hooks/"], r"([a-f0-9]{20,32})"),
    token("vercel-deploy-hook", High, HOOK, &["api.vercel.com/v1/integrations/deploy/"], r"(prj_\w{6,40}/\w{6,40})"),
    token("render-deploy-hook", High, HOOK, &["api.render.com/deploy/"], r"srv-\w{1,40}\?key=([\w-]{8,40})"),
    token("cloudflare-deploy-hook", High, HOOK, &["pages/webhooks/deploy_hooks/", "healthchecks.io/ping/", "hc-ping.com/", "uptime.betterstack.com/api/v1/heartbeat/", "/generic-webhook/", "/generic-webhooks/", "logs-01.loggly.com/inputs/", "api.flock.com/hooks/sendMessage/", "/webhook-test/", "/webhooks/workflow/trigger/", "/api/webhook/", "/webhook/", "/webhooks/incoming/", "hooks.airtable.com/workflows/v1/genericWebhook/", "/incoming-webhook/", "/hooks/catch/", "uptime.betterstack.com/heartbeat/", "/incoming/"], UUID),
    token("incoming-webhook", High, HOOK, &["webexapis.com/v1/webhooks/incoming/", "/webhooks/incoming/", "/api/push/", "nosnch.in/", "cronitor.link/p/", "/webhook/", "/incoming_webhooks/", "/build-triggers/", "/api/webhook/", "/deploy_hooks/", "/build_hooks/", "api.day.app/", "push.statuscake.com/", "/build-hooks/", "/api/webhooks/", "/deploy/hooks/", "hooks.zapier.com/hooks/standard/", "connect.pabbly.com/workflow/sendwebhookdata/", "integrately.com/a/webhooks/", "api.pushcut.io/"], r"([\w+/=-]{16,200})").check(Check::Drawn),
    token("pagerduty-integration", High, HOOK, &["events.pagerduty.com/integration/", "alert.victorops.com/integrations/generic/20131114/alert/", "events.eu.pagerduty.com/integration/"], r"([a-zA-Z0-9-]{20,40})"),
    token("hooked-secret-uuid", High, HOOK, &["/hooks/"], UUID),
    token("private-calendar", High, LINK, &["/private-"], r"([a-f0-9]{32})(?:/|\b)"),
    token("telegram-address", High, HOOK, &["/bot"], r"(\d{6,12}:[\w-]{30,40})"),
    token("telegram-bot-number", High, HOOK, &["bot"], r"(\d{8,12}:AA[\w-]{30,36})"),
    after("link-code", Medium, LINK, &["?code=", "&code=", "?ticket=", "&ticket=", "?st=", "?magic=", "?otp=", "?login=", "?invite=", "?auth=", "&auth=", "?jwt=", "?sid=", "&sid=", "?session=", "&session=", "?sessionid=", "?hash=", "&hash=", "?t=", "&t=", "?k=", "&k=", "?sign=", "&sign=", "?signature=", "&signature=", "?verify=", "?confirm=", "?reset=", "?oobcode=", "&oobcode=", "?nonce=", "?state_token=", "?ott=", "?sso=", "?authkey=", "&authkey=", "?resid=", "&tempauth=", "?tempauth=", "?rlkey=", "&rlkey=", "oauth_verifier=", "oauth_signature=", "?hmac=", "&hmac="], r"([\w.%~+/-]{20,2000}={0,2})").check(Check::Drawn),
    after("query-key", High, LINK, &["appid=", "app_id=", "?key=", "&key=", "?apikey=", "zapikey=", "subscription-key=", "app_key=", "access_key=", "?auth_key=", "&auth_key=", "?license_key=", "?pass=", "&api-key="], r"([\w%-]{24,200})").check(Check::Drawn),
    after("link-path", Medium, LINK, &["/reset/", "/reset-password/", "/password-reset/", "/password/reset/", "/reset_password/", "/verify/", "/verify-email/", "/confirm/", "/confirmation/", "/magic/", "/magic-link/", "/invite/", "/invitation/", "/activate/", "/activation/", "/login/", "/unsubscribe/", "/setup/", "/accept/", "/share/", "/auth/", "/token/", "/join/", "/recover/", "/unlock/", "/passwordreset/", "/one-time-login/", "/user/reset/"], r"(?:[\w.%@-]{1,40}/){0,2}([\w-]{20,400})").check(Check::Drawn),
    after("session-value", Medium, &["cookie"], &["session=", "session_id=", "sid=", "auth=", "sess=", "_session_id=", "remember_me=", "remember_token=", "auth_token=", "csrftoken=", "xsrf-token="], r"([\w%.+/:~-]{20,}={0,2})").check(Check::Drawn),
];
