//! What a listener costs Loa and what it costs the others: CPU of the server's process per listener-second,
//! delivery delay, bytes on the wire. `tools/compare` installs the others and runs this.
//!
//! ```text
//! core 0   the server: Loa's fan-out in a process of its own · icecast2 · gst-launch-1.0 · snapserver · moq-relay
//! core 1   what feeds it at the pace of sound, and the listeners: a socket each, all read, none decoding
//! ```
//! In each round every side starts anew, is heard by all its listeners, warms up, and is measured in some
//! windows; the figures are medians over all windows of all rounds. A side that fails says why and stops no
//! other. **Delay** counts from the first sample of a packet, page or chunk to its arrival at the listener, so
//! the time to fill it is in; the decoder's is in none. **Bytes** are those towards the listener with IP's and
//! UDP's or TCP's headers; segments count as on an Ethernet, acknowledgements don't. All carry 24 kb/s of Opus.
//!
//! Loa's side is the fan-out alone: keep-alive, reports and clock exchange are measured by `cargo bench --bench fanout`
//! and `loa-load`. A side with few listeners stands beside Loa with as few, since each of them carries more of what
//! costs the same for any number.
//!
//! `LOA_BENCH_LISTENERS=5000` and `LOA_BENCH_FEW=500` (for those that carry no more) change the numbers,
//! `LOA_COMPARE_ONLY=icecast` picks a side to stand beside Loa, `LOA_BENCH_SHORT=1` shows only that it works.
mod crowd;
mod feed;
mod gstreamer;
mod heard;
mod icecast;
mod loa;
#[path = "../machine/mod.rs"]
mod machine;
mod moq;
mod process;
mod snapcast;
mod table;

use heard::{Delays, Heard};
use machine::{number, pin, raise_files, short};
use process::{PATIENCE, Server};
use std::any::Any;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// One line of the table, with what has been measured for it.
pub struct Row {
    pub side: &'static str,
    pub what: &'static str,
    /// How long a packet, page or chunk lasts.
    pub packet: Duration,
    pub listeners: usize,
    /// Loa's row that its cost is shown beside.
    pub beside: &'static str,
    start: fn(&Place, &Row) -> Result<Running, String>,
    pub rounds: usize,
    pub windows: Vec<Window>,
    pub delays: Delays,
    pub failure: Option<String>,
}

/// What one side may have for itself.
pub struct Place {
    pub listeners: usize,
    pub folder: PathBuf,
}

/// A side at work; it ends when this is dropped.
pub struct Running {
    pub server: Server,
    pub heard: Arc<Heard>,
    /// The feed, the crowd and whatever else must live as long.
    pub held: Vec<Box<dyn Any>>,
}

/// Per listener-second of sound that arrived.
pub struct Window {
    pub cpu: f64,
    pub bytes: f64,
    pub listeners: usize,
    /// Listener-seconds of sound that came, and that should have.
    pub heard: f64,
    pub due: f64,
}

