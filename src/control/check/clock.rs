//! The machine's clock: an origin's is the whole tree's time, everybody's judges certificates.
use super::Report;
use crate::config::Config;
use crate::control::when;
use crate::io::clock;

pub fn look(config: &Config, report: &mut Report) {
    let now = clock::wall();
    let shown = when::date(now, config.node.zone, report.language);
    if now < clock::EARLIEST {
        report.mistake("clock.unset", [&shown]);
        return;
    }
    match clock::discipline() {
        Some(found) if found.synchronised => {
            report.ok("clock.fine", [&shown, &format!("{:.1}", found.error as f64 / 1e3)]);
        }
        // Below a parent, sound follows the tree's time.
        _ if config.parent.is_some() => report.warning("clock.unsynchronised", [&shown]),
        _ => report.warning("clock.unsynchronised_origin", [&shown]),
    }
}
