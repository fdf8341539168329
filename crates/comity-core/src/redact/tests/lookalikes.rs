//! What looks like a secret and is none: it must stay.

use super::*;

#[test]
fn names_and_digests_that_are_meant_to_be_known() {
    check_clean(words! {
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by bob" "a97b1d1 Measure files beside aiortc"
        "id 550e8400-e29b-41d4-a716-446655440000 seen"
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  file.tar.gz"
        "d41d8cd98f00b204e9800998ecf8427e *empty" "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        "\"public_key\":\"ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
        "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp" "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9mZ2Qe0yYpL0m1zO9nX4bYt5m3h2k1j0i9h8g7f6e5 bob@host"
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7VJTUt9Us8cKjMzEfYyjiWA4R4 bob"
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----"
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUJ9mZ2Qe0yYpL0m1zO9nX4bYt5m3h2k1j0i9h8g7f6e5\n-----END CERTIFICATE-----"
        "integrity=\"sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC\""
        "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDPs3NiI7ZC6Qh8zQk bob (ED25519)"
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        "ETag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\""
        "{\"session\":\"550e8400-e29b-41d4-a716-446655440000\",\"nonce\":\"a1b2\"}"
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
        "arn:aws:iam::123456789012:role/admin"
        "2024-05-01T12:00:00.000Z 192.168.1.10:8080 fe80::1 00:1a:2b:3c:4d:5e"
        "version 1.2.3-rc.1+build.5 of crate-name"
        "docker pull ghcr.io/a/b@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        "Key fingerprint = 1234 5678 9ABC DEF0 1234  5678 9ABC DEF0 1234 5678"
        "node key: ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        "key_id: 9fceb02d0ae598e95dc970b74767f19372d61af8"
    });
}

#[test]
fn stand_ins() {
    check_clean(words! {
        "password=${DB_PASSWORD}" "password: $DB_PASSWORD" "password = \"<your password>\"" "DB_PASSWORD=changeme"
        "API_KEY=your-api-key-here" "token: ********" "password: [REDACTED]" "Authorization: Bearer [REDACTED]"
        "Authorization: Bearer $TOKEN" "Authorization: Bearer <token>" "Authorization: Bearer YOUR_ACCESS_TOKEN"
        "curl -u user:$PASS https://x" "postgres://user:password@localhost/db" "postgres://user:${PW}@host/db"
        "https://user:pass@example.com/" "postgres://user:<password>@host/db" "sk-xxxxxxxxxxxxxxxxxxxxxxxx"
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" "AKIAIOSFODNN7EXAMPLE" "--password <password>" "--token TOKEN"
        "mysql -u root -p" "api_key = os.environ[\"API_KEY\"]" "password = os.getenv('DB_PASSWORD')"
        "token = get_token()" "password: process.env.PASSWORD" "password: {{ vault_password }}"
        "PASSWORD=%PASSWORD%" "password: \"{{ .Values.password }}\"" "secret: op://vault/item/password"
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----" "\"password\": \"string\"" "\"token\": null"
        "password: true" "password=" "password=\"\"" "PASSWORD=''" "password: ~" "client_secret: xxx"
        "password: !vault" "password: ENC[AES256_GCM,data:abc]" "token: ${{ secrets.GITHUB_TOKEN }}" "sk-..."
        "sk_test_..." "password: '***'" "mongodb://<user>:<password>@host" "redis://:@localhost"
        "http://localhost:8080/@scope/pkg" "password: \"********\""
    });
}

