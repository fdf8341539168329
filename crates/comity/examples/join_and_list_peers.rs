//! Joins the network, waits a second, and prints who is there.
use comity::{AppConfig, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "lister".into(), ..AppConfig::default() }).await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for peer in network.peers().await {
        println!("{} {} {} {:?}", peer.name, peer.id, peer.trust.name(), peer.addresses);
    }
    network.leave("done").await;
    Ok(())
}
