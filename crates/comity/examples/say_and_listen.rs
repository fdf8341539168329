//! Says what it is doing, then prints what waits for it: the library's part of the README.
use comity::{AppConfig, Network, Priority};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "worker".into(), ..AppConfig::default() }).await?;
    network.broadcast("_status", json!({"working_on": "tests"}), Priority::Background).await?;
    while let Some(message) = network.next_message().await? {
        println!("{}: {}", message.from(), message.payload());
    }
    network.leave("done").await;
    Ok(())
}
