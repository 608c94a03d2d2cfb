//! What all speakers of a worker share: tracks, orders, counts.
use crate::ear::{Ear, Placed};
use crate::plan::{Cohort, Heard, Kind, Plan, Report, Tally};
use crate::speaker::Hot;
use crate::tracks::{Orders, Track, Verdict};
use loa::broadcast::{Broadcast, Order};
use loa::io::clock;
use loa::key::PublicKey;
use loa::time::Civil;
use loa::track::Secret;
use std::cell::RefCell;
use std::collections::BTreeMap;
use uuid::Uuid;

pub struct World {
    pub plan: Plan,
    pub tracks: Vec<Track>,
    /// Keys that came before their orders.
    early: BTreeMap<Uuid, Secret>,
    pub orders: Orders,
    pub report: Report,
    /// What is due in here counts, µs Unix UTC.
    window: Option<(i64, i64)>,
    random: u64,
    newest: Option<Uuid>,
    /// Sessions of hostile listeners that ended: kind and reason.
    pub cuts: BTreeMap<String, u64>,
    nacks: RefCell<[u64; 3]>,
}

impl World {
    pub fn new(plan: Plan, root: PublicKey) -> Self {
        let random = plan.seed ^ u64::from(plan.first) << 32 | 1;
        Self {
            plan,
            tracks: Vec::new(),
            early: BTreeMap::new(),
            orders: Orders::new(root),
            report: Report::default(),
            window: None,
            random,
            newest: None,
            cuts: BTreeMap::new(),
            nacks: RefCell::default(),
        }
    }

    pub fn tally(&mut self, cohort: Cohort) -> &mut Tally {
        &mut self.report.window[cohort as usize]
    }

    pub fn cut(&mut self, kind: Kind, reason: &str) {
        *self.cuts.entry(format!("{}: cut {reason}", kind.as_str())).or_default() += 1;
    }

    pub fn add_nacks(&self, cohort: Cohort, nacks: u64) {
        self.nacks.borrow_mut()[cohort as usize] += nacks;
    }

    /// A packet of sound for one of a speaker's ears: verified, placed, counted. `None`: it is not what it claims.
    pub fn take(&mut self, hot: &mut Hot, at: usize, index: u64, bytes: &[u8]) -> Option<Placed> {
        let ear = hot.ears.get_mut(at)?;
        let track = self.tracks.get_mut(ear.track)?;
        let tally = &mut self.report.window[hot.cohort as usize];
        let due = track.due(index);
        let counts = self.window.is_some_and(|(from, until)| due >= from && due < until);
        match track.verify(index, bytes, hot.itself) {
            Verdict::Compared => tally.compared += u64::from(counts),
            Verdict::Checked => tally.checked += u64::from(counts),
            Verdict::Stale => return None,
            Verdict::Forged | Verdict::Unknown => {
                tally.forged += 1;
                return None;
            }
        }
        let placed = ear.insert(index);
        let wall = clock::wall().0;
        hot.last = wall;
        tally.bytes += if counts { bytes.len() as u64 } else { 0 };
        if matches!(placed, Placed::Duplicate | Placed::Old) {
            tally.duplicates += u64::from(counts);
            return Some(placed);
        }
        let delay = wall - due;
        ear.usual += (delay.clamp(0, MOST_USUAL) - ear.usual) / 8;
        self.report.packets += 1;
        self.report.delivery.add(delay);
        if index >= ear.first() && counts {
            tally.delivery.add(delay);
        }
        Some(placed)
    }

    /// The tracks that a broadcast has now.
    pub fn broadcast(&mut self, order: &Order, broadcast: &Broadcast) -> Option<usize> {
        // One rendition for all, as nodes choose.
        let info = broadcast.renditions.first()?;
        if let Some(at) = self.tracks.iter().position(|track| track.info.id == info.id) {
            self.tracks[at].revise(broadcast.until + broadcast.delay, info.packets);
            return Some(at);
        }
        for old in self.tracks.iter_mut().filter(|track| track.broadcast == order.id) {
            old.over = old.over.min(clock::wall());
        }
        let mut track = Track::new(info.clone(), order.id, broadcast);
        if let Some(secret) = self.early.remove(&info.id) {
            track.key(&secret);
        }
        self.tracks.push(track);
        Some(self.tracks.len() - 1)
    }

