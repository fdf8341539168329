//! Tool servers and the policy, read from real files.

use super::tools::EXAMPLE;
use super::*;
use crate::scratch::Scratch;
use comity_core::tool::Effect;

fn with_file(text: &str) -> Result<(Config, Vec<Origin>), ConfigError> {
    let scratch = Scratch::new();
    for name in ["token", "shared.json"] {
        std::fs::write(scratch.path().join(name), "hush\n").expect("a file");
    }
    let path = scratch.path().join("comity.toml");
    std::fs::write(&path, text).expect("a file");
    Config::read(&Sources { usual_file: Some(path), ..Sources::default() })
}

#[test]
fn what_is_wrong_with_a_tool_server_is_named_with_file_table_and_field() {
    let check = |text: &str, key: &str, problem: &str| {
        let error = with_file(text).expect_err(text).to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("comity.toml"), "{error}");
        assert!(error.contains(problem), "{error}");
    };
    check("tools = 3", "tools", "[tools.NAME]");
    check("[tools.Files]\nkind = \"mcp\"", "tools.Files", "a-z");
    check("[tools.a__b]\nkind = \"mcp\"", "tools.a__b", "a-z");
    check("[tools.a]", "tools.a.kind", "mcp, openapi or command");
    check("[tools.a]\nkind = \"mcp\"\ncomand = [\"x\"]", "tools.a.comand", "`command`");
    check("[tools.a]\nkind = \"mcp\"\ncommand = \"x\"", "tools.a.command", "sequence");
    check("[tools.a]\nkind = \"mcp\"\ncommand = []", "tools.a.command", "a program");
    check("[tools.a]\nkind = \"mcp\"\ncommand = [\"x\"]\nurl = \"http://b\"", "tools.a.command", "either");
    check("[tools.a]\nkind = \"mcp\"\nurl = \"ftp://b\"", "tools.a.url", "http or https");
    check("[tools.a]\nkind = \"mcp\"\nurl = \"http://u:p@b/\"", "tools.a.url", "bearer_file");
    check("[tools.a]\nkind = \"mcp\"\nurl = \"http://b.test/\"\nbearer_file = \"token\"", "tools.a.url", "use https");
    check("[tools.a]\nkind = \"mcp\"\nurl = \"https://b/\"\ncwd = \"/\"", "tools.a.cwd", "means nothing");
    check(
        "[tools.a]\nkind = \"mcp\"\nurl = \"https://b/\"\nbearer_env = \"NO_SUCH_VARIABLE\"",
        "tools.a.bearer_env",
        "not set",
    );
    check("[tools.a]\nkind = \"mcp\"\ncommand = [\"x\"]\ntimeout_seconds = 0", "tools.a.timeout_seconds", "1 to 3600");
    check(
        "[tools.a]\nkind = \"mcp\"\ncommand = [\"x\"]\noutput_bytes = 99999999999",
        "tools.a.output_bytes",
        "1024 to",
    );
    check(
        "[tools.a]\nkind = \"mcp\"\ncommand = [\"x\"]\nenv_file = { T = \"nowhere\" }",
        "tools.a.env_file",
        "No such file",
    );
    check("[tools.a]\nkind = \"openapi\"", "tools.a.document", "a file or a URL");
    check(
        "[tools.a]\nkind = \"openapi\"\ndocument = \"x.json\"\nbearer_file = \"token\"",
        "tools.a.url",
        "with a token",
    );
    check("[tools.a]\nkind = \"command\"", "tools.a.commands", "each a tool");
    let command = |line: &str| format!("[tools.a]\nkind = \"command\"\n[tools.a.commands.t]\n{line}");
    check(&command("argv = [\"x\"]"), "tools.a.commands.t.argv", "`");
    check(&command("command = [\"{x}\"]"), "tools.a.commands.t", "cannot be an argument");
    check(&command("command = [\"x\", \"{y}\"]\ninput = { type = \"object\" }"), "tools.a.commands.t", "no property");
    check("[toools.a]\nkind = \"mcp\"", "toools", "`tools`");
}

