//! The policy of a node's tools: who may call which, with which arguments. Nobody may call anything that no rule opens;
//! of the rules that fit, the most specific ones decide, and one that denies wins among equals. A tool of another origin
//! is opened to the MCP clients here by the person who approved it ([`super::Approvals`]), and rules may close it to some
//! or limit its arguments. See "Calls" in `protocols/federation.md`.

use super::{Caller, Limits, Who};
use crate::federation::Origin;
use serde_json::Value;
use std::fmt;

/// Most rules; each is looked at for each call.
pub const RULES_MAX: usize = 1024;

/// Any server, or any tool, in a rule.
const ANY: &str = "*";

/// What a rule says.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The call may be made, within these limits.
    Allow(Limits),
    /// It may not be made.
    Deny,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Whom it means.
    pub who: Who,
    /// Which tool server; `None`: all. That of another origin is `<origin>/<tool server>`.
    pub server: Option<String>,
    /// Which tool; `None`: all.
    pub tool: Option<String>,
    /// What it says of them.
    pub effect: Effect,
}

/// The tool server of another origin as calls and rules name it.
pub fn target(origin: &Origin, server: &str) -> String {
    format!("{origin}/{server}")
}

/// Whether a tool server is another origin's. Names of servers have no `/`.
fn is_remote(server: &str) -> bool {
    server.contains('/')
}

impl Rule {
    fn fits(&self, caller: &Caller, server: &str, tool: &str) -> bool {
        let named = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        self.who.means(caller) && named(&self.server, server) && named(&self.tool, tool)
    }

    /// How many of the three it names. None of them counts for more than another: where two rules name as many, and
    /// not the same, the one that denies decides.
    fn weight(&self) -> usize {
        [self.who.is_exact(), self.server.is_some(), self.tool.is_some()].into_iter().filter(|exact| *exact).count()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = if matches!(self.effect, Effect::Deny) { "deny" } else { "allow" };
        let (server, tool) = (self.server.as_deref().unwrap_or(ANY), self.tool.as_deref().unwrap_or(ANY));
        write!(out, "{effect} {} {server} {tool}", self.who)
    }
}

/// Why a call is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The rule that refuses, counted from 1 as in the configuration; `None` when none opens the tool.
    pub rule: Option<usize>,
    /// The argument that is not within its limit.
    pub argument: Option<String>,
    /// Why, for whoever wrote the policy: it says what the limit is.
    pub sentence: String,
}

