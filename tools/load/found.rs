//! What was found, as names, values and tables: the same on the page as in a terminal.
use crate::outcome::{Outcome, Quantiles, Step, Target};
use crate::plot::number;

/// Names and values with their units.
pub type Rows = Vec<(String, String)>;

/// A table of which the columns from `numbers` on stand right.
pub struct Grid {
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    pub numbers: usize,
}

pub fn figures(outcome: &Outcome) -> Rows {
    let (sound, mut all) = (&outcome.sound, Rows::new());
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    add("Speakers joined", format!("{} of {}", count(outcome.joined), count(outcome.speakers)));
    if outcome.join_ms.count > 0 {
        add("Time to join", quantiles(&outcome.join_ms));
    }
    if sound.expected > 0 {
        add("Held for", format!("{} s", number(outcome.held_s)));
        add("Packets due", count(sound.expected));
        add("Packets lost", count(sound.lost));
        add("Packets repaired, come twice", format!("{}, {}", count(sound.repaired), count(sound.duplicates)));
        let due = &sound.delivery_ms;
        if due.count > 0 {
            let (p50, p99, p999) = (number(due.p50), number(due.p99), number(due.p999));
            add(
                "Delivery delay",
                format!("p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms, longest {} ms", number(due.max)),
            );
        }
        if outcome.together > 1 {
            add("Packets in one send", format!("{}; their delay runs from the last one's instant", outcome.together));
        }
        add("Seals checked, failed", format!("{}, {}", count(sound.checked), count(sound.forged)));
        let heard = sound.received as f64 * outcome.packet_ms as f64 / 1e3;
        let rate = sound.bytes as f64 * 8.0 / heard.max(1e-9) / 1e3;
        let mib = sound.bytes as f64 / 1_048_576.0;
        add(
            "Bytes of sound",
            format!("{} MiB, {} kb/s for each listener, IP and UDP not counted", number(mib), number(rate)),
        );
    }
    let load = &outcome.load;
    if load.processes > 0 {
        let (cpu, rss) = (number(load.cpu_s), number((load.rss_kib / 1_024) as f64));
        add(
            "The tool itself",
            format!("{}, {cpu} s of CPU, {rss} MiB", several(load.processes, "process", "processes")),
        );
    }
    all
}

/// What only runs of some kind find: a part for each.
pub fn parts(outcome: &Outcome) -> Vec<Rows> {
    let mut all = Vec::new();
    if let Some(storm) = &outcome.storm {
        all.push(vec![
            ("Storm: sessions at once".into(), count(storm.sessions)),
            ("Storm: until all stream".into(), seconds(storm.all_streaming_s)),
            ("Storm: time to sound".into(), quantiles(&storm.stream_ms)),
            ("The others".into(), format!("{}, lost {} packets", count(storm.others), count(storm.others_lost))),
            ("The others: delivery delay".into(), quantiles(&storm.others_delivery_ms)),
        ]);
    }
    if let Some(emergency) = &outcome.emergency {
        let rounds = format!(" in {}", several(emergency.rounds, "round", "rounds"));
        all.push(vec![
            ("Emergency: reached".into(), count(emergency.reached) + &rounds),
            ("Emergency: not reached".into(), count(emergency.not_reached)),
            ("Emergency: order arrives".into(), quantiles(&emergency.order_ms)),
            ("Emergency: first sound".into(), quantiles(&emergency.first_sound_ms)),
            ("Hush: silence".into(), quantiles(&emergency.hush_ms)),
            (
                "Emergency: receipts of all".into(),
                format!("{}, {} without", seconds(emergency.receipts_s), count(emergency.no_receipt)),
            ),
        ]);
    }
    if !outcome.hostile.is_empty() {
        let kinds = outcome.hostile.iter();
        let mut rows: Rows = kinds.map(|(kind, all)| (format!("Hostile, {kind}"), count(*all))).collect();
        if outcome.without_hostile_ms.count > 0 {
            rows.push(("Delivery to all, none hostile".into(), quantiles(&outcome.without_hostile_ms)));
            rows.push(("Delivery to the others, some hostile".into(), quantiles(&outcome.sound.delivery_ms)));
        }
        all.push(rows);
    }
    all
}

/// With the word that goes with so many.
fn several(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

pub fn targets(targets: &[Target]) -> Grid {
    let row = |target: &Target| {
        let each = |value: f64| if target.listeners > 0 { number(value) } else { "–".into() };
        let grown = target.rss_end_kib as f64 - target.rss_joined_kib as f64;
        vec![
            target.name.clone(),
            target.role.clone(),
            count(target.listeners),
            number(target.cpu_s),
            each(target.cpu_us_per_listener_second),
            mib(target.rss_before_kib),
            mib(target.rss_joined_kib),
            mib(target.rss_end_kib),
            number(grown),
            each(target.rss_kib_per_listener),
        ]
    };
    let head = vec![
        "Node",
        "",
        "listeners",
        "CPU s",
        "µs per listener s",
        "MiB before",
        "MiB joined",
        "MiB end",
        "KiB grown",
        "KiB per listener",
    ];
    Grid { head, rows: targets.iter().map(row).collect(), numbers: 2 }
}

pub fn steps(steps: &[Step]) -> Grid {
    let row = |step: &Step| {
        vec![
            count(step.listeners),
            count(step.tracks),
            number(step.cpu_percent),
            number(step.cpu_us_per_listener_second),
            step.idle_rss_kib.map_or("–".into(), mib),
            mib(step.rss_kib),
            number(step.rss_kib_per_listener),
            number(step.delivery_ms.p50),
            number(step.delivery_ms.p99),
            count(step.lost),
        ]
    };
    let head = vec![
        "listeners",
        "tracks",
        "CPU %",
        "µs per listener s",
        "MiB idle",
        "MiB",
        "KiB per listener",
        "p50 ms",
        "p99 ms",
        "lost",
    ];
    Grid { head, rows: steps.iter().map(row).collect(), numbers: 0 }
}

fn count(count: u64) -> String {
    number(count as f64)
}

fn mib(kib: u64) -> String {
    number((kib as f64 / 1_024.0 * 10.0).round() / 10.0)
}

fn seconds(value: f64) -> String {
    match number(value) {
        never if never == "never" => never,
        value => format!("{value} s"),
    }
}

fn quantiles(of: &Quantiles) -> String {
    match of.count {
        0 => "not measured".to_owned(),
        _ => format!("p50 {} ms, p99 {} ms, longest {} ms", number(of.p50), number(of.p99), number(of.max)),
    }
}
