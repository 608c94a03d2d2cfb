//! One speaker and several, in virtual time.
use super::model::{ACROSS, Heard, Speaker, TICK, World, world_civil};
use super::*;
use crate::audio::Content;
use crate::broadcast::{Priority, Tone};
use crate::key::PublicKey;
use crate::time::{Civil, Local};
use crate::track::{Info, Sound};
use std::sync::Arc;
use uuid::Uuid;

const DELAY: i64 = 1_000_000;
const DURATION: u32 = 11_520;

fn program(number: u128, priority: Priority, anchor: i64, packets: Option<u64>) -> Program {
    Program {
        broadcast: Uuid::from_u128(number),
        priority,
        track: Info {
            id: Uuid::from_u128(number + 100),
            sign: PublicKey([0; 32]),
            ssrc: number as u32,
            duration: DURATION,
            anchor: world_civil(anchor),
            key_hash: [0; 32],
            bitrate: 24_000,
            packets,
        },
        delay: DELAY,
        until: world_civil(anchor + 10_000_000_000),
        tone: None,
    }
}

fn sound(index: u64) -> Arc<Sound> {
    Arc::new(Sound { index, time: Civil(0), records: Vec::new() })
}

/// Hands the speaker what it wants of a stored track, except packets that `lost` names.
fn feed(speaker: &mut Speaker, time: i64, track: Uuid, lost: impl Fn(u64) -> bool) {
    let now = speaker.local(time);
    for index in speaker.player.wants(now, track).into_iter().flatten().filter(|&index| !lost(index)) {
        speaker.player.handle_sound(now, track, sound(index));
    }
}

fn begin(program: &Program) -> i64 {
    program.speech() - world_civil(0)
}

fn play(world: &mut World, speakers: &mut [Speaker], program: &Program, from: i64, until: i64) {
    for time in (from..until).step_by(TICK as usize) {
        for speaker in speakers.iter_mut() {
            speaker.tick(world, time);
            if time % 100_000 == 0 {
                let now = speaker.local(time);
                speaker.player.handle_program(now, Some(program.clone()));
                feed(speaker, time, program.track.id, |_| false);
            }
        }
    }
}

#[test]
#[ignore]
fn figures() {
    let mut early = Vec::new();
    let mut late = Vec::new();
    for seed in 0..20 {
        let mut world = World::new(seed);
        let mut speakers = [Speaker::new(&mut world, 0), Speaker::new(&mut world, 0)];
        let p = program(1, Priority::Normal, 0, None);
        play(&mut world, &mut speakers, &p, 0, 600_000_000);
        let curve = |s: &Speaker| -> Vec<(i64, f64)> {
            s.card.heard.iter().filter_map(|h| Some(((h.time / 1e6) as i64, h.late(begin(&p), DURATION)?))).collect()
        };
        let a: std::collections::BTreeMap<i64, f64> = curve(&speakers[0]).into_iter().collect();
        let b: std::collections::BTreeMap<i64, f64> = curve(&speakers[1]).into_iter().collect();
        for (s, x) in &a {
            if let Some(y) = b.get(s) {
                if *s < 180 { early.push((x - y).abs()) } else { late.push((x - y).abs()) }
            }
        }
        eprintln!("{seed}: {:?} {:?}", speakers[0].events, speakers[0].player.counters());
    }
    for v in [&mut early, &mut late] {
        v.sort_by(f64::total_cmp);
        eprintln!(
            "p50 {} p90 {} p99 {} max {}",
            v[v.len() / 2],
            v[v.len() * 9 / 10],
            v[v.len() * 99 / 100],
            v[v.len() - 1]
        );
    }
}
