//! Rules for tokens of smaller services, each known by its prefix.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Check, Rule, after, around, token};

const CLOUD: &[&str] = &["cloud"];
const AZURE: &[&str] = &["azure", "cloud"];
const SERVICE: &[&str] = &["service"];
const CHAIN: &[&str] = &["crypto", "link"];

pub(super) const RULES: &[Rule] = &[
    around(
        "azure-marked-key",
        Critical,
        AZURE,
        &["AzSe", "AzCa", "AzIoT", "ACDb", "APIM", "AIoT"],
        (20, 90),
        r"[A-Za-z0-9]{5,12}={0,2}",
    )
    .random(),
    around("azure-ai-key", Critical, AZURE, &["JQQJ99"], (40, 60), r"[A-Za-z0-9]{20,32}").random(),
    around("azure-registry-password", Critical, AZURE, &["+ACR"], (20, 60), r"[A-Za-z0-9]{6}").random(),
    around(
        "azure-batch-key",
        Critical,
        AZURE,
        &["+ABa", "+ASt", "+AEh", "+ASb", "+ARm", "+AMC"],
        (8, 90),
        r"[A-Za-z0-9+/]{6,8}={1,2}",
    ),
    token("adafruit-key", High, SERVICE, &["aio_"], r"[A-Za-z0-9]{28}").random(),
    token(
        "authress-access-key",
        High,
        SERVICE,
        &["sc_", "ext_"],
        r"[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}",
    ),
    token("beamer-token", High, SERVICE, &["b_"], r"[a-z0-9=_-]{44}").random(),
    token("defined-networking-token", Critical, CLOUD, &["dnkey-"], r"[a-z0-9=_A-Z-]{26}-[a-zA-Z0-9=_-]{52}"),
    token("infracost-token", Medium, SERVICE, &["ico-"], r"[a-zA-Z0-9]{32}").random(),
    token("intra42-secret", High, SERVICE, &["s-s4t2ud-", "s-s4t2af-"], r"[a-f0-9]{64}"),
    token("upcloud-token", Critical, CLOUD, &["ucat_"], r"[A-Z0-9]{26}").random(),
    token("onesignal-key", High, SERVICE, &["os_v2_app_", "os_v2_org_"], r"[a-z0-9]{60,110}").random(),
    token("pubnub-secret-key", High, SERVICE, &["sec-c-"], r"[A-Za-z0-9+/-]{30,80}={0,2}").random(),
    token(
        "pubnub-subscribe-key",
        Medium,
        SERVICE,
        &["sub-c-"],
        r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
    ),
    token("imagekit-private-key", High, SERVICE, &["private_"], r"[A-Za-z0-9+/]{26,28}=?").random(),
    token("portainer-key", Critical, SERVICE, &["ptr_"], r"[A-Za-z0-9+/]{40,48}={0,2}").random(),
    token("chromatic-token", Medium, SERVICE, &["chpt_"], r"[a-f0-9]{12,20}"),
    token("dub-key", High, SERVICE, &["dub_"], r"[A-Za-z0-9]{24}").random(),
    token("retool-key", High, SERVICE, &["retool_"], r"[A-Za-z0-9]{20,40}").random(),
    token(
        "inngest-signing-key",
        High,
        SERVICE,
        &["signkey-prod-", "signkey-test-", "signkey-branch-"],
        r"[a-f0-9]{32,64}",
    ),
    token("trigger-dev-key", High, SERVICE, &["tr_prod_", "tr_dev_", "tr_stg_", "tr_pat_"], r"[A-Za-z0-9]{20,48}")
        .random(),
    token("courier-key", High, SERVICE, &["pk_prod_", "dk_prod_", "pk_prod_"], r"[A-Z0-9]{28}").random(),
    token(
        "environment-secret-key",
        High,
        SERVICE,
        &["sk_dev_", "sk_prod_", "sk_staging_", "sk_sandbox_", "sk_sbox_", "sk_car_", "sk_v2_", "sk_org_", "sk_user_"],
        r"[\w-]{20,120}",
    )
    .random(),
    token("checkout-secret-key", Critical, SERVICE, &["sk_"], r"[a-z2-7]{26}").random(),
    token("porkbun-key", Critical, CLOUD, &["sk1_", "pk1_"], r"[a-f0-9]{64}"),
    token("unkey-key", High, SERVICE, &["unkey_"], r"[A-Za-z0-9]{20,40}").random(),
    token("arcjet-key", High, SERVICE, &["ajkey_"], r"[a-z0-9]{26}").random(),
    token("trello-token", High, SERVICE, &["ATTA"], r"[a-f0-9]{64,80}"),
    token("klaviyo-key", High, SERVICE, &["pk_"], r"[a-f0-9]{34}"),
    token("salesforce-refresh-token", Critical, SERVICE, &["5Aep861"], r"[\w.]{60,120}"),
    token("riot-key", High, SERVICE, &["RGAPI-"], r"[a-fA-F0-9]{8}-[a-fA-F0-9-]{27}"),
    token("pushbullet-token", High, SERVICE, &["o."], r"[A-Za-z0-9]{32}").random(),
    token("ntfy-token", High, SERVICE, &["tk_"], r"[a-z0-9]{29}").random(),
    token(
        "rancher-token",
        Critical,
        CLOUD,
        &["token-", "kubeconfig-user-", "kubeconfig-u-"],
        r"[a-z0-9.-]{5,40}:[a-z0-9]{54}",
    )
    .random(),
    token(
        "branch-or-conekta-key",
        High,
        SERVICE,
        &["key_live_", "key_test_", "key_prod_", "api_live_", "api_test_"],
        r"[\w.]{18,80}",
    )
    .random(),
    token("konnect-token", High, SERVICE, &["kpat_", "spat_"], r"[A-Za-z0-9]{40,80}").random(),
    token(
        "personal-token",
        High,
        SERVICE,
        &["pat_", "sat_", "oat_", "api_key_", "apikey_", "token_", "at_", "rt_", "key_"],
        r"[A-Za-z0-9]{32,100}",
    )
    .random(),
    token("browserbase-key", High, SERVICE, &["bb_live_"], r"[\w-]{20,60}").random(),
    token("zuplo-key", High, SERVICE, &["zpka_"], r"[a-f0-9]{32}_[a-f0-9]{8}"),
    token("zapier-mcp-key", High, SERVICE, &["luma-", "key-", "sfp_", "smp_", "exa-", "msy_"], r"[A-Za-z0-9]{32,64}")
        .random(),
    token("dnsimple-token", High, SERVICE, &["dnsimple_a_", "dnsimple_u_"], r"[A-Za-z0-9]{30,40}").random(),
    token(
        "coda-or-baserow-token",
        High,
        SERVICE,
        &[
            "vc-ap-",
            "sgr_",
            "sntr_",
            "ubi_",
            "ldtoken_",
            "snow_pat_",
            "bunnynet_",
            "hcp_",
            "tb_pat_",
            "vapi_",
            "rapidapi_",
            "retell_",
            "agent_",
            "mgp_",
            "wrk_",
            "wnd_",
        ],
        r"[A-Za-z0-9_-]{24,120}",
    )
    .random(),
    after(
        "honeycomb-header",
        High,
        SERVICE,
        &["x-honeycomb-team: ", "x-honeycomb-team\": \"", "x-honeycomb-team=", "x-honeycomb-team:"],
        r"([A-Za-z0-9]{20,64})",
    )
    .random(),
    after(
        "gem-server-credentials",
        High,
        SERVICE,
        &["bundle_"],
        r#"\w{2,80}(?:=|: ?)["']?[^\s:$"'/]{2,60}:([^\s$"'/]{4,100})"#,
    )
    .check(Check::Strong),
    after("csrf-crumb", Medium, SERVICE, &["jenkins-crumb: ", "jenkins-crumb:"], r"([a-f0-9]{32,64})"),
    after(
        "chain-provider",
        Medium,
        CHAIN,
        &[
            ".infura.io/v3/",
            ".infura.io/ws/v3/",
            ".alchemy.com/v2/",
            ".alchemyapi.io/v2/",
            ".quiknode.pro/",
            ".quicknode.pro/",
            ".chainstack.com/",
            ".blastapi.io/",
            "rpc.ankr.com/eth/",
            ".moralis-nodes.com/eth/",
            ".getblock.io/",
            ".helius-rpc.com/?api-key=",
        ],
        r"([\w-]{24,64})",
    )
    .random(),
];
