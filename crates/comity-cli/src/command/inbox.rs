//! `comity inbox`: what waits. An item is taken only after it was printed, so that nothing is
//! lost when printing fails.

use super::watch;
use crate::args::Inbox;
use crate::exit::Failure;
use crate::page::{Look, Page, all_said, said};
use comity_client::Client;
use comity_client::control::Arrival;
use serde_json::json;

pub(crate) async fn run(client: &Client, flags: Inbox, page: &mut Page) -> Result<(), Failure> {
    if let Some(arrivals) = flags.ack.as_ref().filter(|arrivals| !arrivals.is_empty()) {
        client.acknowledge(arrivals.clone()).await?;
        return if page.json { page.value(&json!({ "acknowledged": arrivals })) } else { Ok(()) };
    }
    if flags.follow {
        return follow(client, &flags, page).await;
    }
    let items = client.inbox(flags.after, flags.limit.into()).await?;
    if page.json {
        page.value(&json!({ "items": items }))?;
    } else if items.is_empty() {
        page.line("The inbox is empty.")?;
    } else {
        for item in &items {
            show(item, flags.peek, page)?;
        }
    }
    if !flags.peek && !items.is_empty() {
        client.acknowledge(items.iter().map(|item| item.arrival).collect()).await?;
    }
    Ok(())
}

async fn follow(client: &Client, flags: &Inbox, page: &mut Page) -> Result<(), Failure> {
    let mut arrivals = client.arrivals(flags.after).await?;
    while let Some(item) = arrivals.next().await? {
        if page.json {
            page.value(&item)?;
        } else {
            show(&item, flags.peek, page)?;
        }
        if !flags.peek {
            client.acknowledge(vec![item.arrival]).await?;
        }
    }
    Err(Failure::Other("the node stopped".to_owned()))
}

/// One line; of what is taken all is shown, since nobody can look again.
fn show(item: &Arrival, peek: bool, page: &mut Page) -> Result<(), Failure> {
    let payload = &item.message.payload;
    let text = if peek { said(payload) } else { all_said(payload) };
    let number = page.paint(&format!("{:>5}", item.arrival), Look::Faint);
    let line = format!("{number}  {}", watch::line(&item.message, &text, page));
    page.line(&line)
}
