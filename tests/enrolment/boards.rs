//! Forty boards that are switched on at once with one file, three of them hostile: each comes in by its own key, waits
//! without a place and hears nothing, is placed by hand, speaks, is expelled, copied, replaced.
use super::tree::{Tree, address, port, until};
use bytes::Bytes;
use loa::broadcast::{Area, Body, Invite, Order, sign};
use loa::io::enrolment::{self, Ticket};
use loa::io::identity::{Identity, new_id};
use loa::io::{clock, quic, socket::Socket, tls};
use loa::key::SigningKey;
use loa::proto::{self, to_parent};
use loa::session::{Arrival, Departure};
use prost::Message;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use uuid::Uuid;

const AREA: &str = "vn/01/00004";
/// Those that mean well.
const HONEST: usize = 37;

/// An origin with the area's parent, and the file for its boards.
fn tree(count: usize) -> (Tree, String) {
    let mut tree = Tree::new();
    let origin = tree.path("tree/origin");
    let relay = tree.path("relay");
    let (sessions, below) = (address(), address());
    tree.made("relay", "vn/01", "Hà Nội", &sessions, &relay, &[]);
    port(&origin, "children", &sessions);
    port(&origin, "api", &address());
    port(&relay, "children", &below);
    for data in [&origin, &relay] {
        port(data, "admin", &address());
        tree.run(data);
    }
    until("the relay is there", || tree.loa(&["nodes", "--data", &origin]).status.success() && tree.nodes().len() == 2);
    let file = tree.path("boards.toml");
    let count = count.to_string();
    let words = ["enrol", "--area", AREA, "--count", &count, "--days", "14", "--parent", &below, "--out", &file];
    let (made, code) = tree.ask(&words);
    assert_eq!(code, Some(0), "{made}");
    (tree, file)
}

/// Switches a board on: the same file, a folder of its own.
fn board(tree: &mut Tree, file: &str, name: &str) -> String {
    let data = tree.path(name);
    fs::create_dir(&data).unwrap();
    // The data beside the configuration, as the other trees have it.
    let text = fs::read_to_string(file).unwrap().replace("data = \"data\"", "data = \".\"");
    fs::write(Path::new(&data).join("loa.toml"), text).unwrap();
    port(&data, "admin", &address());
    tree.run(&data);
    data
}

fn waiting(tree: &Tree) -> Vec<Value> {
    tree.nodes().into_iter().filter(|node| node["state"] == "waiting").collect()
}

fn node_of(data: &str) -> Uuid {
    Identity::load(Path::new(data)).unwrap().node
}

