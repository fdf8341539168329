//! Rules for clouds, hosts and networks: who holds one of these runs machines on somebody's bill.

use crate::redact::rule::Severity::{Critical, High, Low, Medium};
use crate::redact::rule::{Rule, after, around, token};

const AWS: &[&str] = &["aws", "cloud"];
const GOOGLE: &[&str] = &["google", "cloud"];
const AZURE: &[&str] = &["azure", "cloud"];
const CLOUD: &[&str] = &["cloud"];
const HOSTING: &[&str] = &["hosting"];
const NETWORK: &[&str] = &["network"];

pub(super) const RULES: &[Rule] = &[
    // The secret half, where it stands beside its id: a row of the console's CSV, two lines of a note.
    token(
        "aws-key-pair",
        Critical,
        AWS,
        &["AKIA", "ASIA"],
        r#"[A-Z2-7]{16}["'\\nrt]{0,4}[\s,;:/|]{1,4}(?:[\w ]{1,24}[=:]\s{0,4})?["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)"#,
    )
    .random(),
    token("aws-access-key-id", High, AWS, &["AKIA", "ASIA", "ABIA", "ACCA"], r"[A-Z0-9]{16}").random(),
    token("aws-bedrock-key", Critical, AWS, &["ABSK"], r"[A-Za-z0-9+/]{80,}={0,2}"),
    token("aws-bedrock-short-key", High, AWS, &["bedrock-api-key-"], r"[A-Za-z0-9+/=]{40,}"),
    token("aws-session-token", High, AWS, &["FwoGZXIvYXdz", "IQoJb3JpZ2lu"], r"[A-Za-z0-9+/=]{80,}"),
    token("aws-marketplace-token", High, AWS, &["amzn.mws."], r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    token("amazon-oauth-secret", High, AWS, &["amzn1.oa2-cs.v1."], r"[a-f0-9]{64}"),
    after("aws-presigned-url", Medium, AWS, &["x-amz-signature="], r"([a-f0-9]{64})"),
    after("aws-security-token-url", High, AWS, &["x-amz-security-token="], r"([A-Za-z0-9%+/=_-]{40,})"),
    token("google-api-key", High, GOOGLE, &["AIza"], r"[\w-]{35}").random(),
    token("google-bound-key", High, GOOGLE, &["AQ.Ab"], r"[\w-]{30,}").random(),
    token("google-oauth-secret", Critical, GOOGLE, &["GOCSPX-"], r"[\w-]{24,40}"),
    token("google-access-token", High, GOOGLE, &["ya29."], r"[\w.-]{20,}").random(),
    token("google-refresh-token", Critical, GOOGLE, &["1//0"], r"[\w-]{30,}").random(),
    token("google-storage-hmac-key", High, GOOGLE, &["GOOG1E"], r"[A-Z0-9]{40,60}").random(),
    token("firebase-messaging-key", High, GOOGLE, &["AAAA"], r"[\w-]{7}:APA91b[\w-]{100,}"),
    after("google-signed-url", Medium, GOOGLE, &["x-goog-signature="], r"([a-f0-9]{64,})"),
    after("azure-storage-key", Critical, AZURE, &["accountkey="], r"([A-Za-z0-9+/%]{40,100}(?:={1,2}|%3[dD]){0,2})"),
    after("azure-shared-access-key", Critical, AZURE, &["sharedaccesskey="], r"([A-Za-z0-9+/%]{36,100}(?:={1,2}|%3[dD]){0,2})"),
    after("azure-shared-access-signature", High, AZURE, &["?sig=", "&sig=", "amp;sig=", "u0026sig="], r"([A-Za-z0-9%+/_-]{30,}={0,2})"),
    after("azure-function-key", High, AZURE, &["?code=", "&code="], r"([A-Za-z0-9_/-]{40,}(?:=|%3D){1,2})"),
    around("azure-client-secret", Critical, AZURE, &["7Q~", "8Q~"], (3, 3), r"[\w.~-]{31,34}").random(),
    around("azure-devops-token", Critical, AZURE, &["AZDO"], (76, 76), r"[A-Za-z0-9]{4}").random(),
    token("digitalocean-token", Critical, CLOUD, &["dop_v1_"], r"[a-f0-9]{60,64}"),
    token("digitalocean-oauth-token", High, CLOUD, &["doo_v1_", "dor_v1_"], r"[a-f0-9]{60,64}"),
    token("alibaba-access-key-id", High, CLOUD, &["LTAI"], r"[A-Za-z0-9]{12,24}").random(),
    token("tencent-secret-id", High, CLOUD, &["AKID"], r"[A-Za-z0-9]{32}").random(),
    token("volcengine-access-key", High, CLOUD, &["AKLT"], r"[A-Za-z0-9_-]{40,60}").random(),
    token("scaleway-access-key", High, CLOUD, &["SCW"], r"[A-Z0-9]{17}").random(),
    token("yandex-cloud-key", High, CLOUD, &["AQVN"], r"[\w-]{35,38}").random(),
    token("yandex-iam-token", High, CLOUD, &["t1."], r"[A-Z0-9a-z_-]+={0,2}\.[A-Z0-9a-z_-]{86}={0,2}"),
    token("yandex-oauth-token", High, CLOUD, &["y0_", "y1_"], r"[\w-]{35,}").random(),
    token("exoscale-key", High, CLOUD, &["EXO"], r"[a-f0-9]{24}"),
    token("heroku-token", High, HOSTING, &["HRKU-"], r"[\w-]{36,70}"),
    token("netlify-token", High, HOSTING, &["nfp_", "nfc_", "nfo_", "nfu_"], r"[A-Za-z0-9]{36,}").random(),
    token("vercel-token", High, HOSTING, &["vcp_", "vci_", "vca_", "vcr_", "vck_", "vercel_blob_rw_"], r"\w{24,}").random(),
    token("fly-token", High, HOSTING, &["fo1_", "fm1r_", "fm1a_", "fm2_", "FlyV1 fm2_"], r"[A-Za-z0-9_+/=,-]{40,}"),
    token("render-token", High, HOSTING, &["rnd_"], r"[A-Za-z0-9]{24,40}").random(),
    token("scalingo-token", High, HOSTING, &["tk-us-"], r"[\w-]{48}"),
    token("deno-deploy-token", High, HOSTING, &["ddp_", "ddo_"], r"[A-Za-z0-9]{36}").random(),
    token("supabase-token", Critical, HOSTING, &["sbp_"], r"(?:oauth_|v0_)?[a-f0-9]{40}"),
    token("supabase-secret-key", Critical, HOSTING, &["sb_secret_"], r"[\w-]{24,40}"),
    token("cloudflare-token", Critical, NETWORK, &["cfut_", "cfat_", "cfk_"], r"[A-Za-z0-9_-]{40,}"),
    token("cloudflare-origin-key", High, NETWORK, &["v1.0-"], r"[a-f0-9]{24}-[a-f0-9]{146}"),
    token("cloudflare-tunnel-token", Critical, NETWORK, &["eyJhIjoi"], r"[A-Za-z0-9+/_-]{80,}={0,2}"),
    token("k3s-token", Critical, CLOUD, &["K10"], r"[a-f0-9]{64}::[\w.-]{1,40}:[\w.-]{16,}"),
    token("docker-swarm-token", Critical, CLOUD, &["SWMTKN-"], r"1-[a-z0-9]{40,60}-[a-z0-9]{20,30}"),
    after("kubeadm-token", High, CLOUD, &["--token "], r"([a-z0-9]{6}\.[a-z0-9]{16})(?:\W|\z)"),
    after(
        "azure-devops-context-token",
        Critical,
        AZURE,
        &["devops", "azdo", "vsts", "dev.azure.com", "visualstudio.com", " pat "],
        r#"[^\n]{0,80}?[\s"':=]([a-z2-7]{52})(?:[^\w]|\z)"#,
    ),
    after("vault-unseal-key", Critical, CLOUD, &["unseal key", "recovery key", "unseal_key", "unsealkey"], r#"[ \d]{0,4}["'`]{0,2}\s{0,2}[:=]\s{0,2}["'`]{0,2}([A-Za-z0-9+/]{43,88}={0,2})(?:\W|\z)"#),
    after("vault-unseal-command", Critical, CLOUD, &["operator unseal ", "vault unseal ", "operator rekey ", "operator generate-root "], r#"(?:-\S+ ){0,4}["']?([A-Za-z0-9+/]{43,88}={0,2}|[a-f0-9]{64,66})(?:\s|["']|\z)"#).random(),
    after("gossip-key", Critical, CLOUD, &["encrypt\"", "encrypt =", "encrypt=", "encrypt:", "-encrypt ", "consul keygen", "keyring generate", "keyring -install"], r#"\s{0,4}[:=]?\s{0,4}["']?([A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{32}|[A-Za-z0-9+/]{22}==)(?:[^\w+/=]|\z)"#).random(),
    token("akamai-token", High, NETWORK, &["akab-"], r"[a-z0-9]{16}-[a-z0-9]{16}"),
    token("tailscale-key", Critical, NETWORK, &["tskey-"], r"(?:[a-z]+-)?[A-Za-z0-9]{6,}-?[A-Za-z0-9-]{16,}"),
    after("ngrok-authtoken", High, NETWORK, &["ngrok "], r"(?:config )?(?:add-authtoken|authtoken)\s+(\w{30,})"),
    token("netbird-token", High, NETWORK, &["nbp_"], r"[A-Za-z0-9]{36}").random(),
    token("cloudinary-secret", High, HOSTING, &["cloudinary://"], r"\d{10,20}:([\w-]{20,40})@"),
    after("private-package-url", Low, HOSTING, &["dl.cloudsmith.io/"], r"([A-Za-z0-9]{16})/"),
    token("duffel-token", High, CLOUD, &["duffel_test_", "duffel_live_"], r"[\w=-]{40,44}"),
];
