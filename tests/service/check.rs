//! `loa check` and `loa doctor` as people and programs call them.
use super::place::{Place, codes, json, text, until};
use loa::node::Role;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;

#[test]
fn a_configuration_in_order_is_told_in_either_language_and_ends_with_0() {
    let place = Place::origin();
    let output = place.loa(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("the configuration is valid: children, sources, api"));
    let output = place.command(&["check"]).env("LANG", "vi_VN.UTF-8").output().unwrap();
    assert!(text(&output.stdout).contains("cấu hình hợp lệ"), "{}", text(&output.stdout));
    let answer = json(&place.loa(&["check", "--json"]));
    assert_eq!(answer["valid"], true, "{answer}");
    assert!(codes(&answer, "ok").contains(&"certificate.fine".to_owned()), "{answer}");
}

#[test]
fn every_mistake_of_a_file_is_a_line_and_an_entry_with_its_place_and_ends_with_2() {
    let place = Place::origin();
    place.configure("[children]\nshards = 0\nlissten = 5\n[parent]\naddresses = \"relay:7460\"\n");
    let output = place.loa(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.contains("loa.toml:9:1: unknown field lissten; did you mean listen? [config.unknown_field]"),
        "{said}"
    );
    let output = place.loa(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let answer = json(&output);
    let places: Vec<(u64, u64, &str, &str)> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert!(one["file"].as_str().unwrap().ends_with("loa.toml") && !one["text"].as_str().unwrap().is_empty());
            let number = |name: &str| one[name].as_u64().unwrap();
            (number("line"), number("column"), one["field"].as_str().unwrap(), one["code"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        places,
        [
            (8, 1, "children.shards", "config.range"),
            (9, 1, "children.lissten", "config.unknown_field"),
            (11, 13, "parent.addresses", "config.type"),
        ]
    );
    // A node that is to run says the same.
    let output = place.loa(&["run"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), said));
}

#[test]
fn what_a_node_would_find_is_told_with_it_and_a_node_that_runs_is_let_be() {
    let place = Place::of(Role::Speaker, None);
    place.configure("[children]\nlisten = \"127.0.0.1:0\"\n[parent]\naddresses = [\"127.0.0.1:9\"]\n[playout]\ndevice = \"wav:none/a.wav\"\n");
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o750)).unwrap();
    let output = place.loa(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        codes(&json(&output), "mistake"),
        ["data.mode", "config.role", "parent.closed", "sound.unwritable"],
        "{}",
        text(&output.stdout)
    );

    let place = Place::origin();
    let process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let answer = json(&place.loa(&["check", "--json"]));
    assert_eq!(answer["valid"], true, "{answer}");
    assert!(codes(&answer, "ok").contains(&"data.in_use".to_owned()), "{answer}");
    drop(process);
}

#[test]
fn the_doctor_says_how_a_node_does_and_what_to_do_where_none_runs() {
    let place = Place::origin();
    let output = place.loa(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(codes(&json(&output), "mistake"), ["doctor.not_running"]);
    let mut process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let output = place.loa(&["doctor", "--json"]);
    let answer = json(&output);
    assert_eq!((output.status.code(), &answer["well"]), (Some(0), &true.into()), "{answer}");
    assert_eq!(answer["node"]["parents"], 0);
    let output = place.command(&["doctor"]).env("LANG", "vi_VN.UTF-8").output().unwrap();
    assert!(text(&output.stdout).contains("đang chạy"), "{}", text(&output.stdout));
    process.signal("-TERM");
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_sound_card_that_is_not_there_is_one_finding_among_the_others() {
    let place = Place::of(Role::Speaker, None);
    place.configure("[parent]\naddresses = [\"127.0.0.1:9\"]\n[playout]\ndevice = \"alsa:no_such_card\"\n");
    let output = place.loa(&["check", "--json"]);
    let told = codes(&json(&output), "mistake");
    assert_eq!(output.status.code(), Some(2));
    let card = |code: &String| code == "config.no_sound" || code == "sound.card";
    assert!(
        told.iter().filter(|code| card(code)).count() == 1 && told.contains(&"parent.closed".to_owned()),
        "{told:?}"
    );
    assert!(codes(&json(&output), "ok").contains(&"certificate.fine".to_owned()));
    // Nor does the doctor end with it.
    let doctor = json(&place.loa(&["doctor", "--json"]));
    assert!(codes(&doctor, "mistake").contains(&"doctor.not_running".to_owned()), "{doctor}");
}

#[test]
fn a_configuration_that_is_named_comes_before_the_environment() {
    let place = Place::origin();
    let output = place.command(&["doctor", "--json"]).env("LOA_DATA", "/nowhere").output().unwrap();
    assert_eq!(codes(&json(&output), "mistake"), ["doctor.not_running"], "{}", text(&output.stderr));
    let mut alone = std::process::Command::new(env!("CARGO_BIN_EXE_loa"));
    let output = alone.args(["doctor", "--json"]).env("LOA_DATA", "/nowhere").env("LANG", "C").output().unwrap();
    assert!(text(&output.stderr).contains("/nowhere/loa.toml") && output.status.code() == Some(1), "{output:?}");
}

#[test]
fn whoever_reads_no_further_ends_a_command_without_a_word() {
    let place = Place::origin();
    for words in [&["completions", "bash"][..], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = match words {
            ["check"] => place.command(words),
            _ => std::process::Command::new(env!("CARGO_BIN_EXE_loa")),
        };
        if words != ["check"] {
            command.args(words);
        }
        let child = command.stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(command);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.signal(), text(&output.stderr)), (Some(libc::SIGPIPE), String::new()), "{words:?}");
    }
}

#[test]
fn help_and_mistakes_of_the_command_line_are_in_the_readers_language() {
    let loa = |words: &[&str], language: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loa"));
        command.args(words).env("LANG", language).env_remove("LC_ALL").env_remove("LC_MESSAGES").output().unwrap()
    };
    let help = loa(&["doctor", "--help"], "vi_VN.UTF-8");
    assert!(text(&help.stdout).contains("Cách dùng: loa doctor [TÙY_CHỌN]") && help.status.success(), "{help:?}");
    let wrong = loa(&["doctor", "--confg", "a"], "vi_VN.UTF-8");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).starts_with("lỗi: không có tham số '--confg'"), "{}", text(&wrong.stderr));
    assert!(text(&loa(&["doctor", "--confg", "a"], "C").stderr).starts_with("error: unexpected argument"));
}

#[test]
fn shells_can_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_loa")).args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        for word in ["doctor", "transcode", "check", "--config"] {
            assert!(script.contains(word.trim_start_matches('-')), "{shell} lacks {word}");
        }
    }
}
