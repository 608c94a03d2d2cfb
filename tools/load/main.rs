//! `loa-load`: many virtual loudspeakers against a tree of Loa, and what it made of them.
mod crowd;
mod ear;
mod hostile;
mod outcome;
mod plan;
mod quantiles;
mod scenario;
mod sockets;
mod speaker;
mod tracks;
mod worker;
mod world;

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker::run();
    }
    let outcome = outcome::Outcome::default();
    println!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
    Ok(())
}
