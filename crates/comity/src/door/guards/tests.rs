//! The guards, told requests as web pages, proxies and liars would send them.

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
    }
    headers
}

/// The status with which a request is refused; 200 when it passes.
fn verdict(method: Method, lines: &[(&'static str, &str)]) -> u16 {
    let names =
        Names { hosts: vec!["node.example".into()], origins: vec!["https://app.example".into()], configured: true };
    let uri = Uri::from_static("/dashflow/status");
    let checked = names
        .check(&uri, &headers(lines))
        .and_then(|()| if method == Method::POST { no_form(&uri, &headers(lines)) } else { Ok(()) });
    checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
}

#[test]
fn only_ip_literals_and_own_names_are_hosts() {
    for (host, status) in [
        ("127.0.0.1:8400", 200),
        ("[::1]:8400", 200),
        ("[fe80::1]", 200),
        ("localhost:8400", 200),
        ("LocalHost.", 200),
        ("Node.Example:80", 200),
        ("attacker.example", 421),
        ("node.example.attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("1.2.3.4@attacker.example", 400),
        ("attacker.example@127.0.0.1", 400),
        ("", 400),
        ("a b", 400),
    ] {
        assert_eq!(verdict(Method::GET, &[("host", host)]), status, "{host}");
    }
    assert_eq!(verdict(Method::GET, &[]), 400);
    assert_eq!(verdict(Method::GET, &[("host", "127.0.0.1"), ("host", "127.0.0.1")]), 400);
}

#[test]
fn an_authority_in_the_uri_counts_like_a_host() {
    let names = Names::default();
    let check = |uri: &'static str, lines| names.check(&Uri::from_static(uri), &headers(lines));
    assert!(check("http://127.0.0.1:8400/", &[]).is_ok());
    assert!(check("http://attacker.example/", &[("host", "127.0.0.1:8400")]).is_err());
    assert!(check("http://127.0.0.1/", &[("host", "attacker.example")]).is_err());
}

#[test]
fn only_own_and_listed_origins_pass() {
    for (origin, status) in [
        ("http://127.0.0.1:8400", 200),
        ("https://127.0.0.1:8400", 200),
        ("https://app.example", 200),
        ("http://127.0.0.1:9000", 403),
        ("http://127.0.0.1", 403),
        ("http://localhost:8400", 403),
        ("https://evil.example", 403),
        ("https://app.example.evil.example", 403),
        ("ftp://127.0.0.1:8400", 403),
        ("null", 403),
        ("", 403),
    ] {
        assert_eq!(verdict(Method::GET, &[("host", "127.0.0.1:8400"), ("origin", origin)]), status, "{origin}");
    }
    let two = [("host", "127.0.0.1:8400"), ("origin", "http://127.0.0.1:8400"), ("origin", "https://evil.example")];
    assert_eq!(verdict(Method::GET, &two), 403);
}

#[test]
fn a_page_elsewhere_that_only_embeds_is_refused_too() {
    let host = ("host", "127.0.0.1:8600");
    for (site, status) in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)] {
        assert_eq!(verdict(Method::GET, &[host, ("sec-fetch-site", site)]), status, "{site}");
    }
    let listed = [host, ("sec-fetch-site", "cross-site"), ("origin", "https://app.example")];
    assert_eq!(verdict(Method::GET, &listed), 200);
}

#[test]
fn a_refusal_advises_only_what_helps() {
    let foreign = headers(&[("host", "node.example")]);
    let refused = |names: Names| names.check(&Uri::from_static("/"), &foreign).expect_err("it is refused");
    assert!(refused(Names { configured: true, ..Names::default() }).detail().contains("http.hosts"));
    assert!(!refused(Names::loopback()).detail().contains("http.hosts"));
}

#[test]
fn a_post_is_json_and_says_so() {
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("", 415),
    ] {
        let lines = [("host", "127.0.0.1"), ("content-type", content_type)];
        assert_eq!(verdict(Method::POST, &lines), status, "{content_type}");
    }
    assert_eq!(verdict(Method::POST, &[("host", "127.0.0.1")]), 415);
    assert_eq!(verdict(Method::GET, &[("host", "127.0.0.1")]), 200);
}

/// Where a call counts as coming from; the proxies of 10.0.0.0/24 are trusted.
fn source(nearest: &str, lines: &[(&'static str, &str)]) -> Source {
    let address = SocketAddr::new(nearest.parse().expect("an address"), 1);
    let caller = Caller { address, key: Some(NodeId::from_bytes([7; 32])), tls: true };
    Source::of(&caller, &headers(lines), &["10.0.0.0/24".parse().expect("a net")])
}

#[test]
fn without_a_proxy_the_connection_says_who_calls() {
    let source = source("192.168.1.5", &[]);
    assert_eq!(source.address, IpAddr::from([192, 168, 1, 5]));
    assert!(source.key.is_some());
}

#[test]
fn a_trusted_proxy_is_believed_and_never_lends_its_key() {
    let public = IpAddr::from([203, 0, 113, 9]);
    for lines in [
        [("x-forwarded-for", "192.168.1.1, 203.0.113.9")].as_slice(),
        &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.2")],
        &[("forwarded", "for=192.168.1.1;proto=http, For=\"203.0.113.9:4711\"")],
        &[("forwarded", "for=203.0.113.9, for=10.0.0.3"), ("x-forwarded-for", "203.0.113.9")],
    ] {
        assert_eq!(source("10.0.0.1", lines), Source { address: public, key: None }, "{lines:?}");
    }
    let v6 = source("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:80\"")]);
    assert_eq!(v6.address, "2001:db8::1".parse::<IpAddr>().expect("an address"));
}

#[test]
fn a_proxy_that_is_not_trusted_or_not_clear_makes_the_call_public() {
    for (nearest, lines) in [
        ("192.168.1.5", [("x-forwarded-for", "192.168.1.1")].as_slice()),
        ("127.0.0.1", &[("forwarded", "for=127.0.0.1")]),
        ("10.0.0.1", &[("forwarded", "for=_hidden")]),
        ("10.0.0.1", &[("forwarded", "for=unknown")]),
        ("10.0.0.1", &[("forwarded", "proto=https")]),
        ("10.0.0.1", &[("x-forwarded-for", "")]),
        ("10.0.0.1", &[("x-forwarded-for", "10.0.0.2")]),
        ("10.0.0.1", &[("forwarded", "for=192.168.1.1"), ("x-forwarded-for", "203.0.113.9")]),
    ] {
        assert_eq!(source(nearest, lines), Source { address: HIDDEN, key: None }, "{nearest} {lines:?}");
    }
    assert!(!comity_core::identity::trust::is_private(HIDDEN));
}
