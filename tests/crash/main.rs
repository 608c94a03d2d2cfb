//! Power cuts at a thousand points of seeded histories of a real store: whatever was promised is there afterwards, nothing
//! is there twice or in half, the store opens, and a node that is restored from it comes to the same book.
//!
//! `LOA_CRASHES=100000` makes it long; a failure prints its seed, and `LOA_SEED` repeats it.
#[path = "../forged/dice.rs"]
#[expect(dead_code, reason = "the forged sequences draw more from it")]
mod dice;
mod disk;
mod history;
#[path = "../seed/mod.rs"]
mod seed;

use dice::Dice;
use disk::Disk;
use history::{NOW, Orders, PACKETS, Sound};
use loa::io::store::{Act, Edge, Store};
use loa::node::Role;
use loa::node::trunk::{Daylight, Input, Log, Options, Output, Reply, Request, What, Wished};
use loa::proto::Record;
use loa::session;
use loa::time::{Local, SECOND};
use loa::track::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use uuid::Uuid;

/// What a node does with its store.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Append(Vec<Record>),
    /// The journal, of the same records.
    Rewrite,
    Keep(Uuid, Vec<u64>),
    Settle(Uuid),
    Forget(Uuid),
}

/// A history, as it came to pass.
#[derive(Clone, Debug)]
enum Entry {
    Begins(Step),
    Act(Act),
    Ends(Step),
}

/// What must be there after a power cut.
#[derive(Clone, Debug, Default)]
struct Promise {
    records: Vec<Record>,
    /// All of which may be there, or none.
    asked: Vec<Record>,
    /// By track: written, and promised.
    kept: BTreeMap<Uuid, BTreeSet<u64>>,
    settled: BTreeMap<Uuid, BTreeSet<u64>>,
}

impl Promise {
    fn handle(&mut self, entry: &Entry) {
        match entry {
            Entry::Begins(Step::Append(records)) => self.asked.clone_from(records),
            Entry::Ends(Step::Append(_)) => self.records.append(&mut self.asked),
            Entry::Begins(Step::Forget(track)) => drop(self.settled.remove(track)),
            Entry::Ends(Step::Forget(track)) => drop(self.kept.remove(track)),
            Entry::Ends(Step::Keep(track, indices)) => self.kept.entry(*track).or_default().extend(indices),
            Entry::Ends(Step::Settle(track)) => {
                let kept = self.kept.get(track).cloned().unwrap_or_default();
                self.settled.insert(*track, kept);
            }
            Entry::Begins(_) | Entry::Act(_) | Entry::Ends(Step::Open | Step::Rewrite) => {}
        }
    }
}

/// A store on a folder of its own, and what came to pass with it.
struct Life {
    folder: TempDir,
    log: Arc<Mutex<Vec<Entry>>>,
    store: Option<Store>,
    /// As the folder was when the power came back.
    before: Disk,
    promised: Promise,
}

impl Life {
    /// On what a power cut has left, or on nothing. Whatever it left, the store opens.
    fn new(folder: TempDir, promised: Promise, sound: &Sound) -> Self {
        let before = Disk::of(folder.path());
        let mut life = Self { folder, log: Arc::default(), store: None, before, promised };
        life.step(Step::Open, sound);
        life
    }

