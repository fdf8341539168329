//! The pages of the web among what `comity index add` is given: each is fetched, read and handed over under its URL. What
//! cannot be had is said, and the others are indexed.

use super::{Sum, bar, document};
use crate::args::Add;
use crate::exit::Failure;
use crate::page::Page;
use comity::fetching::{Address, fetch};
use comity_client::Client;
use comity_client::control::NewDocuments;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What was written as a URL. A query may hold a secret, and so may whatever stands before an `@`: neither is repeated.
pub(super) fn address(written: &str) -> Result<Address, Failure> {
    written.parse().map_err(|bad| {
        let shown = match written.split(['?', '#']).next() {
            Some(place) if !written.contains('@') => place,
            _ => "a URL",
        };
        Failure::Usage(format!("{shown} is not fetched: {bad}"))
    })
}

/// Indexes pages, one after the other; how many of them were not there.
pub(super) async fn pages(
    client: &Client,
    flags: &Add,
    addresses: &[Address],
    page: &Page,
    sum: &mut Sum,
) -> Result<usize, Failure> {
    if addresses.is_empty() {
        return Ok(0);
    }
    let program = Arc::new(std::env::current_exe()?);
    let bar = bar(page, addresses.len());
    let mut missing = 0;
    for address in addresses {
        match fetch(address).await {
            Ok(fetched) => {
                let program = Arc::clone(&program);
                let read = spawn_blocking(move || fetched.read(&program)).await;
                match read.map_err(|panic| Failure::Other(panic.to_string()))? {
                    Ok(read) => {
                        let documents = vec![document(read, address.as_str().to_owned(), &flags.tag)];
                        let indexed = client.index(&NewDocuments { documents }).await?;
                        bar.suspend(|| sum.take(indexed, &[address.to_string()]));
                    }
                    Err(cause) => bar.suspend(|| sum.leave_out(cause.name(), &format!("{address} {cause}"))),
                }
            }
            Err(cause) => {
                missing += usize::from(!cause.is_there());
                bar.suspend(|| sum.leave_out(cause.name(), &format!("{address} {cause}")));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_not_fetched_is_refused_without_what_may_be_secret_in_it() {
        let refused = |url: &str| match address(url) {
            Err(Failure::Usage(sentence)) => sentence,
            other => panic!("{other:?}"),
        };
        let sentence = refused("ftp://example.org/a?key=hidden");
        assert!(sentence.contains("ftp://example.org/a") && !sentence.contains("hidden"), "{sentence}");
        for url in
            ["https://ann:hidden@example.org/", "https://ann:hid?den@example.org/", "http://:p/hidden@example.org"]
        {
            let sentence = refused(url);
            assert!(!sentence.contains("hid") && !sentence.contains("ann"), "{sentence}");
        }
        assert!(address("https://example.org/a?b").is_ok());
    }
}
