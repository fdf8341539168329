//! `comity broker`: a small MQTT broker, for machines that have none.

use super::stopped;
use crate::args;
use crate::exit::Failure;
use crate::page::Page;
use comity::broker::Broker;
use serde_json::json;

pub(crate) async fn run(flags: args::Broker, page: &mut Page) -> Result<(), Failure> {
    let broker = Broker::start(flags.listen, flags.ws).await.map_err(|wrong| Failure::Other(wrong.to_string()))?;
    let mut urls = vec![format!("mqtt://{}", broker.address())];
    urls.extend(broker.websocket().map(|address| format!("ws://{address}/mqtt")));
    let ready = if page.json {
        page.value(&json!({ "ready": true, "urls": urls }))
    } else {
        page.line(&format!("ready {}", urls.join(" ")))
    };
    let ended = match ready {
        Ok(()) => stopped().await,
        failed => failed,
    };
    broker.stop().await;
    ended
}
