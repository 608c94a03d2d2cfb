//! What a profile may say.
use super::*;

const SMALL: &str = "[tree]\n[speakers]\ncount = 10\n[run]\nkind = \"hold\"\nseconds = 5\n";

fn refused(text: &str) -> String {
    Profile::parse(text, Path::new("config/load.toml")).unwrap_err().text
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_the_nearest_known_one() {
    let text = refused("[tree]\nrelais = 2\n[speakers]\ncount = 10\n[run]\nkind = \"hold\"\nseconds = 5\n");
    assert_eq!(text, "config/load.toml:2:1: unknown field relais; did you mean relays?");
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_line_and_the_mend() {
    let text = refused(&SMALL.replace("count = 10", "count = 0"));
    assert_eq!(text, "config/load.toml:3:1: speakers.count: must be at least 1");
    let text = refused(&SMALL.replace("\"hold\"", "\"storm\""));
    assert_eq!(text, "config/load.toml:5:1: run.kind: \"storm\" needs the section [storm]; add it");
    let text = refused(&format!("{SMALL}[thresholds]\nlost = 0\nhush_p99_ms = 1000\n"));
    assert!(text.starts_with("config/load.toml:9:1: thresholds.hush_p99_ms: is nothing that a run"), "{text}");
    assert!(refused(&SMALL.replace("[tree]\n", "")).contains("add [tree], or [attach]"));
}

#[test]
fn growth_must_rise() {
    let growth = SMALL.replace("hold", "growth");
    assert!(refused(&format!("{growth}[growth]\nlisteners = [100, 100]\n")).contains(":8:1: growth.listeners: must"));
    assert!(refused(&format!("{growth}[growth]\nlisteners = []\ntracks = []\n")).contains("has no step"));
    let text = format!("{growth}[growth]\nlisteners = [100, 500]\ntracks = [1, 40]\nlisteners_per_track = 20\n");
    let profile = Profile::parse(&text, Path::new("a.toml")).unwrap();
    assert_eq!((profile.most_speakers(), profile.most_tracks()), (800, 40));
}

#[test]
fn the_command_line_speaks_over_the_file() {
    let over = |text: &[&str]| {
        let overrides: Vec<String> = text.iter().map(ToString::to_string).collect();
        overridden(SMALL, Path::new("a.toml"), &overrides)
    };
    let profile = over(&["speakers.count=7", "run.seconds=2.5", "title=word", "speakers.hostile=0.1"]).unwrap();
    assert_eq!((profile.speakers.count, profile.run.seconds, profile.title.as_str()), (7, 2.5, "word"));
    assert_eq!(profile.hostile_kinds().len(), Hostile::ALL.len());
    let refused = |text: &str| over(&[text]).unwrap_err().to_string();
    assert_eq!(refused("speakers.count=0"), "a.toml with speakers.count=0 set: speakers.count: must be at least 1");
    assert!(refused("speakers.cuont=3").contains("unknown field"), "{}", refused("speakers.cuont=3"));
    assert!(refused("count").contains("is not key=value"));
    assert_eq!(over(&["speakers"]).unwrap_err().exit(), 2);
}

#[test]
fn hostile_speakers_are_for_a_hold_and_no_other_kind_drops_them_in_silence() {
    let hostile = SMALL.replace("count = 10", "count = 10\nhostile = 0.1");
    let emergency = refused(&hostile.replace("\"hold\"", "\"emergency\""));
    assert_eq!(
        emergency,
        "config/load.toml:4:1: speakers.hostile: is for kind = \"hold\" in [run]; change that or remove this"
    );
    // Another kind on the command line leaves out what only the profile's own knows, unless it is asked for there.
    let over = |text: &[&str]| {
        let overrides: Vec<String> = text.iter().map(ToString::to_string).collect();
        overridden(&hostile, Path::new("a.toml"), &overrides)
    };
    assert_eq!(over(&["run.kind=emergency"]).unwrap().speakers.hostile, 0.0);
    assert_eq!(over(&["run.kind=hold"]).unwrap().speakers.hostile, 0.1);
    assert!(
        over(&["run.kind=emergency", "speakers.hostile=0.2"]).unwrap_err().to_string().contains("speakers.hostile")
    );
}

#[test]
fn every_profile_that_ships_is_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("load-") {
            let profile = Profile::load(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert!(!profile.title.is_empty());
            names.push(name);
        }
    }
    assert!(names.len() >= 7, "{names:?}");
}

#[test]
fn a_way_to_misbehave_that_there_is_not_is_answered_with_those_there_are() {
    let text = refused(&SMALL.replace("count = 10", "count = 10\nhostile = 0.1\nkinds = [\"stalled\", \"rude\"]"));
    assert!(text.starts_with("config/load.toml:5:") && text.contains("rude"), "{text}");
    for kind in Hostile::ALL {
        assert!(text.contains(kind.as_str()), "{text}");
        let one = SMALL.replace("count = 10", &format!("count = 10\nhostile = 0.1\nkinds = [\"{}\"]", kind.as_str()));
        assert_eq!(Profile::parse(&one, Path::new("a.toml")).unwrap().speakers.kinds, [kind]);
    }
}

#[test]
fn growth_left_out_has_the_usual_steps_and_an_emergency_comes_three_times() {
    let text = format!("{}[growth]\n", SMALL.replace("hold", "growth"));
    let profile = Profile::parse(&text, Path::new("a.toml")).unwrap();
    assert_eq!((profile.most_speakers(), profile.most_tracks()), (50_000, 200));
    let emergency = SMALL.replace("hold", "emergency");
    assert_eq!(Profile::parse(&emergency, Path::new("a.toml")).unwrap().rounds(), 3);
    let once = Profile::parse(&format!("{emergency}[emergency]\nrounds = 1\n"), Path::new("a.toml")).unwrap();
    assert_eq!(once.rounds(), 1);
    assert!(refused(&format!("{emergency}[emergency]\nrounds = 0\n")).contains("emergency.rounds: must be 1 to"));
    assert!(refused(&format!("{SMALL}[emergency]\n")).contains("is for kind = \"emergency\""));
}
