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
        let due = row.windows.iter().map(|window| window.due).sum::<f64>();
        let heard = row.windows.iter().map(|window| window.heard).sum::<f64>();
        // A round's windows cut a packet at either end.
        let cut = row.rounds as f64 * row.packet.as_secs_f64() * row.listeners as f64;
        if heard + cut < due * WHOLE || row.windows.iter().any(|window| window.listeners < row.listeners) {
            println!(
                "{:<12} NOT ALL CARRIED: {:.1} % of the sound due to {} listeners arrived",
                "",
                heard / due * 100.0,
                row.listeners
            );
        }
        if let Some(failure) = &row.failure {
            println!("{:<12} in one round: {failure}", "");
        }
    }
}

/// Whether Loa's bounds hold (DESIGN §11): 3 when one is missed, 1 when one could not be measured. A short run
/// shows only that everything works.
pub fn judge(rows: &[Row], short: bool) -> ExitCode {
    println!();
    let mut code = 0;
    for (loa, icecast, bound) in [(LOA, ICECAST, BOUND), (LOA_TOGETHER, ICECAST_DEFAULT, BOUND_TOGETHER)] {
        if find(rows, "Icecast 2.4", icecast).is_none() {
            // Not asked for.
            continue;
        }
        let cpu = |side, what| find(rows, side, what).and_then(|row| row.median(|window| window.cpu));
        let claim = format!("Loa, {loa} ÷ Icecast, {icecast}");
        let (Some(ours), Some(theirs)) = (cpu("Loa", loa), cpu("Icecast 2.4", icecast)) else {
            println!("{claim}: NOT MEASURED, bound {bound}");
            code = code.max(1);
            continue;
        };
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
