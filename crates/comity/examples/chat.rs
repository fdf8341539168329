//! `chat NAME TEXT`: says the text in the room, then prints what the others say until interrupted.
use comity::{AppConfig, Mode, Network, Priority};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [name, text] = [1, 2].map(|place| std::env::args().nth(place).unwrap_or_default());
    let network = Network::join(AppConfig { name, ..AppConfig::default() }).await?;
    network.set_attention_mode(Mode::Realtime).await?;
    network.on("custom:chat", |said| async move { println!("{}: {}", said.from(), said.payload()) }).await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    network.broadcast("custom:chat", text, Priority::Normal).await?;
    std::future::pending().await
}
