//! The unit files: systemd itself reads them, and says how much a node could do if it were taken over.
use super::place::text;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const UNIT: &str = include_str!("../../config/systemd/loa.service");

/// systemd-analyze on the unit, as it would be with this program installed; `None` where there is no systemd.
fn analyze(words: &[&str]) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("loa.service");
    fs::write(&unit, UNIT.replace("/usr/local/bin/loa", env!("CARGO_BIN_EXE_loa"))).unwrap();
    let output = Command::new("systemd-analyze").args(words).arg(&unit).env("SYSTEMD_COLORS", "0").output();
    match output {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn systemd_takes_the_unit_as_it_stands() {
    let Some(output) = analyze(&["verify"]) else { return };
    let said = text(&output.stderr);
    // Other units of the machine that runs this are not ours to mend.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("loa.service")).collect();
    assert!(ours.is_empty() && output.status.success(), "{said}");
}

#[test]
fn a_node_that_is_taken_over_can_do_little() {
    let Some(output) = analyze(&["security", "--offline=true", "--no-pager"]) else { return };
    let said = text(&output.stdout);
    let exposure = said.lines().find_map(|line| line.split_once("Overall exposure level for loa.service: "));
    let exposure = exposure.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    let exposure = exposure.unwrap_or_else(|| panic!("no figure:\n{said}{}", text(&output.stderr)));
    println!("exposure of loa.service: {exposure}");
    assert!(exposure <= MOST, "{exposure}:\n{said}");
}

#[test]
fn the_unit_names_what_the_program_and_its_examples_have() {
    for needed in
        ["Type=notify", "WatchdogSec=", "ExecReload=/bin/kill -HUP $MAINPID", "StateDirectory=loa", "Restart=always"]
    {
        assert!(UNIT.contains(needed), "{needed}");
    }
    for example in ["origin", "relay", "speaker"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{example}.toml"));
        assert!(fs::read_to_string(file).unwrap().contains("data = \"/var/lib/loa\""), "{example}");
    }
}

/// Of 10; systemd calls up to 2 "OK", and what lies below "safe".
const MOST: f64 = 2.0;
