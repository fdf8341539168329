//! How secrets are written, group by group. What is between `«` and `»` must go, what is around it stay.

use super::*;

#[test]
fn headers_and_cookies() {
    check_secrets(&[
        "Authorization: Bearer «mF_9.B5f-4.1JqM8sdKq2»",
        "curl -H 'Authorization: Bearer «0b79bab50daca910b000d4f1a2b675d604257e42»' https://api.example.org",
        "authorization: basic «dXNlcjpzM2NyM3Q=»",
        "Proxy-Authorization: Basic «Ym9iOmh1bnRlcjI=»",
        "{\"Authorization\": \"Basic «Ym9iOmh1bnRlcjI=»\"}",
        "Authorization: Token «9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b»",
        "Authorization: SSWS «00QCjAl4MlV-WPXMf2mNR9vZ0ldsE4Hm2hnZbyCzGf»",
        "Authorization: «k3jh4kjh5k3jh4k5jhk3j4h5»",
        "X-Api-Key: «a8f5f167f44f4964e6c998dee827110c»",
        "x-auth-token: «Zk93jdLs03kdl»",
        "PRIVATE-TOKEN: «Zk93jdLs03kdlQ7xmzn1»",
        "Cookie: theme=dark; JSESSIONID=«8A7F3C2B1D4E5F60718293A4B5C6D7E8»; lang=en",
        "Set-Cookie: session=«eyKxMzQ1Njc4OTAxMjM0NTY3ODkw.Zk93jd»; Path=/; HttpOnly",
        "Cookie: connect.sid=«s%3AKd83hdk3l2kdj38dj3kdl29dk3»",
        "Received token «eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U» ok",
    ]);
}

#[test]
fn names_in_data_formats() {
    check_secrets(&[
        r#"{"password": "«hunter2»"}"#,
        r#"{"user":"bob","password":"«correct horse»","age":3}"#,
        r#"{"db_password":"«p@ss\"word»"}"#,
        r#"{"password": «12345678»}"#,
        r#"{"passwords": ["«hunter2»", "«swordfish1»"]}"#,
        r#"{"apiKey":"«f3Kq9ZxLw02mQvTn»"}"#,
        r#"{"client_secret": "«8dyfuiRyqVvc3RRr_edRk-fK__JItpZ»"}"#,
        r#"{\"password\": \"«hunter2»\", \"x\": 1}"#,
        r#"{\\\"token\\\": \\\"«f3Kq9ZxLw02mQvTn»\\\"}"#,
        r#"{"msg":"line\npassword=«hunter2»\nnext"}"#,
        r#"{"name": "DB_PASSWORD", "value": "«hunter2»"}"#,
        "password: «hunter2»\nuser: bob",
        "password: «swordfish»\nuser: bob",
        "  - name: DB_PASSWORD\n    value: «hunter2»\n",
        "db:\n  password: '«ab''cd9»'\n",
        "secret: |\n  «k3jh4kjh5k3jh4k5jh\n  k3j4h5k3jh4»\nnext: 1\n",
        "[db]\npassword = \"«hunter2»\"\n",
        "password = '''«hunter2»'''",
        "password = «hunter2»\n",
        "DB_PASSWORD=«hunter2»",
        "export DB_PASSWORD='«hunter2»'",
        "DB_PASSWORD=«p@ss,w0rd;x&y)z»\nNEXT=1",
        "POSTGRES_PASSWORD=«swordfish»\nPOSTGRES_USER=app",
        "API_KEY=«f3Kq9ZxLw02mQvTn»",
        "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYzR4mPlQwEr»",
        "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzR4mPlQwEr»",
        "<password>«hunter2»</password>",
        "<db:password enc=\"no\">«hunter2»</db:password>",
        "<add key=\"DbPassword\" value=\"«hunter2»\"/>",
        "<user name=\"bob\" password=\"«hunter2»\"/>",
        "<password><![CDATA[«hunter2»]]></password>",
        "https://example.org/login?user=bob&password=«hunter2»&x=1",
        "https://example.org/cb?access_token=«f3Kq9ZxLw02mQvTn»#top",
        "grant_type=password&username=bob&password=«swordfish»&scope=x",
        "url%3Fpassword%3D«hunter2»",
        "passwd: «tr0ub4dor»",
        "spring.datasource.password=«hunter2»",
        "mnemonic: «alpha bravo carol delta early fancy grape house igloo jolly karma lemon»",
        "| password | «hunter2» |",
        "**Password:** «hunter2»",
        "Passwort: «geheim99»",
        "PIN: «4821»",
        "wifi key: «sunshine42»",
        "secret_key_base: «3eb6db5a9026c547c72708438d496d942e976b252138db7e4e0ee5edd7539457»",
    ]);
}

