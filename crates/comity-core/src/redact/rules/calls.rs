//! Rules for secrets that code gives by place: `connect("host", "user", "password")`, `Wallet("0x…")`.

use crate::redact::rule::Severity::{Critical, High, Medium};
use crate::redact::rule::{Check, Rule, after, token};

const CALL: &[&str] = &["password", "code"];
const KEY: &[&str] = &["key", "code"];

/// A string or a name, and a comma.
macro_rules! argument {
    () => {
        r#"(?:[fbru]?["'`][^"'`\n]{0,200}["'`]|[\w.$:>\[\]-]{1,60})\s*,\s*"#
    };
}

/// A password as a string.
macro_rules! password {
    () => {
        r#"(?:Some\()?[fbru@]?["'`]([^"'`\n]{3,200})["'`]"#
    };
}

pub(super) const RULES: &[Rule] = &[
    after(
        "second-argument-password",
        High,
        CALL,
        &[
            "BasicAuth(", "basic_auth(", "SetBasicAuth(", "NetworkCredential(", "UsernamePasswordCredentials(",
            "UsernamePasswordCredential(", "UsernamePasswordAuthenticationToken(", "PasswordAuthentication(",
            "username_pw_set(", "setCredentials(", "set_credentials(", "PlainCredentials(", "PSCredential(",
            "AuthTokens.basic(", "auth.basic(", "auth=(", "auth = (", "auth: [", "auth=[", "login(", "log_in(", "signIn(",
            "sign_in(", "authenticate(", ".auth(", "PlainAuthProvider(", "signInWithEmailAndPassword(",
            "BasicCredentials(", "Credentials::new(", "basic(", "setAuth(", "withBasicAuth(", "HTTPDigestAuth(", "HTTPBasicAuth(", "http_basic_auth(",
            "PasswordCredential(", "NtlmAuth(", "createUser(", "create_user(", ".send_keys(", "setProxyAuth(",
        ],
        concat!(r"\s*", argument!(), password!(), r"\s*[,)\].}]"),
    )
    .check(Check::Strong),
    after(
        "smtp-plain-password",
        High,
        CALL,
        &["PlainAuth(", "smtp.PlainAuth(", "DriverManager.getConnection(", "getConnection(", "PDO(", "mysqli(", "Sequelize(", "Knex(", "SQLAlchemy(", "createPool(", "mysqli_connect(", "mysql_connect(", "mysql_real_connect(", "sqlalchemy.connect(", ".connect(", "ftp(", "smb(", "sftp(", "connectWithPassword(", "imap_open(", "ldap_bind(", "oci_connect(", "pg_pconnect(", "odbc_connect(", "maria_connect(", "simple_bind_s(", "InfluxDBClient(", "MySQLdb.connect("],
        concat!(r"\s*", argument!(), r"(?:\d{1,5}\s*,\s*)?", argument!(), password!(), r"\s*[,)]"),
    )
    .check(Check::Strong),
    after("bound-password", High, CALL, &["simple_bind_s(", "ldap_bind(", "simple_bind("], concat!(r"\s*", argument!(), password!(), r"\s*[,)]")).check(Check::Strong),
    after("sql-procedure-password", High, CALL, &["sp_addlogin ", "sp_password "], concat!(r"\s*", argument!(), r#"N?'([^'\n]{3,200})'"#)),
    after("secure-string", High, CALL, &["ConvertTo-SecureString "], r#"(?:-string )?["']([^"'$\n]{3,200})["']"#),
    token("wallet-key", Critical, KEY, &["Wallet(", "from_key(", "privateKeyToAccount(", "from_private_key(", "PrivateKeySigner(", "fromPrivateKey(", "SigningKey(", "fromSecretKey(", "Keypair.from_base58_string("], r#"\s*["']?((?:0x)?[a-fA-F0-9]{64}|[1-9A-HJ-NP-Za-km-z]{64,90})"#),
    after(
        "signing-argument",
        High,
        KEY,
        &["jwt.sign(", "jwt.verify(", "jwt.encode(", "jwt.decode(", "createHmac(", "hmac.new(", "cookieParser(", "cookie-parser(", "fernet(", "createCipheriv(", "cookieSession(", "hash_hmac("],
        concat!(r"\s*(?:\{[^{}\n]{0,200}\}\s*,\s*|", argument!(), r")?", r#"[bru]?["'`]([^"'`\n$]{8,200})["'`]"#),
    )
    .check(Check::Strong),
    after(
        "client-key",
        High,
        KEY,
        &[
            "client(", "Client::new(", "ClientV2(", "AsyncClient(", "OpenAI(", "anthropic(", "algoliasearch(", "twilio(", "stripe(", "pusher(",
            "Handler(", "OAuth1(", "OAuth1Session(", "OAuthHandler(", "tweepy.Client(", "setApiKey(", "set_api_key(",
            "withApiKey(", "with_api_key(", "configure(", "octokit(", "github(", "gitlab(", "SendGridAPIClient(", "mailgun(",
            "SlackClient(", "WebClient(", "TeleBot(", "updater(", "bot(", "ably(", "mapbox(", "ImgurClient(", "pinecone(",
            "setToken(", "set_token(", "withToken(", "with_token(", "ApiKeyAuth(", "BearerAuth(", "bearer_auth(", "apikey(",
            "TokenCredential(", "AzureKeyCredential(", "AccessKeyCredential(", "accessToken(", "set_access_token(",
            "GoogleMaps(", "deepl.Translator(", "translator(", "NewsApiClient(", "owm(", "shodan(", "replicate(", "ElevenLabs(",
            "sparkpost(", "postmark(", "mandrill(", "resend(", "airtable(", "vonage(", "messagebird(", "plivo(", "telnyx(",
            "giphy(", "tmdb(", "etherscan(", "clearbit(", "pyhunter(", "serpapi(", "meilisearch(", "typesense(", "sentry(",
            "mixpanel(", "amplitude(", "segment(", "bugsnag(", "rollbar(", "honeybadger(", "datadog(", "linear(", "api(",
            "groq(", "mistral(", "cohere(", "DeepgramClient(", "init(",
        ],
        r#"\s*(?:\w{1,30}\s*[:=]\s*)?["'`]([A-Za-z0-9_+/=.-]{28,200})["'`]"#,
    )
    .check(Check::Drawn),
    after(
        "second-client-key",
        High,
        KEY,
        &["client(", "algoliasearch(", "twilio(", "pusher(", "Handler(", "OAuth1(", "OAuth1Session(", "OAuthHandler(", "mailjet(", "plaid(", "nexmo(", "vonage(", "trello(", "cloudinary(", "SpotifyClientCredentials(", "SpotifyApi(", "reddit(", "snoowrap(", "credentials("],
        r#"\s*(?:\w{1,30}\s*[:=]\s*)?["'`][\w.@-]{4,80}["'`]\s*,\s*(?:\w{1,30}\s*[:=]\s*)?["'`]([A-Za-z0-9_+/=.-]{24,200})["'`]"#,
    )
    .check(Check::Drawn),
    after(
        "fourth-client-key",
        High,
        KEY,
        &["Handler(", "OAuth1(", "OAuth1Session(", "OAuthHandler(", "set_access_token("],
        r#"\s*(?:["'`][\w.@-]{4,80}["'`]\s*,\s*){3}["'`]([A-Za-z0-9_+/=.-]{24,200})["'`]"#,
    )
    .check(Check::Drawn),
    after("set-secret-command", High, KEY, &["secrets set ", "secret set ", "env add ", "config:set ", "secret put ", "ssm put-parameter ", "gh secret set "], r#"[^\n|;]{0,160}?(?:--value |--body |--data |-b |--string )["']?([^\s"'$<-][^\s"']{5,200})"#).check(Check::Strong),
    after("sql-secret-option", Critical, KEY, &["secret '", "secret_access_key '", "aws_secret_key '"], r"([A-Za-z0-9+/=_-]{16,128})'").check(Check::Drawn),
    after("authentication-digest", Medium, KEY, &["digest username="], r#"[^\n]{0,800}?response=\\?"?([a-f0-9]{32,64})"#),
    token("aws-signature", Medium, KEY, &["AWS4-HMAC-SHA256 "], r"[^\n]{0,600}?Signature=([a-f0-9]{64})"),
    after("websocket-token", High, KEY, &["Sec-WebSocket-Protocol: "], r"(?:[\w.-]{1,40}, ?)?([\w.+/=-]{20,})").check(Check::Drawn),
];
