//! Start it as `query_and_answer answerer`, and again as `asker`: one counts letters, the other asks every second.
use comity::{AppConfig, Kind, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or("answerer".into());
    let network = Network::join(AppConfig { name, ..AppConfig::default() }).await?;
    network.answer(|query| async move { Ok::<_, String>(query.payload().as_str().map_or(0, str::len)) }).await;
    while network.name() == "asker" {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let Some(peer) = network.peer_named("answerer").await else { continue };
        println!("{}", network.request(peer.id, Kind::Query, "how long is this?").await?.payload());
    }
    std::future::pending().await
}
