//! Minds its work for a minute, then reads what is urgent, what waits, and what was said meanwhile.
use comity::{AppConfig, Mode, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "worker".into(), ..AppConfig::default() }).await?;
    network.set_attention_mode(Mode::Focused).await?;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    while let Some(message) = network.next_message().await? {
        println!("{} from {}: {}", message.priority().name(), message.from(), message.payload());
    }
    println!("{}", network.take_digest().await?);
    network.leave("done").await;
    Ok(())
}