    fn step(&mut self, step: Step, sound: &Sound) {
        let note = |entry| self.log.lock().unwrap().push(entry);
        note(Entry::Begins(step.clone()));
        let log = self.log.clone();
        match &step {
            Step::Open => {
                self.store = None;
                let edge = Edge::watched(Arc::new(move |act| log.lock().unwrap().push(Entry::Act(act))));
                self.store = Some(Store::open_by(edge, self.folder.path()).expect("the store opens"));
            }
            Step::Append(records) => self.store().append(records).unwrap(),
            Step::Keep(track, indices) => {
                let packets: Vec<_> =
                    indices.iter().map(|index| sound.tracks[track][*index as usize].clone()).collect();
                self.store().keep(*track, &packets).unwrap();
            }
            Step::Rewrite => drop(self.store().rewrite(|records| records).unwrap()),
            Step::Settle(track) => self.store().settle(*track).unwrap(),
            Step::Forget(track) => self.store().forget(*track).unwrap(),
        }
        let note = |entry| self.log.lock().unwrap().push(entry);
        note(Entry::Ends(step));
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    /// Some steps, as they come in a node's life.
    fn live(&mut self, dice: &mut Dice, orders: &mut Orders, sound: &Sound) {
        let tracks: Vec<Uuid> = sound.tracks.keys().copied().collect();
        for _ in 0..3 + dice.below(STEPS) {
            let track = *dice.pick(&tracks).unwrap();
            let step = match dice.below(13) {
                0..5 => Step::Append(orders.draw(dice)),
                5..8 => {
                    let (from, count) = (dice.below(PACKETS), 1 + dice.below(30));
                    Step::Keep(track, (from..(from + count).min(PACKETS)).collect())
                }
                8..10 => Step::Settle(track),
                10 => Step::Forget(track),
                11 => Step::Rewrite,
                _ => Step::Open,
            };
            self.step(step, sound);
        }
    }

    /// The disk and what was promised after the first `until` entries of the history.
    fn at(&self, until: usize) -> (Disk, Promise) {
        let (mut disk, mut promise) = (self.before.clone(), self.promised.clone());
        for entry in &self.log.lock().unwrap()[..until] {
            promise.handle(entry);
            if let Entry::Act(act) = entry {
                disk.handle(self.folder.path(), act);
            }
        }
        (disk, promise)
    }

    fn length(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}

/// Opens what a power cut has left, and looks. Returns what is there: that is on the disk.
fn check(folder: &Path, promise: &Promise, sound: &Sound, restored: bool) -> Promise {
    let store = Store::open(folder).unwrap_or_else(|error| panic!("the store does not open: {error}"));
    let records = store.journal().unwrap_or_else(|error| panic!("the journal cannot be read: {error}"));
    let promised = promise.records.len();
    assert!(records.len() >= promised, "{} of {promised} records that were promised are there", records.len());
    assert!(records[..promised] == promise.records[..], "other records than were promised");
    let more = &records[promised..];
    assert!(
        more.is_empty() || *more == promise.asked,
        "{} of {} that were asked for together",
        more.len(),
        promise.asked.len()
    );
    if restored {
        let expected: Vec<Record> = promise.records.iter().chain(&promise.asked[..more.len()]).cloned().collect();
        assert_eq!(book(records.clone()), book(expected));
    }
    let mut found = BTreeMap::new();
    for track in sound.tracks.keys() {
        let packets = store.fetch(*track, 0, u64::MAX).unwrap();
        packets.iter().for_each(|packet| sound.check(*track, packet));
        assert!(packets.windows(2).all(|pair| pair[0].index < pair[1].index), "a packet stands twice");
        let indices: BTreeSet<u64> = packets.iter().map(|packet| packet.index).collect();
        let settled = promise.settled.get(track).cloned().unwrap_or_default();
        let lost: Vec<_> = settled.difference(&indices).collect();
        assert!(lost.is_empty(), "packets that were promised are lost: {lost:?}");
        found.insert(*track, indices);
    }
    Promise { records, asked: Vec::new(), kept: found.clone(), settled: found }
}

/// What a node makes of a journal: its broadcasts, its grants; it takes every order.
fn book(records: Vec<Record>) -> String {
    let options = Options {
        node: history::node(),
        role: Role::Relay,
        parents: Vec::new(),
        siblings: Vec::new(),
        both: false,
        branches: 0,
        playout: None,
        session: session::child::Options::default(),
        roots: vec![history::root().public()],
        authority: Some(history::own()),
        log: Log { track: Uuid::from_u128(1), ssrc: 1, secret: Secret { key: [1; 16], salt: [1; 12] } },
        seed: [3; 32],
        tick: 10 * SECOND,
        rendition: Wished::default(),
        daylight: Daylight::in_zone(0),
        issuer: false,
        backed: false,
        stored: u64::MAX,
        instance: 1,
    };
    let mut trunk = loa::node::Trunk::new(Local(0), options);
    trunk.handle_input(Local(0), Input::Restore(records));
    trunk.handle_input(Local(1), Input::Wall { civil: NOW, uncertainty: 100 });
    for (id, request) in [(1, Request::Broadcasts), (2, Request::Authorities)] {
        trunk.handle_input(Local(2), Input::Request { id, request });
    }
    let mut said = String::new();
    while let Some(output) = trunk.poll_output() {
        match output {
            Output::Reply { reply: Reply::Broadcasts(all), .. } => said += &format!("{all:#?}"),
            Output::Reply { reply: Reply::Authorities(all, locks), .. } => said += &format!("{all:#?}{locks:#?}"),
            Output::Event(event) => {
                assert!(!matches!(event.what, What::Refused { .. }), "an order of the journal is refused: {event:?}");
            }
            _ => {}
        }
    }
    said
}

/// A folder for real files; in memory where there is one, since what a sync promises is this test's to say.
fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn crashes() -> u64 {
    std::env::var("LOA_CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000)
}

#[test]
fn whatever_was_promised_outlasts_a_power_cut_at_any_point_and_nothing_is_there_twice_or_in_half() {
    let sound = Sound::new();
    seed::each_seed(crashes().div_ceil(CUTS), |number| {
        let dice = &mut Dice::new(number);
        let mut orders = Orders::new();
        let mut life = Life::new(folder(), Promise::default(), &sound);
        let first = orders.first();
        life.step(Step::Append(first), &sound);
        life.live(dice, &mut orders, &sound);
        life.at(life.length()).0.check(life.folder.path());
        for cut in 0..CUTS {
            let (disk, promise) = life.at(dice.below(life.length() as u64 + 1) as usize);
            let left = folder();
            disk.cut_power(dice, left.path());
            // A copy, which nobody has opened yet: all of it is certain now.
            let again = folder();
            Disk::of(left.path()).cut_power(dice, again.path());
            let found = check(left.path(), &promise, &sound, cut == 0);
            // Every few cuts the node lives on with what it found, and loses its power again.
            if cut % 4 == 3 {
                life = Life::new(again, found, &sound);
                life.live(dice, &mut orders, &sound);
                life.at(life.length()).0.check(life.folder.path());
            }
        }
    });
}

/// Power cuts of each seed.
const CUTS: u64 = 10;
/// Steps between two power cuts, at most, beside three.
const STEPS: u64 = 25;
