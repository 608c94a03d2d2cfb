//! What takes two: an emergency for the whole country, and lifting the lock on a key. By the command line alone.
use super::tree::{Tree, address, port, until};
use std::fs;

#[test]
fn a_wide_emergency_and_the_release_of_a_lock_take_the_key_of_a_second_person() {
    let mut tree = Tree::with(&["--alone-from", "2"]);
    let (origin, relay) = (tree.path("tree/origin"), tree.path("relay"));
    let sessions = address();
    tree.made("relay", "vn/01", "Hà Nội", &sessions, &relay, &["--authority", "ha-noi"]);
    port(&origin, "children", &sessions);
    port(&relay, "children", &address());
    for data in [&origin, &relay] {
        port(data, "api", &address());
        port(data, "admin", &address());
        tree.run(data);
    }
    until("the origin answers", || tree.loa(&["--json", "status", "--data", &origin]).status.success());
    let at = |place: &str, words: &[&str]| {
        let done = tree.loa(&[&["--json"], words, &["--data", place]].concat());
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code())
    };
    let sound = tree.sound();
    until("the province speaks", || at(&relay, &["air", &sound, "--area", "vn/01"]).1 == Some(0));

    // One province is woken by one, the whole country by two.
    let emergency = |area: &str, more: &[&str]| {
        tree.ask(&[&["air", &sound, "--priority", "emergency", "--area", area], more].concat())
    };
    assert_eq!(emergency("vn/01", &[]).1, Some(0));
    let (refused, code) = emergency("vn", &[]);
    assert_eq!((refused["code"].as_str(), code), (Some("order.second"), Some(1)), "{refused}");
    let (root, passphrase, key) =
        (tree.path("tree/carry-away/main.root"), tree.path("passphrase"), tree.path("an.key"));
    fs::write(tree.path("own"), "một mật khẩu dài\n").unwrap();
    let own = tree.path("own");
    let made = ["signer", &key, "--name", "Nguyễn Văn An", "--area", "vn", "--new-passphrase-file", &own];
    assert_eq!(tree.ask(&made).0["code"], "signer.root");
    assert!(!std::path::Path::new(&key).exists());
    let (said, code) = tree.ask(&[&made[..], &["--root", &root, "--passphrase-file", &passphrase]].concat());
    assert_eq!(code, Some(0), "{said}");
    let second = ["--second", key.as_str(), "--second-passphrase-file", own.as_str()];
    let (aired, code) = emergency("vn", &second);
    assert_eq!(code, Some(0), "{aired}");
    let wrong = ["--second", key.as_str(), "--second-passphrase-file", passphrase.as_str()];
    assert_eq!(emergency("vn", &wrong).0["code"], "enrol.root");

    // The province's key is stolen: locked at the top, which knows it by its name alone.
    let listed = |place: &str| serde_json::from_str::<serde_json::Value>(&at(place, &["revoke"]).0).unwrap();
    let rights = listed(&relay);
    let of = |name| rights["authorities"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    let stolen = of("ha-noi").expect("the province's own")["key"].as_str().unwrap().to_owned();
    let (said, code) = tree.ask(&["stop", "--area", "vn/01", "--minutes", "1", "--lock", &stolen]);
    assert_eq!(code, Some(0), "{said}");
    until("the province is locked", || at(&relay, &["air", &sound, "--area", "vn/01"]).0.contains("order.locked"));
    let locks = listed(&relay)["locks"].clone();
    let lock = locks[0]["lock"].as_str().expect("the lock").to_owned();
    assert_eq!(locks[0]["key"], stolen.as_str());

    // One person's word does not lift it, two do.
    assert_eq!(tree.ask(&["release", &lock]).0["code"], "release.second");
    let (said, code) = tree.ask(&[&["release", lock.as_str()], &second[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    until("the province speaks again", || at(&relay, &["air", &sound, "--area", "vn/01"]).1 == Some(0));
    assert_eq!(listed(&relay)["locks"], serde_json::json!([]));

    let (refused, _) = tree.ask(&["prefer", "0190f5e2-0000-7000-8000-00000000aaaa", "--area", "vn/01"]);
    assert_eq!(refused["code"], "broadcast.unknown");
    let id = aired["id"].as_str().unwrap().to_owned();
    assert_eq!(tree.ask(&["prefer", &id, "--area", "vn/01"]).1, Some(0));
}
