//! Rules for chat, mail, telephone and what people post: who holds one of these speaks in another's name.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, after, around, token};

const SLACK: &[&str] = &["slack", "chat"];
const CHAT: &[&str] = &["chat"];
const WEBHOOK: &[&str] = &["webhook", "chat"];
const MAIL: &[&str] = &["mail"];
const PHONE: &[&str] = &["telephone"];
const SOCIAL: &[&str] = &["social"];

pub(super) const RULES: &[Rule] = &[
    token("slack-bot-token", Critical, SLACK, &["xoxb-"], r"[A-Za-z0-9-]{20,}").random(),
    token("slack-user-token", Critical, SLACK, &["xoxp-", "xoxs-", "xoxo-"], r"[A-Za-z0-9-]{20,}").random(),
    token("slack-workspace-token", Critical, SLACK, &["xoxa-", "xoxr-"], r"[A-Za-z0-9-]{20,}").random(),
    token("slack-configuration-token", High, SLACK, &["xoxe-", "xoxe.xoxp-", "xoxe.xoxb-"], r"[A-Za-z0-9-]{20,}")
        .random(),
    token("slack-cookie", High, SLACK, &["xoxc-", "xoxd-"], r"[A-Za-z0-9%+/=-]{20,}").random(),
    token("slack-app-token", Critical, SLACK, &["xapp-"], r"[A-Za-z0-9-]{20,}").random(),
    token(
        "slack-webhook",
        High,
        WEBHOOK,
        &["hooks.slack.com/", "hooks.slack-gov.com/"],
        r"((?:services|workflows|triggers)/[A-Za-z0-9/+_-]{20,})",
    ),
    token(
        "discord-webhook",
        High,
        WEBHOOK,
        &["discord.com/api/", "discordapp.com/api/"],
        r"(?:v\d+/)?webhooks/(\d{15,21}/[\w-]{40,})",
    ),
    after("teams-webhook", High, WEBHOOK, &[".webhook.office.com/"], r"(webhookb2/[\w@./-]{40,})"),
    after("power-automate-webhook", High, WEBHOOK, &[".logic.azure.com"], r#"[^\s"'<>]{10,300}sig=([\w%-]{30,})"#),
    token(
        "google-chat-webhook",
        High,
        WEBHOOK,
        &["chat.googleapis.com/"],
        r"v1/spaces/[\w-]+/messages\?(key=[\w&%=-]{20,})",
    ),
    token("mattermost-webhook", Medium, WEBHOOK, &["/hooks/"], r"([a-z0-9]{26})(?:[^\w-]|\z)").random(),
    token("zapier-webhook", High, WEBHOOK, &["hooks.zapier.com/"], r"hooks/catch/([0-9]+/[A-Za-z0-9]+)"),
    token(
        "ifttt-webhook",
        Medium,
        WEBHOOK,
        &["maker.ifttt.com/"],
        r#"trigger/[^\s/"']{1,100}/(?:json/)?with/key/([\w-]{20,})"#,
    ),
    token("make-webhook", Medium, WEBHOOK, &[".make.com/", ".integromat.com/"], r"([a-z0-9]{28,36})(?:[^\w-]|\z)")
        .random(),
    token("pipedream-webhook", Medium, WEBHOOK, &[".m.pipedream.net/"], r"([\w-]{20,})"),
    token("rocket-chat-webhook", Medium, WEBHOOK, &["/hooks/"], r"([A-Za-z0-9]{17,24}/[A-Za-z0-9]{24,64})"),
    token(
        "feishu-webhook",
        High,
        WEBHOOK,
        &["open.feishu.cn/", "open.larksuite.com/"],
        r"open-apis/bot/v2/hook/([a-f0-9-]{36})",
    ),
    after("dingtalk-webhook", High, WEBHOOK, &["oapi.dingtalk.com/"], r"robot/send\?access_token=([a-f0-9]{40,})"),
    after("wecom-webhook", High, WEBHOOK, &["qyapi.weixin.qq.com/"], r"cgi-bin/webhook/send\?key=([a-f0-9-]{36})"),
    token(
        "discord-bot-token",
        Critical,
        CHAT,
        &["MT", "Mz", "Nz", "ND", "OD", "OT", "Nj", "Nk", "Nd", "Mj", "MD"],
        r"[\w-]{21,26}\.[\w-]{6}\.[\w-]{27,40}",
    ),
    token("discord-mfa-token", Critical, CHAT, &["mfa."], r"[\w-]{80,}"),
    around("telegram-bot-token", Critical, CHAT, &[":AA"], (8, 10), r"[\w-]{32,34}"),
    token("matrix-access-token", High, CHAT, &["syt_", "syr_", "mat_", "mct_", "mas_"], r"[\w=+/-]{24,}").random(),
    token("intercom-token", High, CHAT, &["dG9rO"], r"[A-Za-z0-9+/=_-]{50,80}"),
    token("sendgrid-key", Critical, MAIL, &["SG."], r"[\w-]{16,32}\.[\w-]{30,64}"),
    around("mailchimp-key", High, MAIL, &["-us"], (32, 32), r"\d{1,2}").random(),
    token("mailgun-key", Critical, MAIL, &["key-"], r"[a-f0-9]{32}"),
    token("brevo-key", Critical, MAIL, &["xkeysib-", "xsmtpsib-"], r"[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    token("resend-key", High, MAIL, &["re_"], r"[A-Za-z0-9]{8}_[A-Za-z0-9]{20,28}").random(),
    token("mandrill-key", High, MAIL, &["md-"], r"[\w-]{22}").random(),
    token("mailersend-token", High, MAIL, &["mlsn."], r"[a-f0-9]{60,70}"),
    token("twilio-api-key", High, PHONE, &["SK"], r"[0-9a-f]{32}"),
    token("twilio-account-id", Medium, PHONE, &["AC"], r"[0-9a-f]{32}:([0-9a-f]{32})(?:[^0-9a-f]|\z)"),
    token("telnyx-key", High, PHONE, &["KEY0"], r"[A-Z0-9]{20,}_[A-Za-z0-9]{20,}"),
    token("facebook-access-token", Critical, SOCIAL, &["EAA"], r"[A-Za-z0-9]{90,400}"),
    token("instagram-token", High, SOCIAL, &["IGQ", "IGA"], r"[\w-]{90,}"),
    token("twitter-bearer-token", High, SOCIAL, &["AAAAAAAAAAAAAAAAAAAAA"], r"[A-Za-z0-9%]{60,130}"),
    token("linkedin-token", High, SOCIAL, &["WPL_AP"], r"\d\.[\w.-]{16,}={0,2}"),
    token("linkedin-access-token", High, SOCIAL, &["AQV", "AQX"], r"[\w-]{180,}"),
    token("tiktok-token", High, SOCIAL, &["act."], r"[A-Za-z0-9!_-]{40,}").random(),
    token("twitch-token", High, SOCIAL, &["oauth:"], r"([a-z0-9]{30})(?:\W|\z)").random(),
];
