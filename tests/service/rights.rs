//! An origin's right to speak: told before it ends, over by its renewal, and of what its orders reach.
use super::place::{Place, codes, json, text, until};
use loa::broadcast::Placement;
use loa::control::client::Client;
use loa::control::text::Language;
use loa::io::clock;
use loa::io::identity::{GOVERNS, Identity, Rights, Root, load_authority};
use loa::io::store::Store;
use loa::node::Role;
use loa::proto::{Record, Signed, record};
use loa::time::SECOND;
use std::fs;
use std::io::Write;
use std::process::Stdio;

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");

#[test]
fn a_right_that_ends_soon_is_told_with_its_day_and_is_no_trouble_once_it_is_renewed() {
    let place = Place::origin();
    fs::remove_dir_all(place.data()).unwrap();
    let root = Root::generate();
    super::place::provision(&root, &place.data(), Role::Relay, Some("national"));
    let (node, key) = {
        let key = load_authority(&place.data(), "national").unwrap().public();
        (Identity::load(&place.data()).unwrap().node, key)
    };
    // As if it had been granted twelve days ago, for fourteen.
    let area: loa::broadcast::Area = "vn".parse().unwrap();
    let grant = |days: i64| {
        root.grant(&key, area.clone(), "national", &Rights::of(&GOVERNS), clock::wall() - days * 86_400 * SECOND)
    };
    let stands = Placement { node, area: area.clone(), name: "node".into(), parents: Vec::new() };
    let write = |orders: Vec<Signed>| {
        let records: Vec<Record> =
            orders.into_iter().map(|order| Record { body: Some(record::Body::Order(order)) }).collect();
        Store::open(&place.data()).unwrap().append(&records).unwrap();
    };
    fs::remove_file(place.data().join("journal/orders")).unwrap();
    write(vec![root.placement(stands, clock::wall()), grant(12)]);
    let told = json(&place.loa(&["check", "--json"]));
    assert!(told["valid"] == true && codes(&told, "warning").contains(&"authority.expires".to_owned()), "{told}");

    let process = place.run();
    place.until_troubled_by(&["authority.expires"]);
    assert!(place.metric("loa_trouble{code=\"authority.expires\"} 1"));
    process.until_says("authority.expires");
    let doctor = place.command(&["doctor"]).env("LANG", "vi_VN.UTF-8").output().unwrap();
    let said = text(&doctor.stdout);
    assert!(said.contains("cảnh báo  quyền phát \"national\" hết hạn lúc ") && said.contains("+07:00"), "{said}");
    assert_eq!(doctor.status.code(), Some(0), "it may still: {said}");

    let client = Client::find(Some(&place.file()), None, Language::English).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.give(&grant(0))).unwrap();
    place.until_troubled_by(&[]);
    let fine = json(&place.loa(&["doctor", "--json"]));
    assert!(codes(&fine, "ok").contains(&"authority.fine".to_owned()), "{fine}");
}

#[test]
fn what_nobody_will_hear_is_aired_and_told_of() {
    let place = Place::origin();
    let _process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let air = |words: &[&str]| place.loa(&[&["air", BULLETIN, "--area", "vn"], words].concat());
    let aired = air(&[]);
    assert_eq!(aired.status.code(), Some(0), "{}", text(&aired.stderr));
    assert!(text(&aired.stderr).contains("vn: no loudspeaker is known to stand there"), "{}", text(&aired.stderr));
    let codes = |output: &std::process::Output| -> Vec<String> {
        let warnings = json(output)["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes(&air(&["--json"])), ["air.nobody", "air.behind"], "the one before is still on");
    assert_eq!(place.loa(&["stop", "--area", "vn"]).status.code(), Some(0));
    assert_eq!(codes(&air(&["--json"])), ["air.nobody", "air.hushed"]);
    assert_eq!(codes(&air(&["--json", "--at", "+2h"])), ["air.nobody"], "the silence is over by then");

    let mut live = place.command(&["live", "--area", "vn", "--pcm", "s16le:48000:1", "-"]);
    let mut live = live.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let noise: Vec<u8> = (0..3 * 96_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 25) as u8).collect();
    live.stdin.take().unwrap().write_all(&noise).unwrap();
    let live = live.wait_with_output().unwrap();
    let said = text(&live.stderr);
    assert!(said.contains("[air.nobody]") && said.contains("[air.hushed]"), "{said}");
}
