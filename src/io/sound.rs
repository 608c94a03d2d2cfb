//! The sound thread: takes a plan and lets it out at a device, and says what left.
//!
//! ```text
//!  steps ─▶ Feed: render, count ─┬─▶ Card ─▶ Wav | Pipe | Null    a modelled clock, and a sink behind it
//!                                └─▶ Hardware ─▶ alsa             a sound card's own clock
//!              what truly left ─▶ Meter ─▶ level each second, silence where sound is due
//! ```
//! A device counts frames; `Device` reports say which frame left when, and playout follows them. The
//! counter goes on without a leap whatever becomes of the hardware, since the plan is counted in it:
//! while a sound card is away, a modelled one keeps it. What cannot be let out is let go; nothing here
//! waits for a device, a disk or a command, so neither playout nor the node's clock ever does.
#[cfg(feature = "sound")]
mod alsa;
mod card;
mod feed;
#[cfg(any(feature = "sound", test))]
mod hardware;
mod pipe;
mod sink;
pub mod trial;

use super::clock;
use super::node::Played;
use super::queue::{self, Drops};
use crate::audio::{Meter, Metered, Reading, Step};
use crate::config::Playout;
use crate::key::PublicKey;
use crate::playout::{self, Device};
use crate::time::{Local, SECOND};
use bytes::Bytes;
use card::Card;
use crossbeam_channel::{Receiver, TryRecvError};
use pipe::Pipe;
use sink::{Null, Sink, Wav};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a sound thread is given.
pub struct Options {
    pub output: Output,
    /// Of the modelled card.
    pub rate_error_ppm: f64,
    pub steps: Receiver<Step>,
    pub reports: queue::Sender<Said>,
    pub played: Arc<Mutex<VecDeque<Played>>>,
    /// Frames that no command took.
    pub dropped: Drops,
}

/// Where sound leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Null,
    Wav(PathBuf),
    /// Run by `/bin/sh -c` in `folder`; takes raw s16le, 48 kHz, mono on standard input.
    Pipe {
        command: String,
        folder: PathBuf,
    },
    /// A sound card, by its name in ALSA.
    Alsa(String),
}

impl Output {
    /// Of a configuration that has been checked.
    pub fn new(playout: &Playout) -> Self {
        match playout.device.split_once(':') {
            Some(("wav", file)) => Self::Wav(PathBuf::from(file)),
            Some(("pipe", command)) => Self::Pipe { command: command.into(), folder: playout.folder.clone() },
            Some(("alsa", name)) => Self::Alsa(name.into()),
            _ => Self::Null,
        }
    }

    /// How far ahead of this output the player gives out steps: a sound card holds 100 ms itself, and
    /// some 10 ms more on their way through a converter.
    pub fn horizon(&self) -> i64 {
        match self {
            Self::Alsa(_) => 150_000,
            _ => playout::Options::default().horizon,
        }
    }
}

/// What a sound thread says of itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Some 20 times a second; the newest counts.
    Device(Device),
    /// Once a second.
    Level(Reading),
    /// Where the mute's switch stands, when it has turned.
    Switch(bool),
    /// Something is wrong, and its end.
    Trouble {
        code: &'static str,
        text: String,
    },
    Mended {
        code: &'static str,
        text: String,
    },
    /// The look-out's: this node's certificate should be renewed.
    Renew {
        key: PublicKey,
        proof: Bytes,
        chain: Vec<Bytes>,
    },
}

/// Starts the thread; it ends when the sender of its steps is dropped.
pub fn start(options: Options) -> io::Result<JoinHandle<()>> {
    let device = Driver::new(&options)?;
    std::thread::Builder::new().name("sound".into()).spawn(move || run(options, device))
}

/// A device as the thread drives it.
enum Driver {
    Modelled {
        card: Box<Card>,
        sink: Box<dyn Sink>,
    },
    #[cfg(feature = "sound")]
    Hardware(Box<hardware::Hardware>),
}

impl Driver {
    fn new(options: &Options) -> io::Result<Self> {
        let now = clock::local();
        let (error_ppm, sink): (f64, Box<dyn Sink>) = match &options.output {
            Output::Null => (options.rate_error_ppm, Box::new(Null)),
            Output::Wav(file) => (options.rate_error_ppm, Box::new(Wav::create(Path::new(file))?)),
            // The machine's own clock is nearest to whatever sounds at the command's other end.
            Output::Pipe { command, folder } => {
                (0.0, Box::new(Pipe::new(command.clone(), folder.clone(), options.dropped.clone(), now)))
            }
            #[cfg(feature = "sound")]
            Output::Alsa(name) => {
                let own = name.clone();
                let opener = Box::new(move || alsa::open(&own));
                return Ok(Self::Hardware(Box::new(hardware::Hardware::new(name.clone(), now, opener))));
            }
            #[cfg(not(feature = "sound"))]
            Output::Alsa(name) => {
                return Err(io::Error::other(format!("alsa:{name}: {}", crate::config::WITHOUT_SOUND)));
            }
        };
        Ok(Self::Modelled { card: Box::new(Card::new(now, error_ppm)), sink })
    }

