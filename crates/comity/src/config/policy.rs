//! The policy of tools, which is written as tables of its own and not as keys: `[[policy]]`. What each field means stands
//! in `tools.toml`; what the rules make of a call is decided in `comity_core::tool`.

use super::ConfigError;
use super::layers::Layers;
use super::reading::Reading;
use super::tools::read;
use comity_core::federation::Origin;
use comity_core::tool::{self, BadLimit, Effect, Limit, Limits, RULES_MAX, Rule, Who};
use figment::value::Value as Written;
use serde::Deserialize;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// The rules of the policy as they are written. They were tried: they are good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyRules(Vec<RuleKeys>);

impl PolicyRules {
    /// The policy that is meant.
    pub fn policy(&self) -> tool::Policy {
        let rules = self.0.iter().map(|rule| rule.meant().expect("each was tried when it was read"));
        tool::Policy::new(rules.collect()).expect("they were counted when they were read")
    }
}

/// `[[policy]]` as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleKeys {
    origin: Option<String>,
    client: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    effect: Option<String>,
    arguments: BTreeMap<String, LimitKeys>,
}

/// One limit as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitKeys {
    one_of: Option<Vec<Value>>,
    pattern: Option<String>,
    min: Option<Number>,
    max: Option<Number>,
    max_length: Option<usize>,
    prefix: Option<Value>,
    optional: bool,
}

/// The rules that are written, each of which was tried.
pub(super) fn policy(layers: &Layers) -> Result<PolicyRules, ConfigError> {
    let reading = Reading { layers };
    let wanted = || reading.wrong("policy", format!("at most {RULES_MAX} tables are wanted: [[policy]]"));
    let rules = match layers.table("policy") {
        None => return Ok(PolicyRules::default()),
        Some(Written::Array(_, rules)) if rules.len() <= RULES_MAX => rules,
        Some(_) => return Err(wanted()),
    };
    let rule = |(index, table): (usize, &Written)| {
        let place = format!("policy[{}]", index + 1);
        let rule: RuleKeys = read(&reading, &place, table)?;
        let wrong = |(key, problem): (String, String)| reading.wrong_in("policy", &format!("{place}.{key}"), problem);
        rule.meant().map_err(wrong)?;
        Ok(rule)
    };
    rules.iter().enumerate().map(rule).collect::<Result<_, _>>().map(PolicyRules)
}

impl RuleKeys {
    /// The rule that is meant; else the key, and what is wrong with it.
    fn meant(&self) -> Result<Rule, (String, String)> {
        let wrong = |key: &str, problem: &str| (key.to_owned(), problem.to_owned());
        let text = match (&self.origin, &self.client) {
            (Some(origin), None) => origin.clone(),
            (None, Some(client)) => format!("client:{client}"),
            _ => return Err(wrong("origin", "either `origin` or `client` says whom the rule means")),
        };
        let who: Who = text.parse().map_err(|bad: tool::NotACaller| wrong("origin", &bad.to_string()))?;
        let named = |key: &str, value: &Option<String>, is_name: &dyn Fn(&str) -> bool| match value.as_deref() {
            Some("*") => Ok(None),
            Some(name) if is_name(name) => Ok(Some(name.to_owned())),
            _ if key == "server" && self.client.is_some() => {
                Err(wrong(key, "`ORIGIN/SERVER` is wanted, or `*`: MCP clients call tools of other origins"))
            }
            _ => Err(wrong(key, "a name is wanted, or `*`")),
        };
        let limits = self.arguments.iter().map(|(argument, limit)| {
            let limit = limit.meant().map_err(|bad| (format!("arguments.{argument}"), bad.to_string()))?;
            Ok((argument.clone(), limit))
        });
        let limits = limits.collect::<Result<_, (String, String)>>()?;
        let limits =
            Limits::new(limits).map_err(|(argument, bad)| (format!("arguments.{argument}"), bad.to_string()))?;
        let effect = match self.effect.as_deref() {
            Some("allow") => Effect::Allow(limits),
            Some("deny") if limits.is_empty() => Effect::Deny,
            Some("deny") => return Err(wrong("arguments", "a rule that denies has no limits")),
            _ => return Err(wrong("effect", "allow or deny is wanted")),
        };
        Ok(Rule {
            who,
            server: named("server", &self.server, &|name| is_server(name, self.client.is_some()))?,
            tool: named("tool", &self.tool, &|name| tool::tool_name(name).is_ok())?,
            effect,
        })
    }
}

/// Whether a text names a tool server that a rule can be about: other organisations call those of this node, and MCP
/// clients here those of other organisations.
fn is_server(text: &str, for_client: bool) -> bool {
    match text.split_once('/') {
        Some((origin, server)) => for_client && Origin::said(origin).is_ok() && tool::server_name(server).is_ok(),
        None => !for_client && tool::server_name(text).is_ok(),
    }
}

impl LimitKeys {
    fn meant(&self) -> Result<Limit, BadLimit> {
        let prefix = match &self.prefix {
            None => None,
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(several)) => {
                let text = |prefix: &Value| match prefix {
                    Value::String(text) => Ok(text.clone()),
                    other => Err(BadLimit::Prefix(other.to_string())),
                };
                Some(several.iter().map(text).collect::<Result<_, _>>()?)
            }
            Some(other) => return Err(BadLimit::Prefix(other.to_string())),
        };
        Ok(Limit {
            one_of: self.one_of.clone(),
            pattern: self.pattern.as_deref().map(Limit::pattern).transpose()?,
            min: self.min.as_ref().and_then(Number::as_f64),
            max: self.max.as_ref().and_then(Number::as_f64),
            max_length: self.max_length,
            prefix,
            optional: self.optional,
        })
    }
}
