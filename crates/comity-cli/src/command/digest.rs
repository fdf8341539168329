//! `comity digest`: what happened while nobody looked.

use super::watch;
use crate::args::Digest;
use crate::exit::Failure;
use crate::page::{Page, cell, clean};
use comity_client::Client;

pub(crate) async fn run(client: &Client, flags: Digest, page: &mut Page) -> Result<(), Failure> {
    let digest = if flags.peek { client.digest().await? } else { client.take_digest().await? };
    if page.json {
        return page.value(&digest);
    }
    page.line(&digest.text)?;
    if !digest.by_channel.is_empty() {
        let rows: Vec<_> =
            digest.by_channel.iter().map(|(name, count)| vec![cell(name), cell(count.to_string())]).collect();
        page.line("")?;
        page.table(&["CHANNEL", "MESSAGES"], &rows)?;
    }
    if !digest.samples.is_empty() {
        page.line("\nSome of them:")?;
    }
    for sample in &digest.samples {
        let from = sample.from_name.clone().unwrap_or_else(|| sample.from.to_string());
        let time = sample.at.to_string();
        let (time, trust) = (time.get(11..19).unwrap_or_default(), watch::mark(sample.trust.0, page));
        page.line(&format!("{time}  {}{trust}  {}  {}", clean(&from), clean(&sample.channel), clean(&sample.text)))?;
    }
    Ok(())
}
