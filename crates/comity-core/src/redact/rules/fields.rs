//! Rules for what is a secret by its name only: fields called password, secret, token and the like.

use crate::redact::field::Noun;
use crate::redact::rule::Find::{Codes, Field, Grid, Paired, Said, Seed};
use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Rule, special};

const FIELD: &[&str] = &["field"];

const SPEECH: &[&str] = &["speech"];

/// What passwords are called in sentences.
const PASSWORDS: &[&str] = words! {
    "password" "passphrase" "pass phrase" "passcode" "passwd" " pw" "\npw" "passwort" "kennwort" "contraseña" "contrasena" "clave"
    "mot de passe" "senha" "wachtwoord" "hasło" "haslo" "heslo" "lösenord" "losenord" "passord" "adgangskode" "kodeord"
    "salasana" "jelszó" "jelszo" "parola" "parolă" "şifre" "sifre" "пароль" "пароля" "гасло"
    "парола" "лозинка" "lozinka" "geslo" "κωδικός" "パスワード" "密码" "密碼" "口令" "비밀번호"
    "암호" "كلمة المرور" "كلمة السر" "סיסמה" "סיסמא" "mật khẩu" "รหัสผ่าน" "पासवर्ड" "kata sandi" "wifi key"
    "wi-fi key" "wlan key" "wpa key" "network key" "network security key" "wlan-schlüssel" "WLAN-Schlüssel" "WiFi key" "WiFi-Key" "WLAN-Key" "p/w" "guest wifi" "wifi" "wi-fi" "WiFi" "Wi-Fi" "wpa" "vpn psk"
};

const LOGINS: &[&str] = words! {
    "creds" "credentials" "login" "logins" "zugangsdaten" "anmeldedaten" "logindaten" "credenciales" "accesos"
    "identifiants" "credenziali" "credenciais" "inloggegevens" "dane logowania" "log in with" "sign in with" "log in as" "login as" "sign in as"
    "user/pass" "user/pw" "wlan" "login/pw" "user/password" "username/password" "user / password" "username / password" "логин/пароль"
    "login/passwort" "账号密码" "账号" "帐号"
};

/// With capitals as they are: "pin" alone is in too many words.
const PINS: &[&str] = words! { " pin" "\npin" "PIN" "Pin " "Pin:" " Pin" "PUK" "puk" "Puk" };

const CODES: &[&str] = words! {
    "pin code" "pin-code" "passcode" "code" "código" "codigo" "codice" "kode"
    "код" "otp" "einmalcode" "bestätigungscode" "sicherheitscode" "verifizierungscode" "türcode" "zugangscode"
    "one-time password" "验证码" "驗證碼" "認証コード" "인증번호" "clave" "wachtwoord"
};

const KEYS: &[&str] = words! {
    "clé api" "clé d'api" "clé d’api" "clave de api" "clave api" "clave de la api" "chave de api" "chave da api"
    "chiave api" "api-schlüssel" "api-sleutel" "klucz api" "api-nyckel" "ключ api" "密钥" "密鑰" "令牌" "APIキー"
    "apikey" "api key" "api-key" "access token" "zugriffstoken" "token de acceso" "jeton" "токен" "トークン"
    "secret key" "geheimer schlüssel" "access key" "my token" "your token" "token for"
};

pub(super) const RULES: &[Rule] = &[
    special(
        "password-field",
        High,
        FIELD,
        &[
            "pass", "pwd", "kennwort", "senha", "contrase", "parola", "_pw", "\"pw", "'pw", " pw", "rootpw", "pw:",
            "pw=", "$pw",
        ],
        Field(Noun::Password),
        "password = \"@\"",
    ),
    special("secret-field", High, FIELD, &["secret"], Field(Noun::Secret), "client_secret: \"@\""),
    special("token-field", High, FIELD, &["token", "_pat", "-pat"], Field(Noun::Token), "{\"access_token\": \"@\"}"),
    special("api-key-field", High, FIELD, &["key", "_salt"], Field(Noun::ApiKey), "API_KEY=@"),
    special("private-key-field", Critical, FIELD, &["privkey"], Field(Noun::PrivateKey), "private_key = \"@\""),
    special("credential-field", High, FIELD, &["cred"], Field(Noun::Credential), "credential: '@'"),
    special(
        "authorization-field",
        High,
        FIELD,
        &["authorization", "auth\"", "auth:", "auth=", "auth'"],
        Field(Noun::Authorization),
        "Authorization: @",
    ),
    special("cookie-field", Medium, FIELD, &["cookie"], Field(Noun::Cookie), "Cookie: id=@; theme=dark"),
    special(
        "seed-field",
        Critical,
        FIELD,
        &["mnemonic", "seed phrase", "seed_phrase", "seedphrase", "recovery phrase"],
        Field(Noun::Seed),
        "mnemonic: \"@\"",
    ),
    special(
        "pin-field",
        Medium,
        FIELD,
        &["pin\"", "pin:", "pin=", "pin is", "otp", "passcode", "one-time code"],
        Field(Noun::Pin),
        "otp: 482913",
    ),
    special(
        "table-field",
        High,
        FIELD,
        &["pass", "pwd", "kennwort", "contrase", "senha", "secret", "token", "key", "pin"],
        Grid,
        "user,password\nbob,@\n",
    ),
    special(
        "paired-field",
        High,
        FIELD,
        &["value", "val:", "val="],
        Paired,
        "value = '@' WHERE name = 'smtp_password'",
    ),
    special(
        "recovery-codes",
        High,
        &["mfa"],
        &[
            "recovery code",
            "backup code",
            "scratch code",
            "emergency code",
            "wiederherstellungscode",
            "notfallcode",
            "backup-code",
            "recovery-code",
            "recovery_codes",
            "backup_codes",
            "recoverycodes",
            "backupcodes",
            "codes de secours",
            "códigos de recuperación",
            "codes de récupération",
            "codici di recupero",
            "códigos de recuperação",
            "herstelcodes",
            "one-time codes",
        ],
        Codes,
        "Recovery codes:\n4x7q-@\n",
    ),
    special(
        "wallet-words",
        Critical,
        &["wallet", "crypto"],
        &[
            "mnemonic",
            "seed phrase",
            "seed_phrase",
            "seedphrase",
            "recovery phrase",
            "recovery_phrase",
            "secret phrase",
            "seed words",
            "backup phrase",
            "wallet words",
            "recovery words",
            "12 words",
            "24 words",
            "twelve words",
            "seed:",
            "wallet seed",
            "secret recovery",
            "frase semilla",
            "phrase de récupération",
            "wallet-wörter",
            "passphrase words",
            "backup words",
            "wiederherstellungsphrase",
            "frase de recuperación",
        ],
        Seed,
        "mnemonic: alpha bravo carol delta early fancy grape house igloo jolly karma lemon",
    ),
    special("spoken-password", High, SPEECH, PASSWORDS, Said(Noun::Password), "the password for it is @"),
    special("spoken-credentials", High, SPEECH, LOGINS, Said(Noun::Credential), "creds: bob / @"),
    special("spoken-code", Medium, SPEECH, CODES, Said(Noun::Pin), "the door PIN is 482913"),
    Rule {
        any_case: false,
        ..special("spoken-pin", Medium, SPEECH, PINS, Said(Noun::Pin), "the PIN of the door: 482913")
    },
    special("spoken-key", High, SPEECH, KEYS, Said(Noun::ApiKey), "la clé API est @"),
    special("named-key-field", Medium, FIELD, &["psk", "jwt"], Field(Noun::Named), "psk=\"@\""),
];
