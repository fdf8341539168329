//! Rules for databases and where data stands: tokens of the hosted ones, passwords in addresses and commands.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Find, Rule, after, special, token};

const DATABASE: &[&str] = &["database"];
const PASSWORD: &[&str] = &["password"];
const SHELL: &[&str] = &["password", "shell"];

pub(super) const RULES: &[Rule] = &[
    token("planetscale-token", Critical, DATABASE, &["pscale_tkn_"], r"[\w=.-]{32,64}"),
    token("planetscale-password", Critical, DATABASE, &["pscale_pw_"], r"[\w=.-]{32,64}"),
    token("planetscale-oauth-token", Critical, DATABASE, &["pscale_oauth_"], r"[\w=.-]{32,64}"),
    token("neon-key", Critical, DATABASE, &["napi_"], r"[a-z0-9]{40,70}").random(),
    token("neon-password", Critical, DATABASE, &["npg_"], r"[A-Za-z0-9]{10,20}").random(),
    token("databricks-token", Critical, DATABASE, &["dapi"], r"[a-f0-9]{32}(?:-\d)?"),
    token("databricks-oauth-secret", Critical, DATABASE, &["dose"], r"[a-f0-9]{32}"),
    token("mongodb-atlas-secret", Critical, DATABASE, &["mdb_sa_sk_", "mdb_sa_id_"], r"[\w-]{24,60}").random(),
    token("xata-or-fauna-key", High, DATABASE, &["xau_", "fnA"], r"[\w-]{30,60}").random(),
    token("clickhouse-cloud-key", High, DATABASE, &["4b1d"], r"[A-Za-z0-9]{38}").random(),
    token("aiven-token", High, DATABASE, &["AVNS_"], r"[\w-]{16,20}").random(),
    token("convex-key", High, DATABASE, &["prod:", "dev:"], r"[a-z]+-[a-z]+-\d+\|(eyJ[\w=+/-]{20,})"),
    token("cockroach-cloud-key", High, DATABASE, &["CCDB1_"], r"\w{20,30}_\w{36,44}"),
    token("astra-token", Critical, DATABASE, &["AstraCS:"], r"[A-Za-z]{20,30}:[a-f0-9]{64}"),
    token("confluent-secret", High, DATABASE, &["cflt"], r"[A-Za-z0-9+/]{56,60}").random(),
    token("tinybird-token", High, DATABASE, &["p.eyJ"], r"[\w-]{20,}\.[\w-]{20,}"),
    token("settlemint-token", Medium, DATABASE, &["sm_pat_", "sm_aat_", "sm_sat_"], r"[A-Za-z0-9]{16}"),
    special("address-password", High, PASSWORD, &["://"], Find::Address, "postgres://app:@@db.example.org:5432/app"),
    special("driver-password", High, PASSWORD, &["@tcp(", "@unix(", "@tcp4(", "@udp("], Find::Before, "dsn = \"app:@@tcp(db:3306)/app\""),
    special("column-password", High, PASSWORD, &["insert into", "insert ignore into", "replace into"], Find::Columns, "INSERT INTO users (id, password) VALUES (1, '@')"),
    after("sql-identified-by", Critical, PASSWORD, &["identified by", "identified with"], r#"\s+(?:\w{1,40}\s+(?:by|as)\s+)?(?:password\s+|values\s+)?(?:\\?["']([^"'\\\s]{1,200})|([^\s"'`;:]{1,200}))"#),
    after("curl-user", High, SHELL, &["curl"], r#"(?:\.exe)?(?:\s[^\n|;]{0,400}?)?(?:\s-u\s?|\s--user[ =]|\s--proxy-user[ =]|\s-U\s?)["']?[^\s:"'$]{1,100}:([^\s"']{1,200})"#),
    after("http-client-user", High, SHELL, &["http -a ", "https -a ", "xh -a ", "http --auth ", "https --auth "], r#"["']?[^\s:"'$]{1,100}:([^\s"']{1,200})"#),
    after("mysql-argument", High, SHELL, &["mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"], r#"(?:\s[^\n|;]{0,300}?)?\s-p["']?([^\s"'$-][^\s"']{2,100})"#),
    after("sshpass-argument", High, SHELL, &["sshpass "], r#"-p\s?["']?([^\s"'$]{2,100})"#),
    after("docker-login-argument", High, SHELL, &["docker login", "podman login", "helm registry login", "az login", "oc login", "cf login", "heroku login"], r#"[^\n|;]{0,300}?\s-p[ =]["']?([^\s"'$-][^\s"']{2,200})"#),
    after("redis-argument", High, SHELL, &["redis-cli"], r#"(?:\s[^\n|;]{0,200}?)?\s-a[ =]["']?([^\s"'$-][^\s"']{2,200})"#),
    after("redis-auth", High, SHELL, &["requirepass ", "masterauth "], r#"["']?([^\s"'$#<]{3,200})"#),
    after("redis-auth-command", High, SHELL, &["> auth "], r#"(?:[\w.-]{1,60} )?["']?([^\s"'$#<]{6,200})["']?\s*(?:\n|\z)"#),
    after("openssl-pass", High, SHELL, &["-pass pass:", "-passin pass:", "-passout pass:"], r#"([^\s"'$]{1,200})"#),
    after("ldap-argument", High, SHELL, &["ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"], r#"(?:\s[^\n|;]{0,300}?)?\s-w\s?["']?([^\s"'$-][^\s"']{2,100})"#),
    after("smb-argument", High, SHELL, &["smbclient", "rpcclient"], r#"(?:\s[^\n|;]{0,300}?)?\s-U\s?["']?[^\s%"']{1,100}%([^\s"'$]{2,100})"#),
    after("net-use-argument", High, SHELL, &["net use "], r#"[^\n|;]{0,200}?/user:\S{1,100}\s+([^\s"'/][^\s"']{3,100})"#),
    after("htpasswd-argument", High, SHELL, &["htpasswd "], r#"-\w*b\w*\s+(?:-\w\s+)?\S{1,200}\s+\S{1,100}\s+["']?([^\s"'$]{2,100})"#),
    after("add-user-argument", High, SHELL, &["rabbitmqctl add_user ", "rabbitmqctl change_password "], r#"\S{1,100}\s+["']?([^\s"'$<]{2,100})"#),
    after("piped-password", High, SHELL, &["echo ", "printf "], r#"["']?([^\s"'$|]{2,100})["']?\s*\|\s*(?:sudo -S|passwd --stdin|sudo passwd|docker login|gh auth login|cryptsetup)"#),
    after("chpasswd-line", High, SHELL, &["echo ", "printf "], r#"["']?[\w.-]{1,40}:([^\s"'$|]{2,100})["']?\s*\|\s*(?:sudo )?chpasswd"#),
    after("pgpass-line", High, PASSWORD, &[":5432:"], r"[^:\s]{1,64}:[^:\s]{1,64}:([^\s:]{2,200})"),
    after("azure-login-secret", Critical, SHELL, &["--service-principal"], r#"[^\n|;]{0,300}?\s-p\s["']?([^\s"'$-][^\s"']{2,200})"#),
    after("kubernetes-bootstrap-token", High, SHELL, &["kubeadm "], r"[^\n|;]{0,200}?--token[ =]([a-z0-9]{6}\.[a-z0-9]{16})"),
    token("password-hash", Medium, &["password", "hash"], &["$2a$", "$2b$", "$2y$", "$argon2i$", "$argon2d$", "$argon2id$", "$6$", "$5$", "$y$", "$1$", "$apr1$", "$scrypt$", "$pbkdf2"], r"[\w./,=+$-]{20,200}"),
];
