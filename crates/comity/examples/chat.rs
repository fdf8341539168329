//! `chat NAME TEXT…`: says the text in the room, and prints what the others say until interrupted.
use comity::{AppConfig, Mode, Network, Priority};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let network = Network::join(AppConfig { name: words.next().unwrap_or_default(), ..AppConfig::default() }).await?;
    network.set_attention_mode(Mode::Realtime).await?;
    let show = async |message: comity::Message| {
        println!("{} {}: {}", message.trust().name(), message.from(), message.payload())
    };
    let mut room = network.messages_on("custom:chat").await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    network.broadcast("custom:chat", words.collect::<Vec<_>>().join(" "), Priority::Normal).await?;
    while let Some(message) = room.next().await {
        show(message).await
    }
    Ok(())
}
