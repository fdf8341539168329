//! `discover_peers CAPABILITY`: prints who announces that at the MQTT broker of `MQTT_BROKER`.
use comity::announcing::Filter;
use comity::{AppConfig, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "finder".into(), ..AppConfig::default() }).await?;
    let discovery = network.discovery().ok_or("set MQTT_BROKER, as in mqtt://localhost")?;
    let capabilities = std::env::args().skip(1).collect();
    for peer in discovery.discover_peers(&Filter { capabilities, ..Filter::default() }).await {
        println!("{} {:?} {:?}", peer.info.id, peer.info.capabilities, peer.info.url);
    }
    network.leave("done").await;
    Ok(())
}
