//! That nothing of the command line is without its Vietnamese, and that what clap finds is said in it.
use super::super::cli::Cli;
use super::*;
use clap::CommandFactory;
use std::collections::BTreeSet;

/// Every command that is shown, with what leads to it.
fn commands() -> Vec<(String, Command)> {
    let mut whole = Cli::command();
    whole.build();
    let mut found = Vec::new();
    add(String::new(), whole, &mut found);
    found
}

fn add(path: String, command: Command, found: &mut Vec<(String, Command)>) {
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let name = below.get_name();
        match (path.as_str(), name) {
            // What clap adds to commands that have commands.
            ("", _) => add(name.to_owned(), below.clone(), found),
            ("help", _) | (_, "help") => {}
            (above, name) => add(format!("{above} {name}"), below.clone(), found),
        }
    }
    found.push((path, command));
}

#[test]
fn every_command_argument_and_value_has_its_line() {
    let (mut used, mut lacking) = (BTreeSet::new(), Vec::new());
    for (path, command) in commands() {
        match find(&path) {
            Some(_) => drop(used.insert(path.clone())),
            None => lacking.push(path.clone()),
        }
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let own = [format!("{path}.{}", arg.get_id()), format!(".{}", arg.get_id())];
            match own.iter().find(|key| find(key).is_some()) {
                Some(key) => drop(used.insert(key.clone())),
                None => lacking.push(own[0].clone()),
            }
            let names = arg.get_value_names().unwrap_or_default().iter().filter(|_| arg.get_action().takes_values());
            let nameless = names.filter(|name| !VALUES.iter().any(|(known, _)| *known == name.as_str()));
            lacking.extend(nameless.map(|name| format!("{}: value {name}", own[0])));
        }
    }
    assert!(lacking.is_empty(), "help.table, or VALUES, lacks {lacking:#?}");
    if cfg!(feature = "full") {
        let of_nothing: Vec<_> =
            TABLE.iter().filter(|(key, _)| !used.contains(*key) && *key != "help.subcommand").collect();
        assert!(of_nothing.is_empty(), "nothing is called {of_nothing:#?}");
    }
    let keys: BTreeSet<&str> = TABLE.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), TABLE.len(), "a key stands twice");
}

fn said(words: &[&str]) -> String {
    let command = in_language(Cli::command(), Language::Vietnamese);
    let error = command.try_get_matches_from(std::iter::once(&"loa").chain(words)).unwrap_err();
    error.apply::<Vietnamese>().to_string()
}

#[test]
fn help_is_in_vietnamese_throughout() {
    for (path, _) in commands() {
        let words: Vec<&str> = path.split_whitespace().chain(["--help"]).collect();
        let shown = said(if path == "help" { &["help"] } else { &words });
        for english in
            ["Usage:", "Options", "OPTIONS", "Commands:", "Arguments", "Print ", "[default", "[possible", "[env"]
        {
            assert!(!shown.contains(english), "{path}: {english}:\n{shown}");
        }
        assert!(shown.contains("Cách dùng: loa"), "{shown}");
    }
    let shown = said(&["doctor", "--help"]);
    assert!(shown.contains("--data <THƯ_MỤC>") && shown.contains("[biến môi trường: LOA_DATA]"), "{shown}");
    assert!(said(&["--help"]).contains("doctor       Nêu nút đang chạy"), "{}", said(&["--help"]));
}

#[test]
fn what_is_wrong_is_said_in_vietnamese_with_what_was_probably_meant() {
    for (words, expected) in [
        (&["check"][..], "lỗi: còn thiếu: '--config <TỆP>'"),
        (&["docter"], "lỗi: không có lệnh 'docter'\n\n  có phải là 'doctor'?"),
        (&["doctor", "--confg", "a"], "lỗi: không có tham số '--confg'\n\n  có phải là '--config'?"),
        (&["doctor", "--data"], "lỗi: thiếu giá trị cho '--data <THƯ_MỤC>'"),
        (&["doctor", "--json", "--json"], "lỗi: '--json' chỉ được dùng một lần"),
        (&["completions", "tcsh"], "lỗi: giá trị 'tcsh' của '<SHELL>' không hợp lệ; dùng một trong: 'bash', "),
    ] {
        let shown = said(words);
        assert!(shown.starts_with(expected), "{words:?}: {shown}");
        assert!(shown.contains("Xem thêm: '--help'.") && !shown.contains("Usage"), "{shown}");
    }
    assert!(said(&["check"]).contains("Cách dùng: loa check"), "{}", said(&["check"]));
}

#[cfg(feature = "full")]
#[test]
fn a_value_that_cannot_be_read_and_two_that_exclude_each_other_are_named() {
    let shown = said(&["status", "--area", "VN"]);
    assert!(shown.starts_with("lỗi: giá trị 'VN' của '--area <ĐỊA_BÀN>' không hợp lệ: "), "{shown}");
    let shown = said(&["air", "a.wav", "--area", "vn", "--test", "--exercise"]);
    assert!(shown.starts_with("lỗi: '--test' không dùng được cùng '--exercise'"), "{shown}");
}

#[test]
fn a_command_line_that_is_right_is_read_in_either_language() {
    for language in [Language::Vietnamese, Language::English] {
        let matches =
            in_language(Cli::command(), language).try_get_matches_from(["loa", "--json", "doctor", "--data", "a"]);
        assert_eq!(matches.unwrap().subcommand_name(), Some("doctor"));
    }
}
