//! A new tree by the command line alone, as an operator makes it: roots, an origin, a relay and a loudspeaker, each a
//! process of its own; rights renewed and revoked, and a certificate renewed, while they run.
use super::tree::{PASSPHRASE, Tree, address, port, until};
use loa::io::certify::Dates;
use loa::io::clock;
use loa::io::examine;
use loa::io::identity::{Identity, Root};
use loa::time::SECOND;
use std::path::Path;
use std::process::Output;

#[test]
fn a_tree_made_by_the_command_line_speaks_until_its_right_is_revoked() {
    let mut tree = Tree::new();
    let (origin, relay, pole) = (tree.path("tree/origin"), tree.path("relay"), tree.path("pole"));
    let (sessions, below) = (address(), address());
    let made = |done: Output| assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    tree.made("relay", "vn/01", "Hà Nội", &sessions, &relay, &[]);
    tree.made("speaker", "vn/01/00004", "Cột 12", &below, &pole, &[]);
    port(&origin, "children", &sessions);
    port(&origin, "api", &address());
    port(&relay, "children", &below);
    for data in [&origin, &relay, &pole] {
        port(data, "admin", &address());
        tree.run(data);
    }
    until("the origin answers", || tree.loa(&["--json", "status", "--data", &origin]).status.success());
    until("the loudspeaker is known", || {
        let (status, _) = tree.ask(&["status"]);
        let nodes = status["nodes"]["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "Cột 12" && node["state"] == "idle" && node["area"] == "vn/01/00004")
    });

    // Renewed while the origin runs: it takes the new orders by its API, and no restart is needed.
    let rights = |tree: &Tree| tree.ask(&["revoke"]).0["authorities"].as_array().cloned().unwrap_or_default();
    let before = rights(&tree);
    assert_eq!(
        (before.len(), before[0]["name"].as_str(), before[0]["alive"].as_bool()),
        (1, Some("national"), Some(true))
    );
    let renewed = tree.enrol(&["--renew", &origin]);
    let said = String::from_utf8_lossy(&renewed.stdout).into_owned();
    assert!(said.contains("may speak until 2") && said.contains(" +07:00; its certificate holds until 2"), "{said}");
    made(renewed);
    let after = rights(&tree);
    assert_eq!(after.len(), 2, "the grant once more");
    assert!(after[1]["until_us"].as_i64() > before[0]["until_us"].as_i64());

    let sound = tree.sound();
    let (aired, code) = tree.ask(&["air", &sound, "--area", "vn/01"]);
    assert_eq!(code, Some(0), "{aired}");

    // Without a root nobody takes a right away; with it, it is gone at once.
    let key = before[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(tree.ask(&["revoke", &key]).0["code"], "revoke.root");
    let (root, passphrase) = (tree.path("tree/carry-away/main.root"), tree.path("passphrase"));
    let (done, code) = tree.ask(&["revoke", &key, "--root", &root, "--passphrase-file", &passphrase]);
    assert_eq!(code, Some(0), "{done}");
    assert!(rights(&tree).iter().all(|right| right["alive"] == false));
    let (refused, code) = tree.ask(&["air", &sound, "--area", "vn/01"]);
    assert_eq!((refused["code"].as_str(), code), (Some("order.revoked"), Some(1)), "{refused}");
    assert!(refused["text"].as_str().unwrap().contains("enrol its node anew"), "{refused}");
    // Whoever looks at the origin finds it too: by its doctor, in its line, and in its log.
    let mut doctor = (String::new(), None);
    until("the doctor finds it", || {
        let done = tree.loa(&["--json", "doctor", "--data", &origin]);
        doctor = (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code());
        doctor.0.contains("\"authority.revoked\"]") && doctor.1 == Some(1)
    });
    assert!(!doctor.0.contains("authority.fine"), "{}", doctor.0);
    assert_eq!(tree.nodes()[0]["trouble"], serde_json::json!(["authority.revoked"]));
    assert!(std::fs::read_to_string(format!("{origin}/log")).unwrap().contains("authority.revoked"));
    assert_eq!(tree.ask(&["revoke", "0000", "--root", &root]).0["code"], "revoke.unknown");
}

#[test]
fn a_province_s_rights_are_taken_at_the_province_and_a_node_by_its_name_at_the_top() {
    let mut tree = Tree::new();
    let (origin, relay, pole) = (tree.path("tree/origin"), tree.path("relay"), tree.path("pole"));
    let (sessions, below) = (address(), address());
    tree.made("relay", "vn/01", "Hà Nội", &sessions, &relay, &["--authority", "ha-noi"]);
    tree.made("speaker", "vn/01/00004", "Cột 12", &below, &pole, &[]);
    port(&origin, "children", &sessions);
    port(&relay, "children", &below);
    for data in [&origin, &relay] {
        port(data, "api", &address());
    }
    for data in [&origin, &relay, &pole] {
        port(data, "admin", &address());
        tree.run(data);
    }
    until("the origin answers", || tree.loa(&["--json", "status", "--data", &origin]).status.success());
    until("the loudspeaker is known", || tree.nodes().iter().any(|node| node["name"] == "Cột 12"));
    let at = |place: &str, words: &[&str]| {
        let done = tree.loa(&[&["--json"], words, &["--data", place]].concat());
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code())
    };

    let sound = tree.sound();
    until("the province speaks", || at(&relay, &["air", &sound, "--area", "vn/01"]).1 == Some(0));
    let (rights, _) = at(&relay, &["revoke"]);
    let rights: serde_json::Value = serde_json::from_str(&rights).unwrap();
    let of = |name| rights["authorities"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    let key = of("ha-noi").expect("the province's own")["key"].as_str().unwrap().to_owned();
    let (root, passphrase) = (tree.path("tree/carry-away/main.root"), tree.path("passphrase"));
    let by_root = ["--root", root.as_str(), "--passphrase-file", passphrase.as_str()];
    // At the top the key need not be known; whoever names it in full and has a root is believed.
    let (done, code) = at(&origin, &[&["revoke", key.as_str()], &by_root[..]].concat());
    assert_eq!(code, Some(0), "{done}");
    let (done, code) = at(&relay, &[&["revoke", key.as_str()], &by_root[..]].concat());
    assert_eq!(code, Some(0), "{done}");
    let (refused, code) = at(&relay, &["air", &sound, "--area", "vn/01"]);
    assert!(code == Some(1) && refused.contains("order.revoked"), "{refused}");

    // Where nobody above it would take it a board is not placed; and one that nobody knows is not expelled.
    let (refused, code) = at(&origin, &["place", "Cột 12", "--area", "vn/02/1", "--name", "Cột 12"]);
    assert!(code == Some(1) && refused.contains("placement.parent"), "{refused}");
    let (refused, code) = at(&origin, &["revoke", "0190f5e2-0000-7000-8000-00000000aaaa"]);
    assert!(code == Some(1) && refused.contains("node.unheard"), "{refused}");
    assert_eq!(at(&origin, &["revoke", "Cột 12"]).1, Some(0));
    until("it is expelled, and says why", || {
        let doctor = at(&pole, &["doctor"]).0;
        let expelled = |node: &&serde_json::Value| node["name"] == "Cột 12" && node["state"] == "expelled";
        doctor.contains("node.expelled") && tree.nodes().iter().any(|node| expelled(&node))
    });
    let (refused, code) = at(&origin, &["place", "Cột 12", "--area", "vn/01/00004", "--name", "Cột 12"]);
    assert!(code == Some(1) && refused.contains("node.expelled"), "{refused}");
}

#[test]
fn a_certificate_that_is_old_is_renewed_by_the_node_itself_while_it_runs() {
    let mut tree = Tree::new();
    let (origin, pole) = (tree.path("tree/origin"), tree.path("pole"));
    let sessions = address();
    let done = tree.enrol(&[
        "--role", "speaker", "--area", "vn/01/4", "--name", "Cột 1", "--parent", &sessions, "--folder", &pole,
    ]);
    assert!(done.status.success(), "{done:?}");
    // Ten days of eleven are over: renewed at the first look, by the nearest node above that may.
    let root = Root::open(Path::new(&tree.path("tree/carry-away/main.root")), PASSPHRASE).unwrap();
    let (day, now) = (86_400 * SECOND, clock::wall());
    root.certify_again(Path::new(&pole), Dates { from: now - 10 * day, until: now + day }).unwrap();
    let ends = |data: &str| examine::until(&Identity::load(Path::new(data)).unwrap()).unwrap();
    assert!(ends(&pole) < now + 2 * day);
    let node = Identity::load(Path::new(&pole)).unwrap().node;
    port(&origin, "children", &sessions);
    port(&origin, "api", &address());
    for data in [&origin, &pole] {
        port(data, "admin", &address());
        tree.run(data);
    }
    until("the certificate is renewed", || ends(&pole) > now + 300 * day);
    let identity = Identity::load(Path::new(&pole)).unwrap();
    assert_eq!(identity.node, node);
    assert_eq!(examine::examine(&identity, clock::wall()).verdict, examine::Verdict::Holds, "by an issuer now");
    // With it the node comes back, after a restart too.
    tree.stop(&pole);
    tree.run(&pole);
    until("it is back", || {
        let nodes = tree.nodes();
        nodes.iter().any(|one| one["id"] == node.to_string() && one["state"] == "idle")
    });
}
