//! Nothing but what is signed, in force and meant for a place is ever heard there, written down or passed on, whatever
//! the parent says: sequences of true and false orders and packets, drawn from a seed, played to whole nodes in
//! virtual time and judged by an oracle that knows of each item who made it.
//!
//! ```sh
//! cargo test --test forged                                               # the short run of tools/test
//! LOA_SEQUENCES=1000000 cargo test --test forged -- --nocapture          # a million
//! LOA_SEED=20261122007 LOA_SEQUENCES=1 cargo test --test forged          # the world that a failure names, alone
//! ```
//!
//! A world is one node below one parent, and one minute of a true programme: broadcasts of each priority, tones,
//! cancels (one before its broadcast), hushes, a right that is taken. Between its items stand [`SEQUENCES`] sequences of
//! one to eight false ones; what one of them leaves behind in the node is what the next one meets. What is judged:
//!
//! | | |
//! |---|---|
//! | the plan of playout | true sound of a broadcast that was given, within its time, to the 25th ms at its instant; not cancelled, not hushed; a tone of such an emergency |
//! | what goes to those below | packets as their maker sealed them, orders as their authority signed them, true keys |
//! | what is written down | such orders alone, and the true time |
//! | what should sound | does, in nine of ten steps at least: false orders silence nobody |

mod country;
mod dice;
mod items;
mod oracle;
mod pool;
mod programme;
mod world;

use dice::Dice;
use items::Item;
use loa::time::{MILLISECOND, SECOND};
use pool::Pool;
use programme::{LENGTH, Programme};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use world::World;

/// In one world.
const SEQUENCES: u64 = 400;
/// Without LOA_SEQUENCES.
const SHORT: u64 = 60_000;
const PROGRAMMES: u64 = 8;

/// What worlds have seen.
#[derive(Default)]
struct Tally {
    sequences: u64,
    items: BTreeMap<Item, u64>,
    sound: u64,
    tones: u64,
    refused: BTreeMap<String, u64>,
}

#[test]
fn of_a_million_false_sequences_none_is_heard_written_down_or_passed_on() {
    let first = number("LOA_SEED").unwrap_or(20_261_122_000);
    let worlds = number("LOA_SEQUENCES").unwrap_or(SHORT).div_ceil(SEQUENCES);
    let programmes: Vec<Programme> = (0..PROGRAMMES).map(Programme::new).collect();
    let pools: Vec<Pool> = programmes.iter().map(|programme| Pool::new(bulletin(programme))).collect();
    let (next, tally, wrong) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + worlds || !lock(&wrong).is_empty() {
                        return;
                    }
                    let at = (seed % PROGRAMMES) as usize;
                    let ended = catch_unwind(AssertUnwindSafe(|| minute(seed, &programmes[at], &pools[at])));
                    match ended {
                        Ok(Ok(seen)) => lock(&tally).add(seen),
                        Ok(Err(text)) => lock(&wrong).push(format!("LOA_SEED={seed}: {text}")),
                        Err(_) => lock(&wrong).push(format!("LOA_SEED={seed}: panicked, see above")),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} sequences: {:?}", tally.sequences, tally.items);
    println!("{} steps of true sound, {} of tones; refused {:?}", tally.sound, tally.tones, tally.refused);
    tally.check(worlds);
}

/// One world. `Err`: what was wrong, after which sequence and item.
fn minute(seed: u64, programme: &Programme, pool: &Pool) -> Result<Tally, String> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(programme, &pool.lies);
    let mut tally = Tally::default();
    world.run_until(SECOND);
    for sequence in 0..SEQUENCES {
        // The minute goes by evenly, whatever the sequences before took of it.
        let due = SECOND + (LENGTH - 2 * SECOND) * sequence as i64 / SEQUENCES as i64;
        world.run_until(due + dice.between(0, 50 * MILLISECOND));
        for _ in 0..1 + dice.below(8) {
            let item = items::draw(&mut dice);
            if items::play(&mut world, pool, &mut dice, item) {
                *tally.items.entry(item).or_default() += 1;
            }
            let wait = if dice.one_in(2) { 0 } else { dice.between(0, 12 * MILLISECOND) };
            world.run_until(world.now + wait);
            if let Some(text) = world.oracle.wrong.take() {
                return Err(format!("sequence {sequence}, {item:?}, at {} µs: {text}", world.now));
            }
        }
        tally.sequences += 1;
    }
    world.run_until(LENGTH + 2 * SECOND);
    let oracle = &world.oracle;
    if let Some(text) = &oracle.wrong {
        return Err(format!("after all sequences: {text}"));
    }
    if oracle.sounded * 10 < oracle.expected * 9 {
        return Err(format!("of {} steps that had to sound {} did", oracle.expected, oracle.sounded));
    }
    (tally.sound, tally.tones) = (oracle.sound, oracle.tones);
    let counters = world.counters();
    tally.refused.extend(counters.orders_rejected.iter().map(|(code, count)| ((*code).to_owned(), *count)));
    tally.refused.extend(counters.packets_rejected.iter().map(|(reject, count)| (reject.to_string(), *count)));
    Ok(tally)
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.sequences += other.sequences;
        self.sound += other.sound;
        self.tones += other.tones;
        other.items.into_iter().for_each(|(item, count)| *self.items.entry(item).or_default() += count);
        other.refused.into_iter().for_each(|(code, count)| *self.refused.entry(code).or_default() += count);
    }

    /// That something was tried at all, and true sound heard beside it.
    fn check(&self, worlds: u64) {
        assert!(self.sound > 1_000 * worlds, "{} steps of sound in {worlds} worlds", self.sound);
        if worlds < 20 {
            return;
        }
        assert!(self.tones > 10 * worlds, "{} steps of tones in {worlds} worlds", self.tones);
        let reasons = [
            "order.malformed",
            "order.signature",
            "order.grant_expired",
            "order.revoked",
            "order.scope",
            "order.future",
            "order.expired",
            "order.replayed",
            "malformed",
            "unknown_ssrc",
            "wrong_index",
            "tag",
            "seal",
            "out_of_window",
        ];
        for reason in reasons {
            let count = self.refused.get(reason).copied().unwrap_or(0);
            assert!(count >= worlds / 4, "only {count} times refused for {reason}: {:?}", self.refused);
        }
        assert!(self.items.len() >= 35, "not every kind of item was tried: {:?}", self.items);
    }
}

/// The broadcast that is on for the whole minute.
fn bulletin(programme: &Programme) -> uuid::Uuid {
    *programme.broadcasts.keys().next().expect("a programme has broadcasts")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
