//! Messages between two nodes beside the same through nats-server.

use crate::nats;

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let server = nats::Server::start()?;
        for at_a_time in [1, 50] {
            let latency = nats::request_reply(&server, 20_000, at_a_time).await?;
            println!("nats request-reply {at_a_time}: {:.0} us", latency.median_us());
        }
        for subscribers in [1, 10, 100] {
            let rate = nats::one_way(&server, 1_000_000 / subscribers, subscribers).await?;
            println!(
                "nats 1:{subscribers}: {:.0}/s client {:.2} us server {:.2} us",
                rate.per_second, rate.client_us, rate.server_us
            );
        }
        Ok(())
    })
}