#[test]
fn what_is_wrong_with_a_rule_is_named_with_its_number_and_field() {
    let check = |text: &str, key: &str, problem: &str| {
        let good = "[[policy]]\norigin = \"*\"\nserver = \"a\"\ntool = \"*\"\neffect = \"deny\"\n";
        let error = with_file(&format!("{good}[[policy]]\n{text}")).expect_err(text).to_string();
        assert!(error.contains(&format!("`policy[2].{key}`")) && error.contains("comity.toml"), "{error}");
        assert!(error.contains(problem), "{error}");
    };
    let rest = "server = \"a\"\ntool = \"b\"\neffect = \"allow\"\n";
    check(rest, "origin", "either");
    check(&format!("origin = \"*\"\nclient = \"*\"\n{rest}"), "origin", "either");
    check(&format!("origin = \"127.0.0.1\"\n{rest}"), "origin", "beta.test");
    check("origin = \"*\"\ntool = \"b\"\neffect = \"allow\"", "server", "a name");
    check("origin = \"*\"\nserver = \"a\"\ntool = \"b\"", "effect", "allow or deny");
    check("origin = \"*\"\nserver = \"a\"\ntool = \"b\"\nallow = true", "allow", "`");
    let limit = |limit: &str| format!("origin = \"*\"\n{rest}arguments = {{ x = {limit} }}");
    check(&limit("{ }"), "arguments.x", "limits nothing");
    check(&limit("{ pattern = \"(\" }"), "arguments.x", "pattern");
    check(&limit("{ prefix = \"/a/..\" }"), "arguments.x", "no path");
    check(&limit("{ maximum = 3 }"), "arguments.x.maximum", "`max`");
    check(
        "origin = \"*\"\nserver = \"a\"\ntool = \"b\"\neffect = \"deny\"\narguments = { x = { max = 1 } }",
        "arguments",
        "no limits",
    );
    let error = with_file("policy = 3").expect_err("no table").to_string();
    assert!(error.contains("[[policy]]"), "{error}");
}

#[test]
fn the_example_of_tools_and_policy_can_be_used_and_shows_every_field() {
    let example = example();
    let begin = example.find("# Tool servers").expect("it is in the example file");
    let text: String = example[begin..]
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(text.trim(), EXAMPLE.trim(), "it is commented out line by line");
    // The secrets of the example are files and variables of nobody.
    let text = text.replace("/run/secrets/files-token", "token").replace("/run/secrets/search-token", "token");
    let text = text.replace("bearer_env = \"WEATHER_TOKEN\"", "bearer_file = \"token\"");
    let (config, origins) = with_file(&text).expect("the example is valid");
    let names: Vec<_> = config.tools.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["disk", "files", "search", "weather"]);
    let ToolKind::McpProcess { around, .. } = &config.tools[1].kind else { panic!("a program") };
    assert_eq!(around.env["API_TOKEN"].reveal(), "hush");
    let rules = config.policy.policy();
    assert!(matches!(&rules.rules()[0].effect, Effect::Allow(limits) if limits.iter().count() == 4));
    assert!(!format!("{config:?}{origins:?}").contains("hush"));
    let shown = origins.iter().find(|origin| origin.key == "tools.files.env").expect("it is listed");
    assert!(shown.value.contains("hidden") && shown.from.ends_with("comity.toml"), "{shown:?}");
    // Every field is explained: the errors on unknown ones list them all.
    for (table, fields) in tools::fields() {
        for field in fields {
            let shown = EXAMPLE.contains(&format!("{field} =")) || EXAMPLE.contains(&format!(".{field}"));
            assert!(shown, "{table}: {field} is not in the example");
        }
    }
}

#[test]
fn without_tables_there_are_no_tools_and_nothing_is_open() {
    let config = Config::default();
    assert_eq!((config.tools.len(), config.policy == PolicyRules::default()), (0, true));
    assert!(config.policy.policy().rules().is_empty());
}
