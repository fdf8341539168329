//! Rules for passwords in commands: behind a flag that a program has for them, in a place of its own, or piped.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Check, Rule, after, token};

const SHELL: &[&str] = &["password", "shell"];
const LOGIN: &[&str] = &["token", "shell"];

/// What a command goes on with up to its flag, and the value of that.
macro_rules! flag {
    ($flags:literal) => {
        concat!(r#"(?:\.exe)?(?:[^\n|;]{0,300}?\s)?(?-i:"#, $flags, r#")["']?([^\s"'$<-][^\s"']{2,100})"#)
    };
}

/// The word behind so many others.
macro_rules! behind {
    ($words:literal) => {
        concat!(r#"\s*"#, $words, r#"["']?([^\s"'$<>|;-][^\s"';|]{3,200})"#)
    };
}

pub(super) const RULES: &[Rule] = &[
    after("printed-file", High, SHELL, &["$ cat ", "# cat ", "> cat ", "% cat ", "> type ", "> gc "], r#"\S{0,80}(?:pass|pwd|secret|token|_key|apikey|api-key|cred)[\w.-]{0,24}(?: *#[^\n]{0,80})?\r?\n([^\s"'$<{\[-]\S{7,200})\s*(?:\n|\z)"#).check(Check::Strong),
    after(
        "byte-key",
        Critical,
        SHELL,
        &["id.json", "keypair", "uint8array(", "uint8array.from(", "fromsecretkey(", "secretkey", "secret_key", "privatekey", "private_key"],
        r#"[^\n\[]{0,60}\n?[^\n\[]{0,20}\[((?:\s{0,4}\d{1,3}\s{0,4},){63}\s{0,4}\d{1,3})\s{0,4}\]"#,
    ),
    after(
        "short-byte-key",
        Critical,
        SHELL,
        &["secretkey", "secret_key", "privatekey", "private_key", "seed_bytes", "seedbytes"],
        r#"[^\n\[]{0,60}\n?[^\n\[]{0,20}\[((?:\s{0,4}(?:0x)?\w{1,3}\s{0,4},){31}\s{0,4}(?:0x)?\w{1,3}),?\s{0,4}\]"#,
    ),
    after(
        "package-runner-key",
        High,
        LOGIN,
        &["npx ", "uvx ", "bunx ", "pnpm dlx ", "pipx run ", "codecov.io/bash", "uploader.codecov.io", "codecovcli ", "./codecov ", "codecov -"],
        r#"[^\n|;]{0,240}?\s(?:-t|--?key|-k|--token|--api-?key|--secret)[ =]["']?([A-Za-z0-9_+/=.-]{20,200})"#,
    )
    .random(),
    after("named-user-argument", High, SHELL, &["-auth ", "--auth=", "--basic-auth ", "--basic-auth=", "--credentials ", "--creds ", "--userpass ", "--proxy-auth ", "--user-pass ", "-authuser "], r#"["']?[\w.@-]{1,60}:([^\s"'$<{][^\s"']{3,200})"#).check(Check::Strong),
    after("short-user-argument", High, SHELL, &[" -u "], r#"["']?[\w.@-]{1,60}:([^\s"'$<{/][^\s"']{5,200})"#).random(),
    after("user-and-password-variable", High, SHELL, &["_auth=", "_auth: ", "_auth = ", "_userpass=", "_basic_auth="], r#"["']?[\w.@-]{1,60}[:/]([^\s"'$<{/:][^\s"']{4,200})"#).check(Check::Strong),
    token(
        "traffic-secret",
        High,
        SHELL,
        &[
            "CLIENT_RANDOM ", "CLIENT_TRAFFIC_SECRET_", "SERVER_TRAFFIC_SECRET_", "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_EARLY_TRAFFIC_SECRET", "EXPORTER_SECRET", "EARLY_EXPORTER_SECRET",
            "QUIC_CLIENT_TRAFFIC_SECRET_", "QUIC_SERVER_TRAFFIC_SECRET_", "RSA Session-ID:",
        ],
        r"\d{0,2} ?[a-fA-F0-9]{16,64} ?(?:Master-Key:)?([a-fA-F0-9]{64,96})",
    ),
    after("filled-password", High, SHELL, &["password", "passwd", "passphrase", "'pw", "\"pw", "#pw"], r#"[\w-]{0,20}["'`\\]{0,2}(?:[/i"'`\]\\)]{0,4}[/\])]["'`]?\s?,\s{0,4}(?:with:\s?)?|["'`\])/i\\]{1,6}(?:\.\w{1,20}\([^()\n]{0,40}\)){0,2}\.(?:type|fill|send_?keys|val|set_?value|set|type_?text|add_?value|press_?sequentially|input)\(\s?(?:text=)?)["'`]([^"'`\n]{4,100})["'`]\s?[,)}\n]"#).check(Check::Strong),
    after("mail-and-password", High, SHELL, &[".com:", ".org:", ".net:", ".de:", ".io:", ".example:", ".com|", ".org|", ".net|"], r#"([^\s:/"'<>|,;()]{6,60})(?:\s|\z)"#).check(Check::Strong),
    after("user-and-host", High, SHELL, &["admin:", "root:", "administrator:", "postgres:", "ubuntu:", "pi:"], r#"([^\s@/:"'$<{]{5,60})@[\w-]{1,60}[.\w]{0,60}"#).check(Check::Strong),
    after("admin-and-password", High, SHELL, &["admin / ", "root / ", "administrator / "], r"([^\s/|]{6,60})(?:\s|\z)").check(Check::Strong),
    after("stored-password", High, SHELL, &["consul kv put ", "etcdctl put ", "redis-cli set "], r#"["']?\S{0,100}(?:pass|secret|token|key|pwd)\S{0,20}\s+["']?([^\s"'$<@-][^\s"']{4,200})"#).check(Check::Strong),
    after("net-user-password", High, SHELL, &["net user "], r#"[\w.-]{1,60}\s+["']?([^\s"'/*][^\s"']{3,100})["']?\s*(?:\n|\z)"#).check(Check::Strong),
    after("prompted-password", High, SHELL, &["kinit ", "cryptsetup ", "ssh-add ", "gpg ", "passwd ", "openssl "], r#"[^\n|;]{0,80}?<<<\s*["']?([^\s"'$]{4,200})"#),
    after("card-check-number", Medium, SHELL, &["cvv", "cvc", "cvv2", "cvc2"], r#"["']?\s{0,2}(?:[:=]|is)?\s{1,2}["']?(\d{3,4})(?:[^\w.,/-]|[.,]?\s|\z)"#),
    after(
        "database-shell-argument",
        High,
        SHELL,
        &[
            "mongo ", "mongosh ", "mongodump ", "mongorestore ", "mongoexport ", "mongoimport ", "cqlsh ", "arangosh ",
            "influx ", "cypher-shell ", "isql ", "dse ",
        ],
        flag!(r"-p[ =]|-password[ =]|--password[ =]"),
    ),
    after("sql-server-argument", High, SHELL, &["sqlcmd ", "bcp ", "osql ", "dtexec "], flag!(r"-P ?|/P ")),
    after(
        "oracle-argument",
        High,
        SHELL,
        &["sqlplus ", "expdp ", "impdp ", "sqlldr ", "rman target ", "sqlcl ", "sql -s "],
        r#"(?:-\w+ ){0,2}["']?[A-Za-z_][\w$#]{0,60}/["']?([^\s"'@$&]{3,60})"#,
    )
    .check(Check::Strong),
    after("archive-argument", High, SHELL, &["7z ", "7za ", "7zz ", "unrar ", "rar "], r#"[aextlu] (?:[^\n|;]{0,200}?\s)?-h?p["']?([^\s"'$<-][^\s"']{2,100})"#),
    after("zip-argument", High, SHELL, &["zip ", "unzip ", "ipmitool "], flag!(r"-P ")),
    after(
        "key-store-argument",
        High,
        SHELL,
        &["-storepass ", "-keypass ", "-srcstorepass ", "-deststorepass ", "-srckeypass ", "-destkeypass "],
        r#"["']?([^\s"'$<-][^\s"']{2,100})"#,
    ),
    after("apk-signer-argument", High, SHELL, &["-pass pass:", "-pass file:"], r#"([^\s"'$/]{3,100})"#),
    after(
        "keychain-argument",
        High,
        SHELL,
        &["security add-", "security unlock-", "security create-", "security import ", "security set-"],
        flag!(r"-[wpP] "),
    ),
    after("windows-argument", High, SHELL, &["xfreerdp", "cmdkey ", "mstsc ", "wmic ", "runas ", "schtasks ", "sc.exe "], flag!(r"/p:|/pass:|/password:|/rp ")),
    after("psexec-argument", High, SHELL, &["psexec", "winexe ", "rdesktop ", "evil-winrm ", "crackmapexec ", "netexec ", "nxc "], flag!(r"-p ")),
    after("putty-argument", High, SHELL, &["plink", "pscp", "psftp", "putty"], flag!(r"-pw ")),
    after("ftp-argument", High, SHELL, &["lftp ", "ncftp ", "ncftpput "], r#"[^\n|;]{0,100}?-u ["']?[^\s,"']{1,60}[, ]["']?([^\s"'$<-][^\s"',]{2,100})"#),
    after("snmp-community-argument", High, SHELL, &["snmpwalk ", "snmpget ", "snmpset ", "snmpbulkwalk ", "snmpgetnext "], flag!(r"-c ")).check(Check::Strong),
    after("snmp-auth-argument", High, SHELL, &["snmpwalk ", "snmpget ", "snmpset ", "snmpbulkwalk "], flag!(r"-A ")),
    after("snmp-privacy-argument", High, SHELL, &["snmpwalk ", "snmpget ", "snmpset ", "snmpbulkwalk "], flag!(r"-X ")),
    after("wifi-passphrase-argument", High, SHELL, &["wpa_passphrase "], r#"(?:"[^"]{1,40}"|'[^']{1,40}'|[^\s"']{1,40})\s+["']?([^\s"'$<>|]{8,63})"#),
    after("mqtt-argument", High, SHELL, &["mosquitto_pub", "mosquitto_sub", "mosquitto_rr", "mqttx ", "mqtt pub ", "mqtt sub "], flag!(r"-P |--pw |-pw ")),
    after("upload-argument", High, SHELL, &["twine ", "nexus ", "jfrog ", "jf ", "cf ", "ibmcloud ", "skopeo ", "buildah ", "ctr ", "crane "], flag!(r"-p |--creds [^\s:]{1,60}:|-u [^\s:]{1,60}:")),
    after("tool-argument", High, SHELL, &["conan ", "vsce ", "ovsx ", "expo ", "eas ", "nuget ", "helm ", "veracrypt ", "hdiutil "], flag!(r"-p |-passphrase ")).check(Check::Strong),
    after("chat-registration", High, SHELL, &["ejabberdctl register ", "ejabberdctl change_password ", "prosodyctl register "], r#"\S{1,60}\s+\S{1,100}\s+["']?([^\s"'$<]{3,100})"#),
    after("directory-argument", High, SHELL, &["ldappasswd "], flag!(r"-s |-a ")),
    after("desktop-argument", High, SHELL, &["grdctl "], r#"(?:--\w+ )?(?:rdp|vnc) set-(?:credentials \S{1,60}|password) ["']?([^\s"'$<]{3,100})"#),
    after("erlang-cookie", High, SHELL, &["-setcookie ", "erlang_cookie=", "erlang_cookie: ", ".erlang.cookie\n"], r#"["']?([\w-]{12,255})"#).random(),
    after("hashed-argument", High, SHELL, &["mkpasswd ", "openssl passwd ", "hash-password --plaintext ", "hash-password -p "], r#"(?:-[\w-]{1,20}(?:[ =][\w.-]{1,24})? ){0,4}["']?([^\s"'$<-][^\s"']{4,100})["']?\s*(?:\n|\z)"#).check(Check::Strong),
    after("key-pragma", Critical, SHELL, &["pragma key", "pragma rekey", "pragma hexkey", "pragma hexrekey"], r#"\s{0,4}(?:=|\()\s{0,4}["'](?:x')?([^'"\n]{4,200})"#),
    after("attached-key", Critical, SHELL, &["attach database ", "attach '"], r#"[^\n;]{1,200}? key ["'](?:x')?([^'"\n]{4,200})"#),
    after(
        "package-login",
        High,
        LOGIN,
        &["poetry config "],
        behind!(r"(?:http-basic\.\S{1,60} \S{1,60}|pypi-token\.\S{1,60})\s+"),
    ),
    after("composer-login", High, LOGIN, &["composer config "], behind!(r"(?:-g |--global |--auth )?(?:http-basic\.\S{1,60} \S{1,60}|(?:github-oauth|gitlab-token|gitlab-oauth|bearer)\.\S{1,60})\s+")),
    after(
        "login-argument",
        High,
        LOGIN,
        &[
            "wandb login ", "snyk auth ", "vault login ", "cargo login ", "netlify login ", "doppler login ", "sentry-cli login ",
            "huggingface-cli login ", "hf auth login ", "pulumi login ", "infisical login ", "railway login ", "fly auth token ",
            "vercel login ", "logfire auth ", "codecov ", "sonar-scanner ", "nomad login ", "consul login ", "linode-cli ",
            "ngrok authtoken ", "ngrok config add-authtoken ", "cloudflared service install ", "cloudflared tunnel run ",
            "gh auth login ", "glab auth login ", "shodan init ", "apify login ", "turso auth ", "ggshield ", "semgrep login ", "bw unlock ", "bw login ", "op signin ", "akeyless auth ",
        ],
        r#"(?:-?-[\w-]+(?:=| ))?(?:token=)?["']?([A-Za-z0-9_.+/=-]{20,})"#,
    )
    .random(),
    after("object-store-alias", Critical, SHELL, &["mc alias set ", "mc config host add ", "mcli alias set "], r#"\S{1,60}\s+["']?https?://\S{1,200}\s+["']?\S{3,128}\s+["']?([^\s"'$<]{8,128})"#),
    after("steam-login", High, SHELL, &["+login "], r#"[\w.@-]{1,60}\s+["']?([^\s"'$<+][^\s"']{3,100})"#),
    after("net-use-password", High, SHELL, &["net use "], r#"[^\n|;]{0,100}?\\\\\S{1,120}\s+["']?([^\s"'/*][^\s"']{3,100})["']?\s+/user"#),
    after("openssl-encryption-argument", High, SHELL, &["openssl enc ", "openssl aes-", "openssl des"], flag!(r"-k ")),
    after("written-password", High, SHELL, &["echo ", "printf "], r#"(?:-n )?["']([^"'$\n|]{4,100})["']\s*>{1,2}\s*\S{0,60}(?:pass|secret|token|\.key)"#),
    after("substituted-password", High, SHELL, &["<(echo ", "<(printf "], r#"(?:-n |%s )?["']?([^\s"'$|)]{6,200})"#),
    after("here-password", High, SHELL, &["chpasswd <<< ", "chpasswd <<<"], r#"["']?[\w.-]{1,40}:([^\s"'$]{2,100})"#),
    after("here-string-password", High, SHELL, &["sudo -S ", "passwd --stdin ", "--password-stdin ", "--with-token "], r#"[^\n|;]{0,80}?<<<\s*["']?([^\s"'$]{4,200})"#),
    after("user-and-pass", High, SHELL, &["user ", "username ", "user=", "username=", "user:", "username:", "login:", "login "], r#"["']?[^\s"',:/]{1,60}["']?[,;]?\s+(?:and )?(?:pass|pw|p)(?:[:=]\s?|\s)["']?([^\s"'$<,;=:({][^\s"',;]{3,100})"#).check(Check::Strong),
    after("short-user-and-pass", Medium, SHELL, &["u: ", "u:"], r#"[^\s"',:]{1,60},?\s+(?:p|pw): ?["']?([^\s"'$<,;]{4,100})"#).check(Check::Strong),
    after("curl-joined-user", High, SHELL, &["curl"], r#"(?:\s[^\n|;]{0,400}?)?\s-[a-zA-Z]{1,6}u\s?["']?[^\s:"'$]{1,100}:([^\s"']{1,200})"#),
    after("curl-cookie", Medium, SHELL, &["curl"], r#"(?:\s[^\n|;]{0,400}?)?\s(?:-b|--cookie)[ =]?["']?[\w.-]{1,60}=([^\s"';$]{16,400})"#).random(),
    after("redis-acl-password", High, SHELL, &["acl setuser "], r#"\S{1,60} [^\n]{0,200}?>([^\s"']{3,200})"#),
    token("redis-auth-line", High, SHELL, &["AUTH "], r#"(?:[\w.-]{1,60} )?["']?([^\s"'$#<\[\]=]{6,200}=?)["']?\s*(?:\n|\z)"#).check(Check::Strong),
    after("irc-identify", High, SHELL, &["nickserv identify ", "nickserv :identify ", "NickServ identify ", "NickServ IDENTIFY ", "NickServ :identify ", "/identify ", "ns identify ", "/oper "], r#"(?:[\w.-]{1,40} )?([^\s"'$<]{5,100})\s*(?:\n|\z)"#).check(Check::Strong),
    token("imap-login", High, SHELL, &[" LOGIN "], r#"["']?[\w.@-]{1,80}["']? ["']?([^\s"'$<]{4,100})["']?\s*(?:\n|\\r|\z)"#).check(Check::Strong),
    token("ftp-pass", High, SHELL, &["PASS "], r#"([^\s"'$<:;,=]{5,100})\s*(?:\n|\\r|\z)"#).check(Check::Strong),
    token("smtp-auth-plain", High, SHELL, &["AUTH PLAIN ", "AUTHENTICATE PLAIN "], r"([A-Za-z0-9+/]{10,}={0,2})"),
    after("expect-send", High, SHELL, &["send -- ", "send \"", "send '"], r#"["']?([^\s"'$\\]{4,100})\\[rn]"#).check(Check::Strong),
    after(
        "named-login",
        High,
        SHELL,
        &["ftp:", "sftp:", "ssh:", "vpn:", "rdp:", "imap:", "smtp:", "mysql:", "admin:", "portal:", "router:", "nas:", "db:", "database:", "account:", "access:"],
        r"\s{1,3}[\w.@-]{2,60} / ([^\s/]{6,80})",
    )
    .check(Check::Strong),
    after("encoded-password", High, SHELL, &["echo -n ", "printf "], r#"["']?([^\s"'$|%]{6,100})["']?\s*\|\s*base64"#).check(Check::Strong),
    after("setup-password", High, SHELL, &["rootpw "], r#"--(?:plaintext|iscrypted)\s+["']?([^\s"']{4,200})"#),
    after("cloud-init-password", High, SHELL, &["chpasswd:"], r#"[\s{]{0,20}(?:expire: \w+,?\s{0,20})?list:\s*[|>]?-?\s*["']?[\w.-]{1,40}:([^\s"'$]{4,100})"#),
    after("network-manager-key", High, SHELL, &["wifi-sec.psk ", "wireless-security.psk ", "wifi-sec.wep-key0 ", "vpn.secrets "], r#"["']?(?:password=)?([^\s"'$<]{8,64})"#),
    after("sql-variable", High, SHELL, &["declare @", "set @"], r#"\w{0,40}(?:pass|pwd|secret|token|key)\w{0,20}(?:\s+\w+(?:\(\w+\))?)?\s*:?=\s*N?'([^'\n]{3,200})'"#),
    after("rclone-obscured", High, SHELL, &["rclone obscure "], r#"["']?([^\s"'$-][^\s"']{2,100})"#),
];
