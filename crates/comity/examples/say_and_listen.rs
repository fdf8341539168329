//! Says what it is doing, then prints what it is told: the library's part of the README.
use comity::network::Status;
use comity::{AppConfig, Mode, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "worker".into(), ..AppConfig::default() }).await?;
    network.set_status(&Status { working_on: "tests".into(), ..Status::default() }).await?;
    network.set_attention_mode(Mode::Realtime).await?;
    let mut messages = network.messages().await;
    while let Some(message) = messages.next().await {
        println!("{}: {}", message.from(), message.payload());
    }
    Ok(())
}
