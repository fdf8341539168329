//! Rules for keys of model providers and what is built around them.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, after, token};

const AI: &[&str] = &["ai"];

/// What stands between a vendor's name and its key, which has no prefix of its own.
macro_rules! named {
    ($key:literal) => {
        concat!(
            r#"[\w .-]{0,40}["'\\]{0,3}\s{0,4}(?:[:=(,]|=>|is|login|auth)\s{0,4}["'\\]{0,3}("#,
            $key,
            r")(?:[^\w-]|\z)"
        )
    };
}

pub(super) const RULES: &[Rule] = &[
    token("anthropic-api-key", Critical, AI, &["sk-ant-api"], r"\d\d-[\w-]{40,}"),
    token("anthropic-admin-key", Critical, AI, &["sk-ant-admin"], r"\d\d-[\w-]{40,}"),
    token("anthropic-oauth-token", Critical, AI, &["sk-ant-oat", "sk-ant-ort", "sk-ant-sid"], r"\d\d-[\w-]{40,}"),
    token("openai-project-key", Critical, AI, &["sk-proj-"], r"[\w-]{20,}").random(),
    token("openai-service-key", Critical, AI, &["sk-svcacct-", "sk-None-"], r"[\w-]{20,}").random(),
    token("openai-admin-key", Critical, AI, &["sk-admin-"], r"[\w-]{20,}").random(),
    token("openai-session-key", High, AI, &["sess-"], r"[A-Za-z0-9]{40}").random(),
    token("openrouter-key", High, AI, &["sk-or-"], r"(?:v1-)?[a-f0-9]{40,64}"),
    token("langfuse-key", High, AI, &["sk-lf-"], r"[a-f0-9-]{36}"),
    // OpenAI's first form, DeepSeek, Moonshot, DashScope, Stability and many proxies.
    token("model-api-key", Critical, AI, &["sk-"], r"[A-Za-z0-9][\w-]{18,}").random(),
    token("huggingface-token", Critical, AI, &["hf_", "api_org_"], r"[A-Za-z0-9]{30,40}").random(),
    token("replicate-token", High, AI, &["r8_"], r"[A-Za-z0-9]{37,40}").random(),
    token("groq-key", High, AI, &["gsk_"], r"[A-Za-z0-9]{40,56}").random(),
    token("perplexity-key", High, AI, &["pplx-"], r"[A-Za-z0-9]{40,56}").random(),
    token("xai-key", High, AI, &["xai-"], r"[A-Za-z0-9]{60,90}").random(),
    token("together-key", High, AI, &["tgp_v1_"], r"[\w-]{36,48}").random(),
    token("fireworks-key", High, AI, &["fw_"], r"[A-Za-z0-9]{20,36}").random(),
    token("cerebras-key", High, AI, &["csk-"], r"[a-z0-9]{40,56}").random(),
    token("nvidia-key", High, AI, &["nvapi-"], r"[\w-]{50,90}").random(),
    token("voyage-key", High, AI, &["pa-"], r"[\w-]{43}").random(),
    token("jina-key", High, AI, &["jina_"], r"[\w-]{40,70}").random(),
    token("pinecone-key", High, AI, &["pcsk_"], r"\w{40,80}").random(),
    token("langsmith-key", High, AI, &["lsv2_pt_", "lsv2_sk_", "ls__"], r"[a-f0-9]{32}(?:_[a-f0-9]{10})?"),
    token("wandb-key", High, AI, &["wandb_v1_"], r"\w{40,90}").random(),
    token("tavily-key", Medium, AI, &["tvly-"], r"(?:dev-|prod-)?[A-Za-z0-9-]{28,48}").random(),
    token("firecrawl-key", Medium, AI, &["fc-"], r"[a-f0-9]{32}"),
    token("e2b-key", High, AI, &["e2b_"], r"[a-f0-9]{36,44}"),
    token("modal-token", High, AI, &["ak-", "as-"], r"[A-Za-z0-9]{22}").random(),
    token("runpod-key", High, AI, &["rpa_"], r"[A-Z0-9a-z]{40,50}").random(),
    token("elevenlabs-key", High, AI, &["sk_"], r"[a-f0-9]{48}"),
    token("kaggle-token", High, AI, &["KGAT_"], r"[a-f0-9]{32}"),
    token("llamacloud-key", High, AI, &["llx-"], r"[A-Za-z0-9]{40,56}").random(),
    token("upstage-key", High, AI, &["up_"], r"[A-Za-z0-9]{29}").random(),
    token("friendli-key", High, AI, &["flp_"], r"[A-Za-z0-9]{40,50}").random(),
    token("mem0-key", Medium, AI, &["m0-"], r"[A-Za-z0-9]{40}").random(),
    token("apify-token", High, AI, &["apify_api_"], r"[A-Za-z0-9]{36}").random(),
    token("tripo-key", Medium, AI, &["tsk_"], r"[\w-]{40,50}").random(),
    after("mistral-key", High, AI, &["mistral"], named!(r"[A-Za-z0-9]{32}")).random(),
    after("cohere-key", High, AI, &["cohere"], named!(r"[A-Za-z0-9]{40}")).random(),
    after("deepgram-key", High, AI, &["deepgram"], named!(r"[a-f0-9]{40}")).random(),
    after("assemblyai-key", High, AI, &["assemblyai", "assembly_ai"], named!(r"[a-f0-9]{32}")).random(),
    after("ai21-key", High, AI, &["ai21"], named!(r"[A-Za-z0-9]{32}")).random(),
    after("weights-and-biases-key", High, AI, &["wandb"], named!(r"[a-f0-9]{40}")).random(),
    after("clarifai-key", High, AI, &["clarifai"], named!(r"[a-f0-9]{32}")).random(),
];
