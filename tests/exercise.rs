//! What is not real says so, to whoever begins to listen, and gives way to what is (DESIGN §7). On the simulator; a
//! failure prints its seed.

mod seed;

use loa::audio::{EXERCISE, TEST, tone_micros, words_micros};
use loa::broadcast::{Priority, Purpose, Tone};
use loa::sim::{Bulletin, Conditions, Heard, Hop, Tree, What, World};
use loa::time::SECOND;
use seed::each_seed;

/// ```text
///  origin vn ── relay vn/01 ─┬─ a
///                            ├─ b
///                            └─ late    switched off when the exercise begins
/// ```
fn world(seed: u64) -> World {
    let hop = Hop::both(Conditions::clean(20_000, 5_000));
    let mut tree = Tree::new(seed);
    tree.err_by(100.0).origin("origin", "vn").relay("relay", "vn/01", "origin", hop.clone());
    for name in ["a", "b", "late"] {
        tree.speaker(name, "vn/01/4", "relay", hop.clone());
    }
    let mut world = World::new(tree);
    world.run_for(20 * SECOND);
    world.kill("late");
    world
}

/// What sounds, each run of the same once: what it is, and µs from its first sample to its last.
fn runs(heard: &[Heard]) -> Vec<(What, f64, f64)> {
    let mut runs: Vec<(What, f64, f64)> = Vec::new();
    for one in heard.iter().filter(|heard| heard.what != What::Silence) {
        let what = if one.what == What::Concealed { What::Sound } else { one.what };
        let begins = what == What::Tone && one.sample == 0;
        match runs.last_mut().filter(|(last, ..)| *last == what && !begins) {
            Some((_, _, until)) => *until = one.left,
            None => runs.push((what, one.left, one.left)),
        }
    }
    runs
}

fn kinds(heard: &[Heard]) -> Vec<What> {
    runs(heard).into_iter().map(|(what, ..)| what).collect()
}

#[test]
fn the_stored_words_have_the_numbers_that_orders_name() {
    assert_eq!((EXERCISE, TEST), (Tone::EXERCISE, Tone::TEST));
    assert!(words_micros(EXERCISE).min(words_micros(TEST)) >= Tone::SAID);
}

#[test]
fn an_exercise_says_so_everywhere_at_once_and_again_to_whoever_comes_late() {
    each_seed(6, |seed| {
        for (priority, purpose, which) in [
            (Priority::Emergency, Purpose::Exercise, EXERCISE),
            (Priority::Normal, Purpose::Exercise, EXERCISE),
            (Priority::Priority, Purpose::Test, TEST),
        ] {
            let mut world = world(seed);
            let bulletin = Bulletin { priority, purpose, ..Bulletin::emergency("vn", 60 * SECOND) };
            world.air("origin", &bulletin).expect("on the air");
            world.run_for(20 * SECOND);
            world.start("late");
            world.run_for(60 * SECOND);
            let words = words_micros(which) as f64;
            for name in ["a", "b", "late"] {
                let runs = runs(world.heard(name));
                assert_eq!(runs.iter().map(|run| run.0).collect::<Vec<_>>(), [What::Tone, What::Sound], "{name}");
                let (_, from, until) = runs[0];
                assert!((until - from - words).abs() < 30_000.0, "{name}: {} of {words} µs", until - from);
            }
            let began = |name| runs(world.heard(name))[0].1;
            assert!((began("a") - began("b")).abs() < 5_000.0, "in step");
            assert!(began("late") > began("a") + 15e6, "it had been off");
        }
    });
}

#[test]
fn a_real_emergency_cuts_in_on_an_exercise_which_says_what_it_is_when_it_comes_back() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        let exercise = Bulletin { purpose: Purpose::Exercise, live: true, ..Bulletin::emergency("vn", 60 * SECOND) };
        world.air("origin", &exercise).expect("on the air");
        world.run_for(15 * SECOND);
        let real = world.air("origin", &Bulletin::emergency("vn/01", 10 * SECOND)).expect("on the air");
        world.run_for(70 * SECOND);
        for name in ["a", "b"] {
            let heard = kinds(world.heard(name));
            let [tone, sound] = [What::Tone, What::Sound];
            assert_eq!(heard, [tone, sound, tone, sound, tone, sound], "{name}");
            let alarm = runs(world.heard(name))[2];
            assert!((alarm.2 - alarm.1 - tone_micros() as f64).abs() < 30_000.0, "the alarm, not the words");
            let whole = world.heard(name).iter().filter(|heard| heard.track == Some(real.track)).count();
            assert!(whole > 900, "{name} sounded {whole} steps of the real one");
        }
    });
}

#[test]
fn no_exercise_cuts_in_on_what_is_real() {
    each_seed(6, |seed| {
        let mut world = world(seed);
        world.air("origin", &Bulletin::emergency("vn", 30 * SECOND)).expect("on the air");
        world.run_for(10 * SECOND);
        let exercise = Bulletin { purpose: Purpose::Exercise, ..Bulletin::emergency("vn", 10 * SECOND) };
        world.air("origin", &exercise).expect("it is kept, and waits");
        world.run_for(10 * SECOND);
        assert_eq!(kinds(world.heard("a")), [What::Tone, What::Sound]);
    });
}
