//! Rules for what is written into network devices and daemons: routers, VPNs, mail relays, password files.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Check, Rule, after, token};

const DEVICE: &[&str] = &["password", "device"];
const DAEMON: &[&str] = &["password", "daemon"];
const WIFI: &[&str] = &["password", "wifi"];
const HASH: &[&str] = &["password", "hash"];

pub(super) const RULES: &[Rule] = &[
    after(
        "device-password",
        High,
        DEVICE,
        &[
            "enable secret ", "enable password ", "enable algorithm-type ", "ppp chap password ", "ppp pap sent-username ",
            "key-string ", "ip ftp password ", "tacacs-server key ", "radius-server key ", "server-private ",
            "authentication-key ", "message-digest-key ", "standby authentication ", "wpa-psk ascii ", "wpa-psk hex ",
            "ntp authentication-key ", "isakmp key ", "pre-shared-key ", "ikev1 pre-shared-key ", "set psksecret ",
            "set passwd ", "set password ", "set auth-password ", "set secret ", "pre-shared-secret ", "plaintext-password ",
            "encrypted-password ", "shared-secret ", "simple-password ",
        ],
        r#"(?:(?:md5|sha|scrypt|sha256|address|level|local|remote|ascii-text|ENC|encrypted|password|text) )?(?:\d{1,3} )?(?:(?:md5|hmac-md5|password) )?(?:[0-9] )?["']?([^\s"'$<{]{4,100})"#,
    )
    .check(Check::Strong),
    after("device-user", High, DEVICE, &["username "], r#"[\w.@-]{1,60}(?: privilege \d{1,2})?(?: role [\w-]{1,40})? (?:password|secret)(?: \d)? ["']?([^\s"'<{]{4,120})"#).check(Check::Strong),
    after("device-key", High, DEVICE, &["radius-server host ", "tacacs-server host ", "radius server ", "tacacs server "], r#"[^\n]{1,160}?\skey (?:\d )?["']?([^\s"'$<{]{4,100})"#),
    after("device-neighbor", High, DEVICE, &["neighbor "], r"[\w.:-]{1,60} password (?:\d )?([^\s<{]{4,100})"),
    after("snmp-community", High, DEVICE, &["snmp-server community ", "snmp community ", "rocommunity ", "rwcommunity ", "set snmp community "], r#"(?:\d )?["']?([^\s"'$<{]{4,64})"#).check(Check::Strong),
    after("snmp-user", High, DEVICE, &["snmp-server user ", "createuser ", "usm-user "], r#"[^\n]{1,120}?\s(?:md5|sha|sha-?256)\s+["']?([^\s"'$<{]{5,100})"#),
    after("snmp-user-privacy", High, DEVICE, &["snmp-server user ", "createuser ", "usm-user "], r#"[^\n]{1,200}?\s(?:aes|des|3des|aes ?(?:128|192|256))\s+["']?([^\s"'$<{]{5,100})"#),
    after("ipsec-secret", High, DAEMON, &[": psk ", ": xauth ", ": eap ", ": ntlm ", ": pin "], r#"["']([^"'\n]{3,200})["']"#),
    token("ppp-secret", High, DAEMON, &["\" * \""], r#"([^"\s\n]{3,100})""#),
    token("ppp-secret-bare", High, DAEMON, &[" * \""], r#"([^"\s\n]{3,100})"[ \t]+(?:\*|-|\d)"#),
    after("fetched-mail-password", High, DAEMON, &["user \"", "username \"", "user '"], r#"[^"'\n]{1,80}["'](?: there)?(?: with)? pass(?:word)? ["']([^"'\n]{3,100})["']"#),
    after("relay-password", High, DAEMON, &[":587 ", ":465 ", ":25 ", ":2525 ", "]:587\t", "]:465\t", ":submission "], r"[\w.+@-]{1,100}:([^\s:]{4,100})").check(Check::Strong),
    after("proxy-password", High, DAEMON, &["socks5 ", "socks4 ", "http "], r"[\w.-]{3,80}[ \t]+\d{2,5}[ \t]+[\w.@-]{1,60}[ \t]+([^\s#]{4,100})"),
    after("password-file-line", High, DAEMON, &[":5432:", ":5433:", ":6432:", ":5434:"], r"[^:\s]{1,64}:[^:\s]{1,64}:([^\s:]{2,200})"),
    after("password-file-any-line", High, DAEMON, &[":*:"], r"[^:\s]{1,64}:[^:\s]{1,64}:([^\s:]{3,200})(?:\s|\z)").check(Check::Strong),
    after("bind-password", High, DAEMON, &["bindpw ", "rootpw ", "bind_pw ", "ldap_bind_pw ", "bindpasswd "], r#"["']?([^\s"'$<{]{4,100})"#).check(Check::Strong),
    after("auth-user-password", High, DAEMON, &["cleartext-password := ", "user-password == ", "user-password := "], r#"["']?([^\s"'$<{]{3,100})"#),
    token("ldap-hash", Medium, HASH, &["{SHA}", "{SSHA}", "{SSHA256}", "{SSHA512}", "{SHA256}", "{SHA512}", "{MD5}", "{SMD5}", "{CRYPT}", "{PBKDF2}", "{PBKDF2-SHA256}", "{PBKDF2-SHA512}", "{ARGON2}"], r"[A-Za-z0-9+/$.=]{16,300}"),
    token("framework-hash", Medium, HASH, &["pbkdf2_sha256$", "pbkdf2_sha1$", "bcrypt_sha256$", "argon2$argon2", "pbkdf2:sha256:", "pbkdf2:sha512:", "scrypt:32768:", "sha512crypt$"], r"[\w./,=+$:-]{30,300}"),
    token("database-hash", Medium, HASH, &["SCRAM-SHA-256$", "SCRAM-SHA-1$"], r"\d{4,6}:[A-Za-z0-9+/=]{8,}\$[A-Za-z0-9+/=]{20,}:[A-Za-z0-9+/=]{20,}"),
    token("windows-hash", High, HASH, &["aad3b435b51404eeaad3b435b51404ee:"], r"([a-f0-9]{32})"),
    token("kerberos-ticket-hash", High, HASH, &["$krb5tgs$", "$krb5asrep$", "$krb5pa$", "$NT$", "$DCC2$"], r"[\w.*$@/:-]{24,2000}"),
    token("wifi-qr", High, WIFI, &["WIFI:"], r#"(?:[STHE]:[^;\n]{0,80};){0,4}P:"?([^;"\n]{4,63})"#).check(Check::Chosen),
    after("user-list-line", High, DAEMON, &["stats auth ", "login=", "register => ", "register=>", "rsyncd.secrets\n", ".secrets\n"], r#"["']?[\w.@-]{1,60}:([^\s"'$<@/:]{4,100})"#).check(Check::Strong),
    token("plain-password", High, DAEMON, &["{PLAIN}", "{CLEARTEXT}", "{CLEAR}"], r#"([^\s:"']{3,100})"#).check(Check::Chosen),
    after("directory-entry", High, DAEMON, &["userpassword:: ", "userPassword:: ", "unicodePwd:: ", "unicodepwd:: ", "authpassword:: "], r"([A-Za-z0-9+/]{8,}={0,2})"),
    token("ceph-key", Critical, DAEMON, &["AQA", "AQB", "AQC", "AQD"], r"[A-Za-z0-9+/]{35}==").random(),
    after(
        "form-part",
        High,
        DAEMON,
        &["form-data; name="],
        r#"\\?["']?[\w\[\].-]{0,40}(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key)\]?\\?["']?(?:(?:\\r\\n|\\n|\r?\n)[^\r\n\\]{1,100}){0,2}(?:\\r\\n|\\n|\r?\n){2}([^\r\n\\]{3,200})"#,
    ),
    after("wifi-key", High, WIFI, &["ssid"], r#"[^\n]{1,60}?(?:key|pass(?:word|phrase)?|pw|psk)\s*[:=]\s*["'`]?([^\s"'`]{8,63})"#).check(Check::Strong),
    after("oracle-address", High, DAEMON, &["jdbc:oracle:"], r"\w{2,5}:[^\s/:@]{1,60}/([^\s@]{3,100})@"),
    after("wifi-code", High, WIFI, &["WiFi.begin(", "WiFi.softAP(", "wifiMulti.addAP(", "wlan.connect("], r#"\s*(?:["'][^"'\n]{1,40}["']|\w{1,40})\s*,\s*["']([^"'\n]{8,63})["']"#),
    token("openvpn-password", Critical, DAEMON, &["<auth-user-pass>"], r"\s*\S{1,80}\s+(\S{3,100})"),
];
