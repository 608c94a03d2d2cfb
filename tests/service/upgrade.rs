//! Releases live together: this one opens the data folder that an earlier one left (`tests/vectors/data-1`), refuses
//! one of a release that it cannot know, and joins neighbours of the release before and after.
use super::place::{Place, get, text, until};
use bytes::Bytes;
use loa::io::identity::{Identity, load_authority};
use loa::io::store::{Store, VERSION};
use loa::node::Role;
use loa::proto::{Hello, ToChild, ToParent, Welcome, to_child, to_parent};
use loa::session::{Arrival, Child, Departure, Parent, child, parent};
use loa::time::Local;
use prost::Message;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What the fixture holds.
const LEFT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/data-1");
const AUTHORITY: &str = "national";

/// An origin with the folder of the earlier release, as its owner left it: nobody else may read it.
fn left() -> Place {
    let place = Place::origin();
    fs::remove_dir_all(place.data()).unwrap();
    copy(Path::new(LEFT), &place.data());
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn tracks(data: &Path) -> Vec<Uuid> {
    let entries = fs::read_dir(data.join("tracks")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap()).collect()
}

#[test]
fn the_folder_of_an_earlier_release_is_opened_with_all_that_it_holds() {
    let place = left();
    let identity = Identity::load(&place.data()).unwrap();
    assert_eq!(identity.role, Role::Relay);
    load_authority(&place.data(), AUTHORITY).unwrap();
    let store = Store::open(&place.data()).unwrap();
    let records = store.journal().unwrap();
    assert!(records.len() >= 4, "placement, grant, a broadcast and its key: {}", records.len());
    let tracks = tracks(&place.data());
    assert_eq!(tracks.len(), 1);
    let packets = store.fetch(tracks[0], 0, u64::MAX).unwrap();
    assert_eq!(packets.first().map(|packet| packet.index), Some(0));
    assert_eq!(packets.last().map(|packet| packet.index), Some(packets.len() as u64 - 1));
    drop(store);

    let process = place.run();
    until("a node runs on it", || place.own().is_some());
    assert_eq!(place.own().unwrap()["node"], identity.node.to_string());
    let token = fs::read_to_string(place.data().join("api.token")).unwrap();
    let api = fs::read_to_string(place.file()).unwrap();
    let api = api.split("[api]\nlisten = \"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let media: Value = serde_json::from_str(&get(api, "/v1/media", Some(token.trim())).unwrap()).unwrap();
    assert_eq!(media["media"][0]["name"], "fixture.wav", "{media}");
    drop(process);
}

#[test]
fn the_folder_of_a_later_release_is_left_alone_and_the_mend_is_told() {
    let place = left();
    let newer = VERSION.parse::<u32>().unwrap() + 1;
    fs::write(place.data().join("VERSION"), format!("{newer}\n")).unwrap();
    let output = place.loa(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("[data.version]") && said.contains("use the loa that wrote it"), "{said}");
    assert_eq!(fs::read_to_string(place.data().join("VERSION")).unwrap(), format!("{newer}\n"));
}

/// Makes the fixture anew: `cargo test --test service make_the_folder -- --ignored`; for a new VERSION, beside the old.
#[test]
#[ignore = "writes tests/vectors"]
fn make_the_folder_of_this_release() {
    let place = Place::origin();
    let wav = place.folder.path().join("fixture.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&wav, spec).unwrap();
    for sample in 0..32_000 {
        writer.write_sample(((f64::from(sample) * 0.1).sin() * 9_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let mut process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let aired = place.loa(&["air", &wav.display().to_string(), "--area", "vn", "--at", "+1h", "--title", "Mẫu"]);
    assert!(aired.status.success(), "{}", text(&aired.stderr));
    process.signal("-TERM");
    process.ended();
    let made = PathBuf::from(LEFT).with_file_name(format!("data-{VERSION}"));
    let _ = fs::remove_dir_all(&made);
    copy(&place.data(), &made);
    fs::remove_file(made.join("LOCK")).unwrap();
}

/// A field of a later release, and a feature that nobody knows yet.
const LATER: &[u8] = &[0xfa, 0x7f, 3, 1, 2, 3];
const FEATURE: u64 = 1 << 40;

fn control(mut poll: impl FnMut() -> Option<Departure>) -> Bytes {
    loop {
        match poll().expect("a control message") {
            Departure::Control(bytes) => return bytes,
            _ => continue,
        }
    }
}

/// A child says Hello and is welcomed; what each says is what its release would say.
fn joins(child_version: u32, parent_version: u32) -> Result<(), &'static str> {
    let node = Uuid::from_u128(1 << 100);
    let mut child =
        Child::new(Local(0), child::Options::default(), child::Me { node, placement: None, grants: Vec::new() });
    let said = ToParent::decode(control(|| child.poll_departure())).unwrap();
    let Some(to_parent::Body::Hello(hello)) = said.body else { panic!("{said:?}") };
    let hello = Hello { version: child_version, features: FEATURE, ..hello };
    let mut bytes = ToParent { body: Some(to_parent::Body::Hello(hello)) }.encode_to_vec();
    bytes.extend_from_slice(LATER);
    let mut parent = Parent::new(Local(0), parent::Options::default());
    let arrival = Arrival::Control(bytes.into());
    parent.handle_arrival(Local(1), None, arrival).map_err(|violation| violation.code)?;
    assert!(matches!(parent.poll_event(), Some(parent::Event::Hello { node: named, .. }) if named == node));

    parent.welcome(Welcome { node: Uuid::from_u128(7).as_bytes().to_vec().into(), ..Welcome::default() });
    let said = ToChild::decode(control(|| parent.poll_departure())).unwrap();
    let Some(to_child::Body::Welcome(welcome)) = said.body else { panic!("{said:?}") };
    let welcome = Welcome { version: parent_version, features: FEATURE, ..welcome };
    let mut bytes = ToChild { body: Some(to_child::Body::Welcome(welcome)) }.encode_to_vec();
    bytes.extend_from_slice(LATER);
    child.handle_arrival(Local(2), Arrival::Control(bytes.into())).map_err(|violation| violation.code)?;
    let mut events = std::iter::from_fn(|| child.poll_event());
    assert!(events.any(|event| matches!(event, child::Event::Welcomed { .. })));
    // A message that only a later release knows is passed over.
    let arrival = Arrival::Control(Bytes::from_static(LATER));
    child.handle_arrival(Local(3), arrival).map_err(|violation| violation.code)?;
    parent
        .handle_arrival(Local(3), None, Arrival::Control(Bytes::from_static(LATER)))
        .map_err(|violation| violation.code)
}

#[test]
fn neighbours_may_differ_by_one_release_and_not_by_two() {
    let own = loa::session::VERSION;
    assert_eq!(joins(own, own), Ok(()));
    assert_eq!(joins(own + 1, own), Ok(()));
    assert_eq!(joins(own, own + 1), Ok(()));
    assert_eq!(joins(own + 2, own), Err("version.unsupported"));
    assert_eq!(joins(own, own + 2), Err("version.unsupported"));
}