impl Denied {
    /// Why, for whoever called: it names the argument, and nothing of what the policy says.
    pub fn told(&self) -> String {
        match &self.argument {
            Some(argument) => format!("the policy of this node does not allow this value of the argument `{argument}`"),
            None => "the policy of this node does not open this tool to you".to_owned(),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Denied {}

/// What became of a call that was tried against the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The rules that decided, counted from 1.
    pub rules: Vec<usize>,
    /// Whether the call may be made.
    pub outcome: Result<(), Denied>,
    /// The decision in a sentence.
    pub sentence: String,
}

/// A policy of more than [`RULES_MAX`] rules: none of them may be left out, for it might be the one that denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a policy has at most {RULES_MAX} rules, and not {0}")]
pub struct TooManyRules(pub usize);

/// All rules of a node, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// These rules, all of them.
    ///
    /// # Errors
    /// [`TooManyRules`].
    pub fn new(rules: Vec<Rule>) -> Result<Self, TooManyRules> {
        if rules.len() > RULES_MAX { Err(TooManyRules(rules.len())) } else { Ok(Self { rules }) }
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether this caller may make this call. The owner may.
    ///
    /// # Errors
    /// [`Denied`] names the rule and the argument.
    pub fn judge(&self, caller: &Caller, server: &str, tool: &str, params: &Value) -> Result<(), Denied> {
        self.explain(caller, server, tool, Some(params)).outcome
    }

    /// Whether this caller may make some call of this tool: what is listed for them.
    pub fn opens(&self, caller: &Caller, server: &str, tool: &str) -> bool {
        self.explain(caller, server, tool, None).outcome.is_ok()
    }

    /// What decides on a call, and how; without `params`, whether there may be one.
    pub fn explain(&self, caller: &Caller, server: &str, tool: &str, params: Option<&Value>) -> Decision {
        if *caller == Caller::Owner {
            let sentence = "the owner of the node may call every tool".to_owned();
            return Decision { rules: Vec::new(), outcome: Ok(()), sentence };
        }
        let fitting = || self.rules.iter().enumerate().filter(|(_, rule)| rule.fits(caller, server, tool));
        let Some(weight) = fitting().map(|(_, rule)| rule.weight()).max() else {
            if matches!(caller, Caller::Client(_)) && is_remote(server) {
                let sentence = format!("no rule is about {server} {tool} and {caller}: whoever approved it opened it");
                return Decision { rules: Vec::new(), outcome: Ok(()), sentence };
            }
            let sentence = format!("no rule opens {server}/{tool} to {caller}, and what no rule opens is refused");
            return refused(Vec::new(), Denied { rule: None, argument: None, sentence });
        };
        let deciding: Vec<_> = fitting().filter(|(_, rule)| rule.weight() == weight).collect();
        let numbers: Vec<usize> = deciding.iter().map(|(index, _)| index + 1).collect();
        for (index, rule) in &deciding {
            if matches!(rule.effect, Effect::Deny) {
                let sentence = format!("policy rule {} ({rule}) refuses", index + 1);
                return refused(numbers, Denied { rule: Some(index + 1), argument: None, sentence });
            }
        }
        for (index, rule) in &deciding {
            let Effect::Allow(limits) = &rule.effect else { continue };
            if let Some((argument, fault)) = params.and_then(|params| limits.fault(params)) {
                let sentence = format!("policy rule {} ({rule}) refuses: the argument `{argument}` {fault}", index + 1);
                let argument = Some(argument.to_owned());
                return refused(numbers, Denied { rule: Some(index + 1), argument, sentence });
            }
        }
        let named: Vec<_> = deciding.iter().map(|(index, rule)| format!("{} ({rule})", index + 1)).collect();
        let sentence = format!("allowed by policy rule {}", named.join(" and "));
        Decision { rules: numbers, outcome: Ok(()), sentence }
    }
}

fn refused(rules: Vec<usize>, denied: Denied) -> Decision {
    Decision { rules, sentence: denied.sentence.clone(), outcome: Err(denied) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Limit;
    use serde_json::json;

    fn rule(text: &str) -> Rule {
        let words: Vec<&str> = text.split(' ').collect();
        let [effect, who, server, tool] = words[..] else { panic!("four words") };
        let name = |word: &str| (word != ANY).then(|| word.to_owned());
        let effect = if effect == "deny" { Effect::Deny } else { Effect::Allow(Limits::default()) };
        Rule { who: who.parse().expect("a caller"), server: name(server), tool: name(tool), effect }
    }

    fn policy(rules: &[&str]) -> Policy {
        Policy::new(rules.iter().map(|text| rule(text)).collect()).expect("not too many")
    }

    fn judged(policy: &Policy, caller: &str, tool: &str) -> Result<(), Denied> {
        policy.judge(&caller.parse().expect("a caller"), "files", tool, &json!({}))
    }

    #[test]
    fn nothing_is_open_that_no_rule_opens() {
        let empty = policy(&[]);
        for caller in ["beta.test", "client:claude"] {
            let denied = judged(&empty, caller, "read").expect_err("nothing is open");
            assert!(denied.sentence.contains(caller) && denied.rule.is_none(), "{denied}");
        }
        assert_eq!(judged(&empty, "owner", "read"), Ok(()));
        let other =
            policy(&["allow gamma.test files read", "allow beta.test other read", "allow beta.test files write"]);
        assert!(judged(&other, "beta.test", "read").is_err());
        assert!(judged(&policy(&["allow * files read"]), "client:claude", "read").is_err(), "a client is no origin");
    }

    #[test]
    fn an_approved_tool_of_another_origin_is_open_to_clients_unless_a_rule_closes_it() {
        let judged = |rules: &[&str], caller: &str| {
            let caller = caller.parse().expect("a caller");
            policy(rules).judge(&caller, "beta.test/files", "read", &json!({})).is_ok()
        };
        assert!(judged(&[], "client:claude"));
        assert!(!judged(&[], "gamma.test"), "what others call goes no further than here");
        let some = ["deny client:* beta.test/files *", "allow client:claude beta.test/files read"];
        assert!(judged(&some, "client:claude") && !judged(&some, "client:other"));
        assert!(!judged(&["deny client:* * *"], "client:claude"));
        assert!(judged(&["deny client:* files read"], "client:claude"), "that is a server here");
    }

    #[test]
    fn the_most_specific_rule_wins_wherever_it_stands() {
        let rules = ["deny * files *", "allow beta.test files *", "deny beta.test files write"];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let policy = policy(&order.map(|at| rules[at]));
            assert_eq!(judged(&policy, "beta.test", "read"), Ok(()));
            assert!(judged(&policy, "beta.test", "write").is_err());
            assert!(judged(&policy, "gamma.test", "read").is_err());
        }
    }

    #[test]
    fn deny_wins_among_equals() {
        let twice = policy(&["allow beta.test files read", "deny beta.test files read"]);
        let denied = judged(&twice, "beta.test", "read").expect_err("denied");
        assert_eq!(denied.rule, Some(2));
        // Of the same weight, though they name different things.
        let crossed = policy(&["allow * files read", "deny beta.test files *"]);
        assert!(judged(&crossed, "beta.test", "read").is_err());
        assert_eq!(judged(&crossed, "gamma.test", "read"), Ok(()));
    }

    #[test]
    fn all_limits_of_equal_rules_must_hold_and_the_refusal_names_rule_and_argument() {
        let limited = |argument: &str, max: f64| {
            let limit = Limit { max: Some(max), ..Limit::default() };
            let limits = Limits::new([(argument.to_owned(), limit)].into()).expect("limits");
            Rule { effect: Effect::Allow(limits), ..rule("allow beta.test files read") }
        };
        let policy = Policy::new(vec![limited("a", 5.0), limited("/b/c", 5.0)]).expect("two rules");
        let judge = |params| policy.judge(&"beta.test".parse().expect("one"), "files", "read", &params);
        assert_eq!(judge(json!({"a": 5, "b": {"c": 5}})), Ok(()));
        let denied = judge(json!({"a": 5, "b": {"c": 6}})).expect_err("too large");
        assert_eq!((denied.rule, denied.argument.as_deref()), (Some(2), Some("/b/c")));
        assert!(denied.sentence.contains("rule 2") && denied.sentence.contains("above 5"), "{denied}");
        assert!(!denied.told().contains('5') && denied.told().contains("/b/c"), "{}", denied.told());
        assert!(judge(json!({"b": {"c": 5}})).is_err());
        assert!(policy.opens(&"beta.test".parse().expect("one"), "files", "read"));
    }

    #[test]
    fn no_rule_is_left_out_of_a_policy() {
        let many = |count| (0..count).map(|_| rule("allow beta.test files *"));
        let all = Policy::new(many(RULES_MAX - 1).chain([rule("deny beta.test files *")]).collect());
        assert!(judged(&all.expect("as many as may be"), "beta.test", "read").is_err());
        assert_eq!(Policy::new(many(RULES_MAX + 1).collect()).err(), Some(TooManyRules(RULES_MAX + 1)));
    }

    #[test]
    fn what_decides_is_said() {
        let policy = policy(&["allow * files *", "allow beta.test files *"]);
        let decision = policy.explain(&"beta.test".parse().expect("one"), "files", "read", None);
        assert_eq!((decision.rules, decision.outcome), (vec![2], Ok(())));
        assert_eq!(decision.sentence, "allowed by policy rule 2 (allow beta.test files *)");
    }
}
