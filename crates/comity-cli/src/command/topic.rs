//! `comity topic`: which topics of gossip the node listens to.

use crate::args::Topic;
use crate::exit::Failure;
use crate::page::{Page, clean};
use comity_client::Client;

pub(crate) async fn run(client: &Client, wanted: Topic, page: &mut Page) -> Result<(), Failure> {
    let (listed, said) = match wanted {
        Topic::Join { topic } => (client.join_topic(&topic).await?, Some(format!("listening to {topic}"))),
        Topic::Leave { topic } => {
            (client.leave_topic(&topic).await?, Some(format!("not listening to {topic} any more")))
        }
        Topic::List => (client.topics().await?, None),
    };
    if page.json {
        return page.value(&listed);
    }
    match said {
        Some(said) => page.line(&clean(&said)),
        None => {
            listed.topics.iter().try_for_each(|topic| page.line(&clean(topic)))?;
            page.line("other libp2p programs reach this node at:")?;
            listed.addresses.iter().try_for_each(|address| page.line(&format!("  {}", clean(address))))
        }
    }
}
