//! Takes whatever task is open, and does it: of several that run, one gets each.
use comity::claims::{Standing, Taken};
use comity::{AppConfig, Network};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Network::join(AppConfig { name: "worker".into(), ..AppConfig::default() }).await?;
    let claims = network.claims().ok_or("gossip is switched off")?;
    let mut changes = claims.changes();
    while changes.next().await.is_some() {
        for open in claims.list().await.into_iter().filter(|task| task.standing == Standing::Open) {
            if let Ok(Taken::Ours(ours)) = claims.take(&open.task).await {
                claims.done(&ours.task, Some("done".into())).await?;
            }
        }
    }
    Ok(())
}
