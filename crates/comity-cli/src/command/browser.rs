//! `comity code`: lets a browser on this machine in, once.

use crate::exit::Failure;
use crate::page::{Page, say};
use comity_client::Client;

pub(crate) async fn code(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let code = client.one_time_code().await?;
    if page.json {
        return page.value(&code);
    }
    page.line(&code.code)?;
    say(&format!("Good once, for {} seconds, at {}", code.expires_in_seconds, code.page));
    Ok(())
}