    fn feed(&mut self) -> &mut feed::Feed {
        match self {
            Self::Modelled { card, .. } => &mut card.feed,
            #[cfg(feature = "sound")]
            Self::Hardware(hardware) => hardware.feed(),
        }
    }

    /// Lets out into `out` what is due at `now`. False when nothing of it will be heard.
    fn serve(
        &mut self,
        now: Local,
        out: &mut Vec<f32>,
        said: &mut Vec<Said>,
        next: &mut dyn FnMut() -> Option<Step>,
    ) -> bool {
        match self {
            Self::Modelled { card, sink } => {
                card.advance(now, out, next);
                sink.write(out, now, said)
            }
            #[cfg(feature = "sound")]
            Self::Hardware(hardware) => hardware.serve(now, out, said, next),
        }
    }

    fn report(&mut self, now: Local) -> Device {
        match self {
            Self::Modelled { card, .. } => card.report(now),
            #[cfg(feature = "sound")]
            Self::Hardware(hardware) => hardware.report(now),
        }
    }

    fn stop(self) {
        match self {
            Self::Modelled { mut sink, .. } => sink.stop(),
            // What the sound card still holds is silence by now, or is to be cut.
            #[cfg(feature = "sound")]
            Self::Hardware(_) => {}
        }
    }
}

fn run(mut options: Options, mut device: Driver) {
    let mut gauge = Gauge::default();
    let (mut out, mut said) = (Vec::new(), Vec::new());
    let mut reported = clock::local() - REPORT;
    loop {
        let now = clock::local();
        out.clear();
        let mut open = true;
        let heard = device.serve(now, &mut out, &mut said, &mut || match options.steps.try_recv() {
            Ok(step) => Some(step),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                open = false;
                None
            }
        });
        let feed = device.feed();
        gauge.measure(&mut out, heard, feed.due, &mut said);
        if !feed.played.is_empty() {
            let mut played = options.played.lock().unwrap_or_else(PoisonError::into_inner);
            played.extend(feed.played.drain(..));
            let excess = played.len().saturating_sub(PLAYED);
            played.drain(..excess);
        }
        if now - reported >= REPORT {
            reported = now;
            said.push(Said::Device(device.report(now)));
        }
        for said in said.drain(..) {
            tell(&mut options.reports, said);
        }
        options.reports.flush();
        if !open {
            break;
        }
        std::thread::sleep(PERIOD);
    }
    device.stop();
}

/// A report that comes late is of no use; what is wrong must be known.
fn tell(reports: &mut queue::Sender<Said>, said: Said) {
    match &said {
        Said::Device(_) | Said::Level(_) => {
            reports.offer(said);
            return;
        }
        Said::Renew { .. } | Said::Switch(_) => {}
        Said::Trouble { code, text } => tracing::error!(code, "{text}"),
        Said::Mended { code, text } => tracing::info!(code, "{text}"),
    }
    reports.send(said);
}

/// The meter at a device's end, and what it has to say to people.
#[derive(Default)]
struct Gauge {
    meter: Meter,
}

impl Gauge {
    /// `out` is measured as silence unless it was `heard`.
    fn measure(&mut self, out: &mut [f32], heard: bool, due: bool, said: &mut Vec<Said>) {
        if !heard {
            out.fill(0.0);
        }
        self.meter.push(out, due);
        while let Some(metered) = self.meter.poll() {
            said.push(match metered {
                Metered::Level(reading) => Said::Level(reading),
                Metered::Silent => Said::Trouble { code: "sound.silent", text: silent() },
                Metered::Over { heard, lasted } => {
                    let what = if heard { "sound leaves again" } else { "no sound is due any more" };
                    let text = format!("{what}, after {} s of silence", (lasted + SECOND / 2) / SECOND);
                    Said::Mended { code: "sound.silent", text }
                }
            });
        }
    }
}

fn silent() -> String {
    format!(
        "a broadcast should be sounding, and what leaves has been below {} dBFS for {} s; look at the source, then at \
         this node's device",
        Meter::SILENT,
        Meter::PATIENCE / SECOND
    )
}

/// How often the device is served: half a step of slack beside the player's 100 ms.
const PERIOD: Duration = Duration::from_millis(10);
/// µs between reports to the player.
const REPORT: i64 = 50_000;
/// Chunks kept for measurements: 160 s of 10 ms steps.
const PLAYED: usize = 16_384;

#[cfg(test)]
#[path = "sound/tests.rs"]
mod tests;
