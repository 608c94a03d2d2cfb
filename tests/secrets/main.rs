//! What must stay secret is never said: a tree made and run by the command line, at the most talkative log level, with
//! the mistakes that people make; then everything that it wrote, answered or logged is searched for every secret
//! there is, in every form that a careless line could give it. And what lies on disk is its owner's alone.

mod needles;
#[path = "../ports/mod.rs"]
mod ports;
mod tree;

use needles::Needles;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tree::{Tree, get, until};

#[test]
fn no_secret_is_logged_answered_or_left_readable() {
    let mut tree = Tree::new();
    let (origin, pole) = (tree.path("tree/origin"), tree.path("pole"));
    tree.enrol(&[
        "--role",
        "speaker",
        "--area",
        "vn/01",
        "--name",
        "pole",
        "--folder",
        &pole,
        "--parent",
        "x.example:1",
    ]);
    tree.configure();
    tree.run(&origin);
    until("the origin is ready", || get(tree.admin[0], "/readyz", None).is_some());
    tree.run(&pole);
    until("the loudspeaker has joined", || get(tree.admin[1], "/readyz", None).is_some());

    let token = fs::read_to_string(format!("{origin}/api.token")).unwrap().trim().to_owned();
    let sound = tree.sound();
    let aired = tree.loa(&["--json", "air", &sound, "--area", "vn", "--data", &origin]);
    assert!(aired.contains("\"accepted_us\""), "{aired}");
    let urgent = tree.loa(&["--json", "air", &sound, "--area", "vn", "--priority", "emergency", "--data", &origin]);
    assert!(urgent.contains("\"accepted_us\""), "{urgent}");
    until("it sounds", || {
        tree.log(&pole).contains("began") || tree.loa(&["status", "--data", &origin]).contains("sounding")
    });
    tree.loa(&["stop", "--area", "vn", "--minutes", "1", "--data", &origin]);
    for words in [&["--json", "status"][..], &["status"], &["--json", "doctor"], &["doctor"], &["revoke"]] {
        tree.loa(&[words, &["--data", &origin]].concat());
    }
    tree.loa(&["check", "--config", &format!("{origin}/loa.toml")]);

    // What people get wrong: a token, a passphrase, the mode of a file, a line of the configuration.
    let wrong_token = "0123456789abcdef".repeat(4);
    assert!(get(tree.api, "/v1/nodes", Some(&wrong_token)).is_none());
    tree.told.push(tree::answer(tree.api, "/v1/nodes", Some(&wrong_token)).unwrap_or_default());
    tree.told.push(tree::answer(tree.api, "/v1/nodes", None).unwrap_or_default());
    let wrong_passphrase = "một cụm từ hoàn toàn khác";
    fs::write(tree.path("wrong"), wrong_passphrase).unwrap();
    let root = tree.path("tree/carry-away/main.root");
    let refused = tree.loa(&["enrol", "--root", &root, "--passphrase-file", &tree.path("wrong"), "--renew", &origin]);
    assert!(refused.contains("passphrase"), "{refused}");
    for file in ["node.key", "authorities/national.key"] {
        let file = Path::new(&origin).join(file);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        tree.loa(&["check", "--config", &format!("{origin}/loa.toml")]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    // The token is replaced and the file with a mistake is reloaded.
    let second_token = "fedcba9876543210".repeat(4);
    fs::write(format!("{origin}/api.token"), format!("{second_token}\n")).unwrap();
    tree.hang_up(0);
    until("the new token is taken", || get(tree.api, "/v1/nodes", Some(&second_token)).is_some());
    let config = fs::read_to_string(format!("{origin}/loa.toml")).unwrap();
    fs::write(format!("{origin}/loa.toml"), format!("{config}\npassword = \"\"\n")).unwrap();
    let before = tree.log(&origin).len();
    tree.hang_up(0);
    until("the mistake is told", || tree.log(&origin)[before..].contains("password"));

    for (at, admin) in tree.admin.into_iter().enumerate() {
        for path in ["/metrics", "/healthz", "/readyz", "/v1/doctor"] {
            tree.told.push(get(admin, path, None).unwrap_or_else(|| panic!("node {at} does not answer {path}")));
        }
    }
    for path in ["/v1/nodes", "/v1/events", "/v1/broadcasts", "/v1/authorities", "/v1/media", "/v1/live"] {
        tree.told.push(get(tree.api, path, Some(&second_token)).unwrap_or_else(|| panic!("no answer to {path}")));
    }
    tree.stop();

    let mut needles = Needles::default();
    needles.text("the passphrase", tree::PASSPHRASE);
    needles.text("a wrong passphrase", wrong_passphrase);
    for (name, token) in [("the token", &token), ("a wrong token", &wrong_token), ("the second token", &second_token)] {
        needles.text(name, token);
    }
    for data in [&origin, &pole] {
        needles.data_folder(Path::new(data));
    }
    needles.root(Path::new(&root), tree::PASSPHRASE, &tree.path("unsealed"));
    assert!(needles.count() > 40, "only {} forms of secrets are looked for", needles.count());

    let told = tree.everything();
    for (name, text) in &told {
        if let Some(found) = needles.find(text.as_bytes()) {
            panic!("{name} tells {found}");
        }
    }
    // That there was something to search, and at that level.
    let bytes: usize = told.iter().map(|(_, text)| text.len()).sum();
    assert!(bytes > 20_000, "{bytes} bytes were told at all");
    assert!(tree.log(&origin).contains("TRACE") && tree.log(&pole).contains("TRACE"), "the log is not at trace");
    // And that it would be found.
    let token_file = fs::read(format!("{origin}/api.token")).unwrap();
    assert!(needles.find(&token_file).is_some());
    let journal = fs::read(format!("{origin}/journal/orders")).unwrap();
    assert!(needles.find_raw(&journal).is_some(), "the journal holds the keys of what was aired");

    for folder in ["tree", "pole"] {
        private(&needles, Path::new(&tree.path(folder)));
    }
}

/// Whatever holds a secret is its owner's alone, and so are the folders around it.
fn private(needles: &Needles, folder: &Path) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut secrets = 0;
    for path in files(folder) {
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let kept = ["node.key", "api.token"].iter().any(|name| path.ends_with(name))
            || ["authorities", "journal", "tracks"].iter().any(|part| path.iter().any(|name| name == *part))
            || path.extension().is_some_and(|end| end == "root");
        if !kept && needles.find(&bytes).is_none() && needles.find_raw(&bytes).is_none() {
            continue;
        }
        secrets += 1;
        assert_eq!(mode(&path), 0o600, "{} may be read by others", path.display());
        let parent = path.parent().unwrap();
        if !parent.ends_with("carry-away") {
            assert_eq!(mode(parent), 0o700, "{} may be entered by others", parent.display());
        }
    }
    assert!(secrets >= 2, "{} files with secrets below {}", secrets, folder.display());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// Whoever prints a value that holds a secret, in an error or at debug level, prints none of it.
#[test]
fn nothing_that_holds_a_secret_shows_it_when_it_is_printed() {
    use loa::key::SigningKey;
    use loa::node::branch::{Carry, Command};
    use loa::node::trunk;
    use loa::proto;
    use loa::session::child;
    use loa::track::Secret;
    use uuid::Uuid;

    let secret = Secret { key: [0xa7; 16], salt: [0xb9; 12] };
    let wire = secret.to_proto();
    let track = uuid::Uuid::nil();
    let bytes = bytes::Bytes::copy_from_slice(track.as_bytes());
    let key = proto::Key { track: bytes.clone(), secret: Some(wire.clone()) };
    let log = proto::Log { track: bytes.clone(), ssrc: 1, secret: Some(wire.clone()), next: 0, ended: false };
    let carry = Carry {
        track,
        ssrc: 1,
        secret: secret.clone(),
        log: false,
        emergency: false,
        rode: false,
        areas: Vec::new(),
        duration: 1,
        delay: 1,
        rate: 1,
        together: 1,
        next: 0,
        stored: 0,
    };
    let mut needles = Needles::default();
    needles.bytes("the key", &secret.key);
    needles.bytes("the salt", &secret.salt);
    needles.bytes("a seed", &[0xc5; 32]);
    let stored = proto::StoredKey { track: bytes.clone(), secret: Some(wire.clone()) };
    let mut printed = vec![
        format!("{secret:?} {secret:#?}"),
        format!("{wire:?} {wire:#?}"),
        format!("{key:?}"),
        format!("{log:?}"),
        format!("{stored:?}"),
        format!("{:?}", proto::Record { body: Some(proto::record::Body::Key(stored)) }),
        format!("{:?}", proto::ToChild { body: Some(proto::to_child::Body::Key(key.clone())) }),
        format!("{:?}", proto::Logged { payload: bytes.clone(), signatures: Vec::new(), keys: vec![key] }),
        format!("{:?}", Command::Carry(carry)),
        format!("{:?}", child::Event::Key { track, secret: secret.clone() }),
        format!("{:?}", child::Event::Log { track, ssrc: 1, secret: secret.clone(), next: 0 }),
        format!("{:?}", trunk::Log { track: Uuid::nil(), ssrc: 1, secret }),
        format!("{:?}", SigningKey::from_seed(&[0xc5; 32])),
    ];
    // A whole identity: its private key is in memory.
    let folder = tempfile::tempdir().unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let node = loa::io::identity::NewNode {
        role: loa::node::Role::Relay,
        area: "vn".parse().unwrap(),
        name: "node".into(),
        authority: Some("main".into()),
    };
    loa::io::identity::Root::generate().provision(folder.path(), &node).unwrap();
    needles.data_folder(folder.path());
    printed.push(format!("{:?}", loa::io::identity::Identity::load(folder.path()).unwrap()));
    printed.push(format!("{:?}", loa::io::identity::load_authority(folder.path(), "main").unwrap()));
    for text in printed {
        assert!(
            needles.find(text.as_bytes()).is_none(),
            "{} in {text}",
            needles.find(text.as_bytes()).unwrap_or_default()
        );
    }
}