fn state(tree: &Tree, node: Uuid) -> String {
    let found = tree.nodes().into_iter().find(|one| one["id"] == node.to_string());
    found.map(|one| one["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn place(tree: &Tree, node: Uuid, name: &str) {
    let (placed, code) = tree.ask(&["place", &node.to_string(), "--area", AREA, "--name", name]);
    assert_eq!((placed["stands"].as_bool(), code), (Some(true), Some(0)), "{placed}");
}

fn decode(ticket: &str) -> proto::Ticket {
    let digits: Vec<u8> = ticket.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    proto::Ticket::decode(&digits.chunks(2).map(byte).collect::<Vec<u8>>()[..]).unwrap()
}

fn ticket(file: &str) -> (Ticket, String, String) {
    let config = loa::config::Config::load(Path::new(file)).unwrap();
    let parent = config.parent.unwrap().addresses[0].clone();
    let text = config.enrol.unwrap().ticket;
    (Ticket::read(&text).unwrap(), text, parent)
}

/// Tries to come in with a ticket and a new key; the code of what stood in the way, if anything did.
fn try_in(data: &Path, parent: &str, ticket: &Ticket) -> Option<String> {
    let stop = AtomicBool::new(false);
    let mut hindrance = None;
    let got = enrolment::obtain(data, &[parent.to_owned()], 1, ticket, &stop, &mut |code, _| {
        // Of a parent that has just begun: asked again, as a board does.
        if ["time.unknown", "enrol.no_way", "enrol.busy", "enrol.link"].contains(&code) {
            return;
        }
        hindrance = Some(code.to_owned());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    got.unwrap().map_or(hindrance, |_| None)
}

#[test]
fn forty_boards_come_in_by_one_file_and_three_hostile_ones_gain_nothing() {
    let (mut tree, file) = tree(HONEST + 3);
    let boards: Vec<String> = (0..HONEST).map(|number| board(&mut tree, &file, &format!("board-{number}"))).collect();

    // The first hostile one has a token of its own making.
    let (good, text, parent) = ticket(&file);
    let own = SigningKey::from_seed(&[66; 32]);
    let area: Area = AREA.parse().unwrap();
    let body = Body::Invite(Invite { count: 10_000, relay: true });
    let order = Order::new(new_id(clock::wall()), own.id(), 1, clock::wall(), vec![area.clone()], body);
    let whole = decode(&text);
    let forged = Ticket::new(sign(&order, &own), Vec::new(), whole.roots.clone());
    let hostile = tree.path("forger");
    assert_eq!(try_in(Path::new(&hostile), &parent, &forged).as_deref(), Some("order.grant_unknown"));
    assert!(!Path::new(&hostile).join("node.crt").exists());
    // A true one that was made to count further does not hold either.
    let mut token = whole.token.clone().unwrap();
    let mut altered = Order::decode(&token.payload).unwrap();
    altered.body = Body::Invite(Invite { count: 10_000, relay: true });
    token.payload = altered.encode().into();
    let altered = Ticket::new(token, whole.grants.clone(), whole.roots.clone());
    assert_eq!(try_in(Path::new(&tree.path("alterer")), &parent, &altered).as_deref(), Some("order.signature"));

    // The second one copies the file, and takes as many certificates as it can get.
    until("all boards wait", || waiting(&tree).len() == HONEST);
    for taken in 0..3 {
        assert_eq!(try_in(Path::new(&tree.path(&format!("greedy-{taken}"))), &parent, &good), None);
    }
    assert_eq!(try_in(Path::new(&tree.path("greedy-3")), &parent, &good).as_deref(), Some("token.used_up"));
    let again = try_in(Path::new(&boards[0]), &parent, &good);
    assert_eq!(again, None, "who has been admitted is not counted again");

    let ids: BTreeSet<Uuid> = boards.iter().map(|data| node_of(data)).collect();
    assert_eq!(ids.len(), HONEST, "each by its own key");
    let keys: BTreeSet<Vec<u8>> =
        boards.iter().map(|data| fs::read(Path::new(data).join("node.key")).unwrap()).collect();
    assert_eq!(keys.len(), HONEST);

    // Without a place nobody hears anything, an emergency neither; the third hostile one asks for all of it.
    let sound = tree.sound();
    let wild = Identity::load(Path::new(&tree.path("greedy-0"))).unwrap();
    let listener = std::thread::spawn({
        let parent = parent.clone();
        move || eavesdrop(&wild, &parent)
    });
    let (aired, code) = tree.ask(&["air", &sound, "--area", "vn/01", "--priority", "emergency"]);
    assert_eq!(code, Some(0), "{aired}");
    let heard = listener.join().unwrap();
    assert_eq!(heard, 0, "packets of sound and orders came to a board without a place");
    assert!(waiting(&tree).len() >= HONEST);

    // Placed by hand, by the code that each speaks or by its id.
    let code = format!("{:06}", loa::node::code(node_of(&boards[0])));
    let (placed, done) = tree.ask(&["place", &code, "--area", AREA, "--name", "Cột 0"]);
    assert_eq!((placed["stands"].as_bool(), done), (Some(true), Some(0)), "{placed}");
    std::thread::scope(|scope| {
        for half in boards[1..].chunks(9) {
            let tree = &tree;
            scope.spawn(move || {
                half.iter().for_each(|data| place(tree, node_of(data), data.rsplit('/').next().unwrap()))
            });
        }
    });
    until("all stand where they were placed", || {
        let stands = |node: &&Value| node["area"] == AREA && node["state"] == "idle";
        tree.nodes().iter().filter(stands).count() == HONEST
    });
    let (aired, code) = tree.ask(&["air", &sound, "--area", AREA, "--priority", "emergency"]);
    assert_eq!(code, Some(0), "{aired}");
    until("all that are placed have sounded it", || {
        let began = |node: &&Value| node["first"] == aired["id"] && node["area"] == AREA;
        tree.nodes().iter().filter(began).count() == HONEST
    });
    assert!(waiting(&tree).iter().all(|node| node["first"].is_null()));

    // A board that is switched off and on again is the same, where it stood.
    let node = node_of(&boards[1]);
    tree.stop(&boards[1]);
    tree.run(&boards[1]);
    until("it is back at its place", || {
        tree.nodes().iter().any(|one| one["id"] == node.to_string() && one["state"] == "idle" && one["area"] == AREA)
    });

    // One that is stolen is expelled: where it is connected, within two seconds.
    let stolen = node_of(&boards[2]);
    let began = Instant::now();
    let (done, code) = tree.ask(&["revoke", &stolen.to_string()]);
    assert_eq!(code, Some(0), "{done}");
    while state(&tree, stolen) != "expelled" {
        assert!(began.elapsed() < Duration::from_secs(2), "{} after two seconds", state(&tree, stolen));
        std::thread::sleep(Duration::from_millis(50));
    }
    until("it is told why", || fs::read_to_string(format!("{}/log", boards[2])).unwrap().contains("node.expelled"));
    assert_eq!(state(&tree, stolen), "expelled", "and does not come back");

    // A card is copied: two nodes with one key.
    let copy = tree.path("copy");
    let copied = std::process::Command::new("cp").args(["-r", &boards[3], &copy]).status().unwrap();
    assert!(copied.success());
    fs::remove_file(Path::new(&copy).join("LOCK")).unwrap();
    let config = fs::read_to_string(format!("{copy}/loa.toml")).unwrap();
    let (before, _) = config.split_once("[admin]").unwrap();
    fs::write(format!("{copy}/loa.toml"), format!("{before}[admin]\nlisten = \"{}\"\n", address())).unwrap();
    tree.run(&copy);
    let log = format!("{}/log", tree.path("relay"));
    until("the copy is noticed", || fs::read_to_string(&log).unwrap().contains("node.twice"));
}

#[test]
fn a_new_board_takes_the_place_of_one_that_broke() {
    let (mut tree, file) = tree(2);
    let (old, new) = (board(&mut tree, &file, "old"), board(&mut tree, &file, "new"));
    // What the file holds can be looked at before any board is switched on.
    let fresh = tree.path("fresh");
    fs::create_dir(&fresh).unwrap();
    fs::copy(&file, format!("{fresh}/loa.toml")).unwrap();
    let looked = tree.loa(&["check", "--config", &format!("{fresh}/loa.toml")]);
    let text = String::from_utf8_lossy(&looked.stdout);
    assert!(text.contains("enrol.fine") && text.contains("parent.fine"), "{text}");
    assert!(!Path::new(&fresh).join("data").exists(), "looking makes nothing");
    until("both wait", || waiting(&tree).len() == 2);
    place(&tree, node_of(&old), "Cột chợ");
    tree.stop(&old);
    let code = format!("{:06}", loa::node::code(node_of(&new)));
    let (placed, done) = tree.ask(&["place", &code, "--replace", &node_of(&old).to_string()]);
    assert_eq!((placed["stands"].as_bool(), done), (Some(true), Some(0)), "{placed}");
    let nodes = tree.nodes();
    let stands = nodes.iter().find(|node| node["id"] == node_of(&new).to_string()).unwrap();
    assert_eq!((stands["area"].as_str(), stands["name"].as_str()), (Some(AREA), Some("Cột chợ")));
    // The old one is repaired and switched on: it is not wanted any more.
    tree.run(&old);
    until("the old one is refused", || fs::read_to_string(format!("{old}/log")).unwrap().contains("node.expelled"));
}

/// `loa WORDS` about a board's own folder, in JSON: the findings, each by its code, and the exit code.
fn looked(tree: &Tree, words: &str, data: &str) -> (Vec<(String, String)>, Option<i32>) {
    let done = tree.loa(&["--json", words, "--config", &format!("{data}/loa.toml")]);
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    let said = |one: &Value, what: &str| one[what].as_str().unwrap().to_owned();
    let wrong = answer["findings"].as_array().unwrap().iter().filter(|one| one["level"] != "ok");
    (wrong.map(|one| (said(one, "code"), said(one, "text"))).collect(), done.status.code())
}

#[test]
fn a_board_that_waits_says_for_what_and_what_to_do_and_is_named_and_renamed() {
    let (mut tree, file) = tree(1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it lets boards in");
    let (_, _, parent) = ticket(&file);
    let relay = tree.path("relay");
    tree.stop(&relay);
    let data = board(&mut tree, &file, "board");
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let find = |found: &[(String, String)], code: &str| {
        found.iter().find(|(one, _)| one == code).map(|(_, text)| text.clone())
    };
    // Nobody answers: it runs all the same, and its doctor knows.
    let mut told = None;
    until("the doctor says what the board waits for", || {
        let (found, code) = looked(&tree, "doctor", &data);
        told = find(&found, "enrol.waits").filter(|text| code == Some(1) && !text.contains("refusal: none"));
        told.is_some()
    });
    let code =
        loa::io::enrolment::node_of(Path::new(&data)).map(|node| format!("{:06}", loa::node::code(node))).unwrap();
    let told = told.unwrap();
    assert!(
        told.contains(&code)
            && told.contains(&format!("dials {parent}"))
            && (told.contains("[enrol.link]") || told.contains("[parent.silent]")),
        "{told}"
    );
    let (found, _) = looked(&tree, "check", &data);
    assert!(find(&found, "enrol.waits").is_some() && find(&found, "config.port_taken").is_none(), "{found:?}");

    tree.run(&relay);
    until("it waits for a place", || waiting(&tree).len() == 1);
    let node = node_of(&data);
    assert_eq!(code, format!("{:06}", loa::node::code(node)));
    let mut told = None;
    until("the doctor says that it waits for a place", || {
        let (found, code) = looked(&tree, "doctor", &data);
        told = find(&found, "node.waits").filter(|_| code == Some(1));
        told.is_some()
    });
    let told = told.unwrap();
    assert!(
        told.contains(&format!("loa place {code} ")) && told.contains(&parent) && told.contains("refusal: none"),
        "{told}"
    );
    let (found, done) = looked(&tree, "check", &data);
    assert!(find(&found, "node.waits").is_some() && done == Some(0), "the file is in order: {found:?}");
    // It is shown as one that waits, and not where it waits.
    let origin = tree.path("tree/origin");
    let status = String::from_utf8(tree.loa(&["status", "--data", &origin]).stdout).unwrap();
    assert!(status.contains("0 of 0 loudspeakers") && status.contains("; 1 boards wait for a place"), "{status}");
    assert!(status.contains(&format!("code {code}")) && status.contains("(waits at vn/01)"), "{status}");

    // Where and how a node cannot stand is said before anything is made.
    assert_eq!(tree.ask(&["place", &code, "--name", "Cột 1"]).0["code"], "placement.area");
    assert_eq!(tree.ask(&["place", &code, "--area", AREA]).0["code"], "placement.name");
    assert_eq!(tree.ask(&["place", &code, "--area", "la/01", "--name", "Cột 1"]).0["code"], "placement.outside");
    let more = |area: &str, device: &str| {
        let out = tree.path("more.toml");
        let words = ["enrol", "--area", area, "--count", "1", "--parent", &parent, "--device", device, "--out", &out];
        let (refused, code) = tree.ask(&words);
        assert!(!Path::new(&out).exists(), "{refused}");
        (refused["code"].as_str().unwrap().to_owned(), refused["text"].as_str().unwrap().to_owned(), code)
    };
    let (refused, text, done) = more(AREA, "oss:/dev/dsp");
    assert!(refused == "usage.playout" && text.contains("alsa:plughw:0,0") && done == Some(2), "{text}");
    let (refused, text, done) = more("la/01", "null");
    assert!(
        refused == "placement.outside" && text.contains("may place nodes in vn alone") && done == Some(1),
        "{text}"
    );

    place(&tree, node, "Cột chợ");
    let (renamed, done) = tree.ask(&["place", "Cột chợ", "--name", "Cột đình"]);
    assert_eq!((renamed["stands"].as_bool(), done), (Some(true), Some(0)), "{renamed}");
    let stands = tree.nodes().into_iter().find(|one| one["id"] == node.to_string()).unwrap();
    assert_eq!((stands["area"].as_str(), stands["name"].as_str()), (Some(AREA), Some("Cột đình")));
    until("its doctor is content with its place", || find(&looked(&tree, "doctor", &data).0, "node.waits").is_none());
}

/// Joins as a board without a place, and asks for whatever there may be; returns what came of it.
fn eavesdrop(identity: &Identity, parent: &str) -> usize {
    let socket = Arc::new(Socket::any(1 << 20).unwrap());
    let options = quic::Options { client: Some(tls::client(identity).unwrap()), server: None, most_links: 0 };
    let mut driver = quic::Driver::new(socket, options).unwrap();
    let link = driver.dial(Instant::now(), parent.parse().unwrap()).unwrap();
    let began = Instant::now();
    let (mut heard, mut greeted) = (0, false);
    let id = |id: Uuid| Bytes::copy_from_slice(id.as_bytes());
    while began.elapsed() < Duration::from_secs(8) {
        let now = Instant::now();
        while driver.handle_readable(now) {}
        driver.handle_timeout(now);
        while let Some(event) = driver.poll_event() {
            match event {
                quic::Event::Up { .. } => {
                    let hello = proto::Hello { version: 1, node: id(identity.node), ..Default::default() };
                    say(&mut driver, now, link, to_parent::Body::Hello(hello));
                    greeted = true;
                }
                quic::Event::Arrival { arrival: Arrival::Media(_), .. } => heard += 1,
                quic::Event::Arrival { arrival: Arrival::Bulk { .. }, .. } => heard += 1,
                quic::Event::Arrival { arrival: Arrival::Control(frame), .. } => {
                    use proto::to_child::Body as Told;
                    match proto::ToChild::decode(frame).unwrap().body {
                        Some(Told::Key(_) | Told::Log(_) | Told::Listening(_)) => heard += 1,
                        Some(Told::Welcome(welcome)) => heard += welcome.logs.len(),
                        Some(Told::Push(push)) => {
                            let orders = push.orders.iter().map(|signed| Order::decode(&signed.payload).unwrap());
                            heard += orders.filter(|order| matches!(order.body, Body::Broadcast(_))).count();
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if greeted {
            for track in 0..4u128 {
                let track = Uuid::from_u128((0x0190_0000_0000_7000_8000 << 48) + track);
                say(&mut driver, now, link, to_parent::Body::Listen(proto::Listen { track: id(track), from: 0 }));
            }
        }
        driver.flush(now);
        std::thread::sleep(Duration::from_millis(50));
    }
    heard
}

fn say(driver: &mut quic::Driver, now: Instant, link: u64, body: to_parent::Body) {
    let frame = proto::ToParent { body: Some(body) }.encode_to_vec();
    driver.send(now, link, Departure::Control(frame.into()));
}