struct Plan {
    rounds: usize,
    windows: usize,
    /// Whole numbers of every packet, page and send.
    window: Duration,
    warm_up: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((loa::SERVE, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        loa::serve(rest);
        return ExitCode::SUCCESS;
    }
    let (plan, many, few) = if short() {
        (Plan { rounds: 1, windows: 2, window: WINDOW / 5, warm_up: Duration::from_secs(1) }, 200, 50)
    } else {
        (Plan { rounds: 3, windows: 3, window: WINDOW, warm_up: Duration::from_secs(8) }, 5_000, 500)
    };
    let many = number("LOA_BENCH_LISTENERS").unwrap_or(many);
    let few = number("LOA_BENCH_FEW").unwrap_or(few);
    let files = raise_files();
    assert!(
        many + 256 <= files,
        "{many} listeners need as many open files, and this process may have {files}: ulimit -n"
    );
    pin(1);
    let mut rows = rows(many, few);
    if let Ok(only) = std::env::var("LOA_COMPARE_ONLY") {
        rows.retain(|row| row.side == "Loa" || row.side.to_lowercase().contains(&only.to_lowercase()));
    }
    for round in 1..=plan.rounds {
        for row in &mut rows {
            eprintln!("round {round} of {}: {}, {}, {} listeners", plan.rounds, row.side, row.what, row.listeners);
            if let Err(failure) = measure(row, &plan) {
                eprintln!("        SKIPPED: {failure}");
                row.failure = Some(failure);
            }
        }
    }
    table::print(&rows);
    table::judge(&rows, short())
}

fn rows(many: usize, few: usize) -> Vec<Row> {
    let row = |side, what, packet, listeners, beside, start| Row {
        side,
        what,
        packet: Duration::from_millis(packet),
        listeners,
        beside,
        start,
        rounds: 0,
        windows: Vec::new(),
        delays: Delays::default(),
        failure: None,
    };
    vec![
        row("Loa", LOA_SHORT, 60, many, LOA_SHORT, |place, row| loa::start(place, row.packet, 1)),
        row("Loa", LOA_FEW, 60, few, LOA_FEW, |place, row| loa::start(place, row.packet, 1)),
        row("Loa", LOA, 240, many, LOA, |place, row| loa::start(place, row.packet, 1)),
        row("Loa", LOA_TOGETHER, 240, many, LOA_TOGETHER, |place, row| loa::start(place, row.packet, 4)),
        row("Icecast 2.4", ICECAST, 60, many, LOA, |place, row| icecast::start(place, row.packet)),
        row("Icecast 2.4", ICECAST_DEFAULT, 1_000, many, LOA_TOGETHER, |place, row| icecast::start(place, row.packet)),
        row("GStreamer", "multiudpsink, 60 ms", 60, many, LOA_SHORT, |place, row| gstreamer::start(place, row.packet)),
        row("GStreamer", "multiudpsink, 120 ms", 120, many, LOA, |place, row| gstreamer::start(place, row.packet)),
        row("snapserver", "60 ms chunks", 60, few, LOA_FEW, |place, _| snapcast::start(place)),
        row("moq-relay", "60 ms frames", 60, few, LOA_FEW, |place, _| moq::start(place)),
    ]
}

fn measure(row: &mut Row, plan: &Plan) -> Result<(), String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare");
    let place = Place { listeners: row.listeners, folder };
    place.prepare()?;
    let mut running = (row.start)(&place, row)?;
    let deadline = Instant::now() + PATIENCE;
    while running.heard.listeners() < row.listeners && Instant::now() < deadline {
        running.server.cpu()?;
        thread::sleep(Duration::from_millis(50));
    }
    if running.heard.listeners() == 0 {
        return Err(format!("nobody heard anything within {} s", PATIENCE.as_secs()));
    }
    thread::sleep(plan.warm_up);
    running.heard.take();
    row.rounds += 1;
    for _ in 0..plan.windows {
        let (began, before) = (Instant::now(), running.server.cpu()?);
        thread::sleep(plan.window);
        let (time, cpu) = (began.elapsed(), running.server.cpu()? - before);
        let tally = running.heard.take();
        let heard = tally.packets as f64 * row.packet.as_secs_f64();
        if heard == 0.0 {
            return Err("nothing was heard in a window".to_owned());
        }
        row.windows.push(Window {
            cpu: cpu.as_secs_f64() * 1e6 / heard,
            bytes: tally.bytes as f64 / heard,
            listeners: tally.listeners,
            heard,
            due: time.as_secs_f64() * row.listeners as f64,
        });
        row.delays.merge(&tally.delays);
    }
    Ok(())
}

impl Place {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Servers that leave root behind must still be able to write here.
    fn prepare(&self) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::set_permissions(&self.folder, open))
            .map_err(|error| format!("{}: {error}", self.folder.display()))
    }
}

pub const LOA_SHORT: &str = "60 ms packets";
pub const LOA_FEW: &str = "60 ms packets, few";
pub const LOA: &str = "240 ms packets";
pub const LOA_TOGETHER: &str = "240 ms, four a send";
pub const ICECAST: &str = "60 ms pages";
pub const ICECAST_DEFAULT: &str = "1 s pages (default)";
/// Ten sends of four packets of 240 ms, 160 of 60 ms.
const WINDOW: Duration = Duration::from_millis(9_600);