    pub fn cancel(&mut self, broadcast: Uuid, at: Civil) {
        for track in self.tracks.iter_mut().filter(|track| track.broadcast == broadcast) {
            track.cancel(at);
        }
    }

    pub fn key(&mut self, track: Uuid, secret: &Secret) {
        match self.tracks.iter_mut().find(|known| known.info.id == track) {
            Some(known) => known.key(secret),
            None => {
                if self.early.len() >= EARLY {
                    self.early.pop_first();
                }
                self.early.insert(track, secret.clone());
            }
        }
    }

    /// A speaker begins to listen: from this packet on, or from the window's first.
    pub fn ear(&self, track: usize, from: u64) -> Ear {
        let known = &self.tracks[track];
        let mut ear = Ear::new(track, known.info.ssrc, from);
        if let Some((begin, _)) = self.window {
            ear.count_from(from.max(known.index_from(begin)));
        }
        ear
    }

    pub fn hold(&mut self, from: i64, hots: &mut [Option<Hot>]) {
        self.window = Some((from, i64::MAX));
        self.report.window = Default::default();
        *self.nacks.borrow_mut() = [0; 3];
        self.report.released = false;
        for ear in hots.iter_mut().flatten().flat_map(|hot| &mut hot.ears) {
            ear.count_from(self.tracks[ear.track].index_from(from));
        }
    }

    pub fn release(&mut self, until: i64) {
        if let Some((from, _)) = self.window {
            self.window = Some((from, until));
        }
    }

    /// Fills in what has come of the window until now: of what was due two seconds ago, or before its end.
    pub fn count(&mut self, hots: &[Option<Hot>]) {
        let nacks = self.nacks.replace([0; 3]);
        for (tally, nacks) in self.report.window.iter_mut().zip(nacks) {
            (tally.expected, tally.received) = (0, 0);
            tally.nacks += nacks;
        }
        let Some((_, until)) = self.window else { return };
        let settled = clock::wall().0 - SETTLED;
        for hot in hots.iter().flatten() {
            let tally = &mut self.report.window[hot.cohort as usize];
            for ear in &hot.ears {
                let track = &self.tracks[ear.track];
                let (expected, received) = ear.tally(track.index_from(until.min(settled).min(track.over.0)));
                tally.expected += expected;
                tally.received += received;
            }
        }
        self.report.released = settled >= until;
    }

    /// The last emergency or hush that any speaker has heard of.
    pub fn newest_order(&self) -> Option<Uuid> {
        self.newest
    }

    pub fn heard(&mut self, order: Uuid, hush: bool, arrival: i64, obeyed: i64) {
        self.newest = self.newest.max(Some(order));
        let known = self.report.orders.iter().position(|heard| heard.order == order);
        let at = known.unwrap_or_else(|| {
            self.report.orders.push(Heard { order, hush, ..Heard::default() });
            self.report.orders.len() - 1
        });
        let heard = &mut self.report.orders[at];
        heard.arrival.add(arrival);
        heard.obeyed.add(obeyed);
    }

    /// From 0 to below `most` (xorshift, seeded: a run can be repeated).
    pub fn jitter(&mut self, most: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % most.max(1).unsigned_abs()) as i64
    }
}

/// Of a packet's usual delay: beyond it the tree is broken rather than far.
const MOST_USUAL: i64 = 2_000_000;
/// What was due so long ago has come, with its repairs, or is lost to a listener. µs.
const SETTLED: i64 = 2_000_000;
/// Keys of orders that were refused or are on their way.
const EARLY: usize = 256;