#[test]
fn code_about_passwords() {
    check_clean(words! {
        "fn set_password(&mut self, password: &str) -> Result<(), Error> {" "password: Option<String>,"
        "let password = prompt_password()?;" "if password.is_empty() { return Err(Error::NoPassword) }"
        "pub token: Token," "token: TokenKind::Comma," "let token = lexer.next_token();"
        "def login(user: str, password: str) -> None:" "connect(user=user, password=password)"
        "self.password = password" "this.password = password;" "password := r.FormValue(\"password\")"
        "const { username, password } = req.body;" "<input type=\"password\" name=\"password\">"
        "Password string `json:\"password\"`" "assert password != old_password" "password_hash = hash(password)"
        "private String password;" "token == other.token" "match token { Token::Eof => {} }"
        "password = models.CharField(max_length=128)" "password: Joi.string().required(),"
        "\"password\": \"Password must be at least 8 characters\"" "\"password\": {\"type\": \"string\"}"
        "label: \"Password\"" "error.password.required" "token_type: bearer" "max_tokens=4096"
        "\"total_tokens\": 1523" "for token in tokens:" "tokens = [\"a\", \"b\"]" "secretName: db-credentials"
        "secretKeyRef:\n  name: db\n  key: password" "key: value" "\"key\": \"value1\"" "primary_key: user_id"
        "for key in keys:" "cache_key = \"user:42\"" "public_key = load(\"id.pub\")"
        "SELECT password FROM users WHERE id = 1" "CREATE TABLE users (id INT, password VARCHAR(64))"
        "password VARCHAR(255) NOT NULL" "--password-file /run/secrets/db"
        "token_url = \"https://auth.example.org/token\"" "class=\"sk-fading-circle\""
        "sk-three-bounce-animation-delay" "import { createToken } from './token';" "PASSWORD_MIN_LENGTH = 8"
        "validate_password(password)" "input.token = nextToken;" "const TOKEN_EOF = 1;"
        "docker run -u 1000:1000 image" "curl -u \"$USER:$PASS\" x" "re_compile_pattern_with_flags"
        "key-value-pairs-of-the-map" "s.append_token(token)" "password = getpass.getpass()"
        "password=request.form['password']" "token: string;" "password?: string;" "password: String!"
        "val password: CharArray" "secret = Secret::new(bytes)" "pub passwd: CString," "creds: &IceCreds) {"
        "private_key: &CryptoPrivateKey," "lpPassword: LPCWSTR," "let password = format!(\"{x}\");"
        "self.secret = Ed25519PrivateKey.generate()" "| `mqtt.password` | `COMITY_MQTT_PASSWORD` | none |"
        "Kind::Password => \"mqtt\"," "let secret = json!({});" "LoadCredential=mqtt:/etc/comity/secrets/mqtt"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        "mosquitto_passwd /etc/mosquitto/passwords 5c151fec-1d99-5450-a2b5-dc3ab3b61f63"
        "serializes the private key to PKCS#8." "handshake_secret = HKDF-Extract(derived, shared)"
        "Access-Control-Allow-Credentials: true, x1y2z3a4" "let key = Key::from_slice(&bytes);"
        "http.Header.Get(\"Authorization\")" "headers[\"Authorization\"] = f\"Bearer {token}\""
        "\"Authorization\": `Bearer ${token}`" "os.environ[\"PASSWORD\"]" "std::env::var(\"API_TOKEN\")"
        "passwords.iter().map(|p| p.len())" "bypass: true" "compass=north" "basic auth"
        "Basic authentication is used" "bearer authentication" "Bearer realm=\"example\"" "x-api-key: required"
        "pass: 12, fail: 3" "tests pass=14"
    });
}

#[test]
fn prose_about_passwords() {
    check_clean(words! {
        "The password is required." "Your password must have 8 characters." "the password was wrong"
        "The token is expired." "password reset for bob" "Please enter your password:" "Forgot your password?"
        "The secret to success is hard work." "The password is stored as an argon2 hash." "token ring networks"
        "a token of my appreciation" "pass the salt" "The key is to listen." "the key is under the mat"
        "Access token invalid" "Invalid API key" "API key: missing" "password: required" "Password: optional"
        "No password is set" "the password for the database is in the vault"
        "password policy: minimum of 12 characters" "use --password to set the password"
        "the --token flag is deprecated" "passwords are hashed with bcrypt" "secret santa"
        "this is basic knowledge of things" "Bearer of bad news" "keyboard layout" "The author and the authority"
        "the pin is broken" "We rotate secrets every 90 days." "Password protected PDF"
        "one-time password (OTP) support" "the password field is empty" "password-based login" "token-based auth"
        "credentials: see the wiki" "The API key is passed in the header." "API key authentication"
        "secret key cryptography" "key exchange X25519" "password SHA256 hashing"
    });
}