#[test]
fn commands_and_code() {
    check_secrets(&[
        "mysql -u root -p«hunter2» app",
        "mysqldump --user=root --password=«hunter2» app",
        "app --password «hunter2» --verbose",
        "app --token «f3Kq9ZxLw02mQvTn»",
        "app --api-key=«f3Kq9ZxLw02mQvTn» run",
        "PGPASSWORD=«hunter2» psql -h db",
        "sshpass -p «hunter2» ssh bob@host",
        "sshpass -p '«hunter2»' ssh bob@host",
        "curl -u bob:«hunter2» https://example.org",
        "curl -s --user 'bob:«hunter2»' https://example.org",
        "redis-cli -h db -a «hunter2» ping",
        "docker login -u bob -p «hunter2» registry.example.org",
        "echo «hunter2» | sudo -S reboot",
        "echo 'bob:«hunter2»' | chpasswd",
        "openssl rsa -passin pass:«hunter2» -in key.pem",
        "machine example.org login bob password «hunter2»",
        "net user bob «Hunter2!!» /add",
        "net use Z: \\\\srv\\share /user:bob «hunter2x»",
        "password = \"«hunter2»\"",
        "const password = '«hunter2»';",
        "let api_key: &str = \"«f3Kq9ZxLw02mQvTn»\";",
        "let password = String::from(\"«hunter2»\");",
        "client.setPassword(\"«hunter2»\")",
        "os.environ['DB_PASSWORD'] = '«hunter2»'",
        "os.environ.get(\"DB_PASSWORD\", \"«hunter2»\")",
        "const p = process.env.DB_PASSWORD || '«hunter2»';",
        "${DB_PASSWORD:-«hunter2»}",
        "if password == \"«hunter2»\" {",
        "config := Config{Password: \"«hunter2»\"}",
        "'password' => '«hunter2»',",
        "ENV DB_PASSWORD «hunter2»",
        "define('DB_PASSWORD', '«hunter2»');",
        "ALTER USER app WITH PASSWORD '«hunter2»';",
        "CREATE USER 'bob'@'%' IDENTIFIED BY '«hunter2»';",
        "CREATE USER app IDENTIFIED BY «hunter2»;",
        "SET PASSWORD FOR 'bob' = PASSWORD('«hunter2»');",
        "INSERT INTO users (name, password, age) VALUES ('bob', '«hunter2»', 3), ('eve', '«swordfish»', 4);",
        "UPDATE users SET password = '«hunter2»' WHERE id = 1",
    ]);
}

#[test]
fn addresses_and_connection_strings() {
    check_secrets(&[
        "postgres://app:«hunter2»@db:5432/app",
        "DATABASE_URL=postgresql://app:«hunter2»@db/app?sslmode=require",
        "mongodb+srv://app:«p%40ss%2Fword»@cluster0.example.net/test",
        "redis://:«hunter2»@cache:6379/0",
        "amqps://guest2:«gu3st»@mq/vhost",
        "mysql://root:«p@ss/w#rd»@db/app",
        "https://bob:«hunter2»@example.org/repo.git",
        "git clone https://oauth2:«f3Kq9ZxLw02mQvTn»@git.example.org/a/b.git",
        "smtp://bob%40example.org:«hunter2»@mail.example.org:587",
        "app:«hunter2»@tcp(db:3306)/app",
        "Server=db;Database=app;User Id=app;Password=«hunter2»;Encrypt=true",
        "Server=db;Uid=app;Pwd=«swordfish»;",
        "host=db user=app password=«swordfish» dbname=app",
        "jdbc:mysql://db/app?user=app&password=«hunter2»",
        "jdbc:sqlserver://db;user=app;password=«hunter2»;encrypt=true",
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«kPl9dj3kdK93jd0dkeKd93kdlq0dkPl9dj3kdK93jd0dkeKd93kdlq0dkPl9dj3kdK93jd0dkeKd93kdlq0d==»;EndpointSuffix=core.windows.net",
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=«kPl9dj3kdK93jd0dkeKd93kdlq0dkPl9dj3kdK93jd0=»",
        "https://x.blob.core.windows.net/c?sv=2022-11-02&sig=«kPl9dj3kdK93jd0dkeKd93kdlq0dkPl9dj3kdK93jd0%3D»&se=2025",
    ]);
}

#[test]
fn keys_in_blocks() {
    let body =
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nVJTUt9Us8cKjMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDu";
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "DSA PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        let block = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
        let escaped = block.replace('\n', "\\n");
        let one_line = block.replace('\n', " ");
        let headed = block.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B\n\n", 1);
        let indented = block.replace('\n', "\n    ");
        check_secrets(&[
            &format!("before\n«{block}»\nafter"),
            &format!("{{\"private_key\": \"«{escaped}»\", \"x\": 1}}"),
            &format!("KEY='«{one_line}»'"),
            &format!("before\n«{headed}»\nafter"),
            &format!("key: |\n    «{indented}»\nafter: 1"),
        ]);
    }
    let cut = format!("-----BEGIN PRIVATE KEY-----\n{body}");
    check_secrets(&[&format!("log: «{cut}»"), &format!("log: «{cut}»\n\nand then it went on as ever.")]);
    check_secrets(&[
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"d\":\"«jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI»\"}",
        "PrivateKey = «yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=»",
    ]);
}

#[test]
fn simple_prose() {
    check_secrets(&[
        "The password is hunter2".replace("hunter2", "«hunter2»").as_str(),
        "the password for the router is «Tr0ub4dor&3».",
        "my password was \"«swordfish»\" until today",
        "log in as bob with password «hunter2»",
        "I changed the password to «Summer2024!»",
        "API key: «f3Kq9ZxLw02mQvTn»",
        "the API key is «f3Kq9ZxLw02mQvTn», keep it",
        "password: `«hunter2»`",
        "the root passphrase is '«correct horse battery staple»'",
        "Das Passwort ist «geheim99!»",
        "login: bob / password: «hunter2»",
    ]);
}

#[test]
fn where_tokens_begin() {
    let mut dice = drawn::Dice(3);
    let token = |dice: &mut drawn::Dice| format!("ghp_{}", dice.letters(36));
    for around in [
        "a\\n@\\nb",
        "x=@",
        "x=%22@%22",
        "(@)",
        "\u{1b}[31m@\u{1b}[0m",
        "\"@\"",
        "u003d \\u003d@",
        "https://@@github.com/a",
        "é@é",
        "@.",
        "[@]",
        "see:@,",
    ] {
        let text = around.replacen('@', &format!("«{}»", token(&mut dice)), 1);
        check_secrets(&[&text]);
    }
}
