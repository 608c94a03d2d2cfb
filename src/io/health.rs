//! What goes wrong around a node while it runs, each thing told once when it begins and once when it is over: the
//! disk, the machine's clock, the certificate, parents that stay away. Nothing here stops the node.
use super::certify::Dates;
use super::clock;
use super::disk::{self, Room};
use super::examine::{Examined, Verdict, examine};
use super::identity::{self, Identity};
use super::queue;
use super::sound::Said;
use super::trunk::State;
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the thread looks after.
pub struct Setup {
    pub data: PathBuf,
    pub identity: Arc<Identity>,
    /// A certificate that was asked for.
    pub certified: Receiver<Vec<Bytes>>,
    /// 0: a root origin, whose wall clock is the tree's time.
    pub parents: usize,
    pub state: Arc<Mutex<State>>,
    pub reports: queue::Sender<Said>,
    /// The thread ends when its sender is dropped.
    pub end: Receiver<()>,
}

/// Starts the thread.
pub fn start(setup: Setup) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("health".into()).spawn(move || run(setup))
}

fn run(mut setup: Setup) {
    let mut health = Health::default();
    let (mut certificate, mut issuer) = (None, None);
    let mut renewal = Renewal::default();
    for turn in 0u64.. {
        let mut renewed = false;
        for chain in setup.certified.try_iter() {
            renewed |= renewal.take(&setup, &chain);
        }
        if turn.is_multiple_of(CERTIFICATE) || renewed {
            certificate = Identity::load(&setup.data).map_err(|error| error.to_string()).into();
            issuer = identity::office_until(&setup.data).unwrap_or_default();
        }
        let (civil, sessions) = {
            let state = setup.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.civil, state.trunk.parents)
        };
        let wall = clock::wall();
        let seen = Seen {
            room: disk::room(&setup.data),
            wall,
            civil,
            parents: setup.parents,
            sessions,
            certificate: match &certificate {
                Some(Ok(identity)) => Ok(examine(identity, wall)),
                Some(Err(why)) => Err(why.clone()),
                None => Err(String::new()),
            },
            issuer,
        };
        if let (Ok(examined), true) = (&seen.certificate, setup.parents == 0 || sessions > 0)
            && let Some(asked) = renewal.look(clock::local(), told(wall, civil), &setup.identity, examined)
        {
            setup.reports.send(asked);
        }
        for said in health.look(clock::local(), &seen) {
            match &said {
                Said::Trouble { code, text } => tracing::error!(code, "{text}"),
                Said::Mended { code, text } => tracing::info!(code, "{text}"),
                Said::Device(_) | Said::Level(_) | Said::Switch(_) | Said::Renew { .. } => {}
            }
            setup.reports.send(said);
        }
        setup.reports.flush();
        match setup.end.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The time as this machine has it, or else as the tree does: a board without a battery knows no other.
fn told(wall: Civil, civil: Option<Civil>) -> Option<Civil> {
    if wall >= clock::EARLIEST { Some(wall) } else { civil }
}

/// This node's certificate, half of whose time is over.
#[derive(Default)]
struct Renewal {
    asked: Option<Local>,
}

impl Renewal {
    /// What to ask for, if it is time.
    fn look(&mut self, now: Local, wall: Option<Civil>, identity: &Identity, examined: &Examined) -> Option<Said> {
        let dates = Dates { from: examined.from, until: examined.until };
        let due =
            examined.verdict == Verdict::Holds && wall.is_some_and(|wall| wall >= dates.renewed_at(identity.node));
        if !due || self.asked.is_some_and(|asked| now - asked < ASK_AGAIN) {
            return None;
        }
        self.asked = Some(now);
        let (key, proof, chain) = identity.ask_again()?;
        tracing::info!("asking for a new certificate: half of this one's time is over");
        Some(Said::Renew { key, proof, chain })
    }

    /// Whether the folder has a new one now.
    fn take(&mut self, setup: &Setup, chain: &[Bytes]) -> bool {
        match setup.identity.renew(&setup.data, chain) {
            Ok(until) => {
                tracing::info!(until = until.0 / SECOND, "node.crt was renewed");
                true
            }
            Err(error) => {
                tracing::warn!(code = "certificate.renewal", %error, "a new certificate came and cannot be used");
                false
            }
        }
    }
}

/// One look around.
struct Seen {
    room: io::Result<Room>,
    wall: Civil,
    /// The tree's time, where it is trusted.
    civil: Option<Civil>,
    /// Configured, and those that answer.
    parents: usize,
    sessions: u64,
    certificate: Result<Examined, String>,
    /// Until when it may certify others, if it may.
    issuer: Option<Civil>,
}

/// What stands, and what is needed to tell that it does.
#[derive(Default)]
struct Health {
    standing: BTreeMap<&'static str, Local>,
    /// The two clocks at the last look.
    clocks: Option<(Local, Civil)>,
    jumped: Option<(Local, i64)>,
    alone: Option<Local>,
}

impl Health {
    /// What has begun and what is over since the last look.
    fn look(&mut self, now: Local, seen: &Seen) -> Vec<Said> {
        let mut found = BTreeMap::new();
        disk_of(seen, &mut found);
        certificate_of(seen, &mut found);
        issuer_of(seen, &mut found);
        self.clock_of(now, seen, &mut found);
        self.parents_of(now, seen, &mut found);
        let mut said = Vec::new();
        let over: Vec<_> = self.standing.keys().copied().filter(|code| !found.contains_key(code)).collect();
        for code in over {
            let began = self.standing.remove(code).unwrap_or(now);
            let text = format!("over, after {} s", (now - began + SECOND / 2) / SECOND);
            said.push(Said::Mended { code, text });
        }
        for (code, text) in found {
            if !self.standing.contains_key(code) {
                self.standing.insert(code, now);
                said.push(Said::Trouble { code, text });
            }
        }
        said
    }

    fn clock_of(&mut self, now: Local, seen: &Seen, found: &mut BTreeMap<&'static str, String>) {
        if seen.wall < clock::EARLIEST {
            let text = "this machine's clock is not set (it says a year before 2025), so certificates are checked \
                        without their dates; let NTP set it, or replace its battery";
            found.insert("clock.unset", text.to_owned());
        }
        if let Some((then, wall)) = self.clocks.replace((now, seen.wall)) {
            let leap = (seen.wall - wall) - (now - then);
            if leap.abs() > LEAP {
                self.jumped = Some((now, leap));
            }
        }
        self.jumped = self.jumped.filter(|(at, _)| now - *at < CALM);
        if let Some((_, leap)) = self.jumped {
            let text = format!(
                "this machine's clock jumped by {} ms; sound keeps its own time. Let one NTP service alone set it, by slewing",
                leap / MILLISECOND
            );
            found.insert("clock.jumped", text);
        }
        // A root origin's own is the trunk's to tell: clock.stepped.
        if let (Some(civil), true) = (seen.civil, seen.parents > 0 && seen.wall >= clock::EARLIEST) {
            let off = seen.wall - civil;
            if off.abs() > OFF {
                let text = format!(
                    "this machine's clock is {} s off the tree's time, which sound follows; certificates and logs go \
                     by the machine's: let NTP set it",
                    off / SECOND
                );
                found.insert("clock.off", text);
            }
        }
    }

    fn parents_of(&mut self, now: Local, seen: &Seen, found: &mut BTreeMap<&'static str, String>) {
        if seen.parents == 0 || seen.sessions > 0 {
            self.alone = None;
            return;
        }
        let since = *self.alone.get_or_insert(now);
        if now - since >= ALONE {
            let text = "no parent has answered for a minute; what is stored here goes on, and every parent is dialled \
                        again and again. `loa doctor` says what is in the way";
            found.insert("parent.lost", text.to_owned());
        }
    }
}

fn disk_of(seen: &Seen, found: &mut BTreeMap<&'static str, String>) {
    match &seen.room {
        Err(error) => {
            let text = format!("the data folder cannot be reached ({error}); see the disk and its mount");
            found.insert("disk.gone", text);
        }
        Ok(room) if room.read_only => {
            let text = "the data folder's disk is read-only, often after a fault: orders are acted on, and forgotten at \
                        a restart; see `dmesg`, replace the disk or mount it for writing";
            found.insert("disk.read_only", text.to_owned());
        }
        Ok(room) if room.is_short() => {
            let text = format!(
                "the data folder's disk has {} MiB and {} files left; delete what is not needed there, or give it more",
                room.free >> 20,
                room.files.map_or("any number of".to_owned(), |files| files.to_string())
            );
            found.insert("disk.full", text);
        }
        Ok(_) => {}
    }
}

fn certificate_of(seen: &Seen, found: &mut BTreeMap<&'static str, String>) {
    let examined = match &seen.certificate {
        Ok(examined) => examined,
        Err(why) => {
            let text = format!("the node's identity cannot be read any more ({why}); a restart would fail");
            found.insert("certificate.unusable", text);
            return;
        }
    };
    let left = (examined.until - seen.wall) / DAY;
    let (code, text) = match &examined.verdict {
        Verdict::Holds if left < SOON && seen.wall >= clock::EARLIEST => {
            ("certificate.expires", format!("node.crt ends in {left} days; enrol the node anew before"))
        }
        Verdict::Holds => return,
        Verdict::Expired => (
            "certificate.expired",
            "node.crt has ended, so no new session is taken; enrol the node anew, or set the machine's clock"
                .to_owned(),
        ),
        Verdict::NotYet => (
            "certificate.not_yet",
            "node.crt holds from a later day: this machine's clock is behind; let NTP set it".to_owned(),
        ),
        Verdict::Foreign(why) => {
            ("certificate.foreign", format!("node.crt is not of the folder's roots ({why}); enrol the node anew"))
        }
        Verdict::WrongKey => (
            "certificate.unusable",
            "node.key is not the key of node.crt; put the pair back together, or enrol the node anew".to_owned(),
        ),
        Verdict::Unusable(why) => ("certificate.unusable", format!("node.crt: {why}; enrol the node anew")),
    };
    found.insert(code, text);
}

fn issuer_of(seen: &Seen, found: &mut BTreeMap<&'static str, String>) {
    let Some(left) = seen.issuer.map(|until| until - seen.wall) else { return };
    if left < ISSUER_SOON && seen.wall >= clock::EARLIEST {
        let when = if left < 0 { "has ended".to_owned() } else { format!("ends in {} days", left / DAY) };
        let text = format!(
            "issuer.crt {when}: from then on this node lets no board in and renews no certificate; renew it with \
             `loa enrol --root FILE --renew FOLDER --issuer`"
        );
        found.insert("issuer.expires", text);
    }
}

/// How often a look is taken: a full disk must show before the next bulletin.
const EVERY: Duration = Duration::from_secs(5);
/// In so many looks the certificate is read again: five minutes.
const CERTIFICATE: u64 = 60;
/// µs until a certificate that has not come is asked for again.
const ASK_AGAIN: i64 = 600 * SECOND;
/// µs between the two clocks in one look: more than NTP slews in it, and than a thread is held up.
const LEAP: i64 = SECOND;
/// µs without a jump until one is over.
const CALM: i64 = 60 * SECOND;
/// µs off the tree's time: more than any path's asymmetry.
const OFF: i64 = 5 * SECOND;
/// µs without any parent: longer than a parent takes to start anew.
const ALONE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;
/// µs before its end at which an issuer's certificate is told of: a root lies in a safe, far away.
const ISSUER_SOON: i64 = 90 * DAY;
/// Days before its end at which a certificate is told of.
const SOON: i64 = 14;

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
