//! The table and the verdicts.
use super::machine::median;
use super::{ICECAST, ICECAST_DEFAULT, LOA, LOA_TOGETHER, Row, Window};
use std::process::ExitCode;

pub fn print(rows: &[Row]) {
    println!();
    println!("µs of the server's CPU and bytes on the wire per listener-second; delays of sound in ms");
    println!(
        "{:<12} {:<21} {:>9} {:>13} {:>8} {:>9} {:>10}   beside Loa's",
        "side", "what", "listeners", "delay p50/p99", "bytes", "CPU µs", "× Loa's"
    );
    println!("Loa's rows are the fan-out alone; keep-alive, reports and clock: cargo bench --bench fanout, loa-load");
    for row in rows {
        let Some(cpu) = row.median(|window| window.cpu) else {
            println!("{:<12} {:<21} not measured: {}", row.side, row.what, row.failure.as_deref().unwrap_or("not run"));
            continue;
        };
        let delay = |part| row.delays.within(part).map_or_else(|| "?".to_owned(), |delay| delay.to_string());
        let ratio = find(rows, "Loa", row.beside).and_then(|loa| loa.median(|window| window.cpu));
        let ratio = ratio.map_or_else(|| "?".to_owned(), |loa| format!("{:.2}", cpu / loa));
        println!(
            "{:<12} {:<21} {:>9} {:>13} {:>8.0} {cpu:>9.2} {ratio:>10}   {}",
            row.side,
            row.what,
            row.windows.iter().map(|window| window.listeners).min().unwrap_or(0),
            format!("{}/{}", delay(0.5), delay(0.99)),
            row.median(|window| window.bytes).unwrap_or(0.0),
            row.beside
        );
        if !row.carried() {
            println!(
                "{:<12} NOT ALL CARRIED: {:.1} % of the sound due to {} listeners arrived",
                "",
                row.heard() / row.due() * 100.0,
                row.listeners
            );
        }
        if let Some(failure) = &row.failure {
            println!("{:<12} in one round: {failure}", "");
        }
    }
}

/// Whether Loa's bounds hold (DESIGN §11): 3 when one is missed, 1 when one of the selection could not be judged. A
/// short run shows only that everything works.
pub fn judge(rows: &[Row], short: bool) -> ExitCode {
    println!();
    let mut code = 0;
    for (loa, icecast, bound) in [(LOA, ICECAST, BOUND), (LOA_TOGETHER, ICECAST_DEFAULT, BOUND_TOGETHER)] {
        let claim = format!("Loa, {loa} ÷ Icecast, {icecast}");
        let (Some(loa), Some(icecast)) = (find(rows, "Loa", loa), find(rows, "Icecast 2.4", icecast)) else {
            println!("{claim}: not in the selection, so not judged, bound {bound}");
            continue;
        };
        let cpu = |row: &Row| row.median(|window| window.cpu);
        let (Some(ours), Some(theirs)) = (cpu(loa), cpu(icecast)) else {
            println!("{claim}: NOT MEASURED, bound {bound}");
            code = code.max(1);
            continue;
        };
        // Who carries less than all, or not in every round, costs something else than what is bounded.
        if let Some(lame) = [loa, icecast].into_iter().find(|row| !row.carried() || row.failure.is_some()) {
            println!("{claim}: NOT JUDGED, bound {bound}: {}, {} has failed, see above", lame.side, lame.what);
            code = code.max(1);
            continue;
        }
        let ratio = ours / theirs;
        let verdict = if ratio <= bound { "holds" } else { "MISSED" };
        println!("{claim}: {ratio:.3}, bound {bound}: {verdict}");
        if ratio > bound {
            code = 3;
        }
    }
    if short {
        println!("a short run, a few listeners: these figures mean nothing");
        code = 0;
    }
    ExitCode::from(code)
}

impl Row {
    /// Listener-seconds of sound that came, and that should have.
    fn heard(&self) -> f64 {
        self.windows.iter().map(|window| window.heard).sum()
    }

    fn due(&self) -> f64 {
        self.windows.iter().map(|window| window.due).sum()
    }

    /// Whether everybody heard everything.
    fn carried(&self) -> bool {
        // A round's windows cut a packet at either end.
        let cut = self.rounds as f64 * self.packet.as_secs_f64() * self.listeners as f64;
        let all = self.windows.iter().all(|window| window.listeners >= self.listeners);
        all && self.heard() + cut >= self.due() * WHOLE
    }

    fn median(&self, of: impl Fn(&Window) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.windows.iter().map(of).collect();
        (!values.is_empty()).then(|| median(&values))
    }
}

fn find<'a>(rows: &'a [Row], side: &str, what: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.side == side && row.what == what)
}

/// CPU of a listener-second beside Icecast's (DESIGN §11).
const BOUND: f64 = 0.15;
const BOUND_TOGETHER: f64 = 0.6;
/// Below this part of the sound, a side has not carried its listeners.
const WHOLE: f64 = 0.99;
