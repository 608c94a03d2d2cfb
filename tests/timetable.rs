//! `loa timetable` and `loa area` on the shipped examples, as a person and a program read them.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ENTRIES: &str = "config/timetable/entries.json";
const REGISTER: &str = "config/areas-vn.csv";

fn loa(language: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("LC_ALL").env("LANG", language);
    command.args(words).output().expect("loa runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn planned(more: &[&str]) -> Output {
    let policies = ["--policies", "config/timetable/policies.json"];
    let words = ["timetable", ENTRIES, "--register", REGISTER, "--from", "2026-11-23"];
    loa("C", &[&words[..], &policies, more].concat())
}

#[test]
fn a_dry_run_lists_what_sounds_what_is_refused_why_and_when_it_could() {
    let done = planned(&["--area", "vn/01,vn/48"]);
    let table = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "something is refused\n{table}");
    let line = |words: &[&str]| table.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["vn/01", "06:40:00", "07:10:00", "Thời sự quốc gia", "sounds"]), "{table}");
    // Five minutes behind what has the slot, as the policy has it.
    assert!(line(&["vn/01", "06:30:00", "Bản tin sáng", "timetable.overlap", "07:15:00"]), "{table}");
    assert!(line(&["vn/48", "22:30:00", "timetable.quiet_hours", "05:00:00 2026-11-24"]), "{table}");
    assert!(line(&["\"Ca nhạc khuya\":", "quiet; move it [timetable.quiet_hours]"]), "{table}");
    // On a day when nothing collides the exit code says so.
    assert_eq!(planned(&["--area", "vn/08"]).status.code(), Some(0));
}

#[test]
fn programs_and_calendars_read_the_same_plan() {
    let plan: Value = serde_json::from_slice(&planned(&["--json", "--area", "vn/01"]).stdout).expect("JSON");
    let place = &plan["places"][0];
    assert_eq!(place["sounding"][0]["start"], "2026-11-23T06:40:00+07:00");
    assert_eq!(place["refused"][0]["why"][0]["code"], "timetable.overlap");
    assert_eq!(place["refused"][0]["free"], "2026-11-23T07:15:00+07:00");
    let calendar = text(&planned(&["--ics", "--area", "vn/01"]).stdout);
    assert!(calendar.starts_with("BEGIN:VCALENDAR\r\n") && calendar.contains("DTSTART:20261122T234000Z\r\n"));
    assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 1, "what is refused is in no calendar");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_in_either_language() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.json");
    let wrong = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(ENTRIES)).expect("the example");
    fs::write(&file, wrong.replace("\"normal\"", "\"nomal\"")).expect("a file");
    let file = file.display().to_string();
    let words = ["timetable", &file, "--register", REGISTER, "--area", "vn"];
    let done = loa("C", &words);
    assert_eq!(done.status.code(), Some(2));
    let told = text(&done.stderr);
    for entry in ["entry 1: priority: ", "entry 3: priority: "] {
        assert!(told.contains(entry), "{told}");
    }
    assert!(text(&loa("vi_VN.UTF-8", &words).stderr).contains("mục 1: priority: "));
    assert_eq!(loa("C", &["timetable", ENTRIES, "--register", &file, "--area", "vn"]).status.code(), Some(2));
    assert_eq!(planned(&["--area", "vn/01", "--days", "0"]).status.code(), Some(2));
}

#[test]
fn an_area_is_found_by_code_or_name_and_says_what_became_of_it() {
    let found = |words: &[&str]| loa("C", &[&["area", "--register", REGISTER], words].concat());
    assert!(text(&found(&["ha noi"]).stdout).contains("vn/01"));
    let gone = found(&["vn/02"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stdout).contains("vn/08 (2025-07-01)"), "{gone:?}");
    assert_eq!(found(&["vn/02", "--on", "2025-06-30"]).status.code(), Some(0), "it was there then");
    assert!(text(&found(&["vn/99"]).stderr).contains("area.unknown"));
    assert!(text(&found(&["Atlantis"]).stderr).contains("area.no_name"));
    assert_eq!(found(&[]).status.code(), Some(0));
}
