//! The machine's clock: an origin's is the whole tree's time, everybody's judges certificates.
use super::Report;
use crate::config::{Config, Trusted};
use crate::control::when;
use crate::io::clock;

pub fn look(config: &Config, report: &mut Report) {
    let now = clock::wall();
    let shown = when::date(now, config.node.zone, report.language);
    if now < clock::EARLIEST {
        report.mistake("clock.unset", [&shown]);
        return;
    }
    let found = clock::discipline();
    match &found {
        Some(found) if found.synchronised => {
            report.ok("clock.fine", [&shown, &format!("{:.1}", found.error as f64 / 1e3)]);
        }
        // Below a parent, sound follows the tree's time.
        _ if config.parent.is_some() => report.warning("clock.unsynchronised", [&shown]),
        _ => report.warning("clock.unsynchronised_origin", [&shown]),
    }
    if config.parent.is_none() {
        return;
    }
    let millis = config.clock.error().unwrap_or(0) / 1_000;
    match config.clock.trusted {
        Trusted::None => report.ok("clock.alone", []),
        Trusted::Ntp | Trusted::Gnss if clock::trusted(&config.clock).is_none() => {
            report.warning("clock.not_set_now", [&millis]);
        }
        Trusted::Rtc if !clock::has_rtc() => report.mistake("clock.no_rtc", []),
        _ => report.ok("clock.trusted", [&millis]),
    }
}
