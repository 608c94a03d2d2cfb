//! A loudspeaker that runs: its switch, and `loa volume` beside it and from above.
use super::place::{Place, Process, free, json, provision, text, until};
use loa::io::identity::{NewNode, PLACES, Rights, Root};
use loa::node::Role;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// An origin with an API, and a loudspeaker below it with a switch.
struct Pole {
    above: Place,
    below: Place,
    _origin: Process,
    speaker: Process,
}

impl Pole {
    fn start(playout: &str) -> Self {
        let (above, below) = (Place::of(Role::Relay, None), Place::of(Role::Speaker, None));
        let root = Root::generate();
        for place in [&above, &below] {
            fs::remove_dir_all(place.data()).unwrap();
        }
        let (area, name, authority) = ("vn".parse().unwrap(), "origin".to_owned(), Some("national".to_owned()));
        let origin = NewNode { role: Role::Relay, area, name, authority };
        // Who may place nodes may say how they sound.
        root.provision_with(&above.data(), &origin, &Rights::of(&PLACES), Vec::new()).unwrap();
        provision(&root, &below.data(), Role::Speaker, None);
        let port = free();
        above.configure(&format!(
            "[children]\nlisten = \"{port}\"\n[sources]\nauthority = \"national\"\n[api]\nlisten = \"{}\"\n",
            free()
        ));
        below.configure(&format!("[parent]\naddresses = [\"{port}\"]\n[playout]\ndevice = \"null\"\n{playout}"));
        let (origin, speaker) = (above.run(), below.run());
        until("the loudspeaker is ready", || below.own().is_some_and(|own| own["ready"] == true));
        let pole = Self { above, below, _origin: origin, speaker };
        until("the loudspeaker is known above", || pole.seen()["state"] == "idle");
        pole
    }

    /// What the loudspeaker says of itself, as the origin has it.
    fn seen(&self) -> serde_json::Value {
        self.node("speaker")
    }

    fn node(&self, role: &str) -> serde_json::Value {
        let nodes = json(&self.above.loa(&["nodes", "--json"]));
        let nodes = nodes["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["role"] == role).cloned().unwrap_or_default()
    }
}

#[test]
fn a_switch_mutes_what_is_no_emergency_and_the_top_sees_it() {
    let pole = Pole::start("mute_switch = \"value\"\n");
    let value = pole.below.folder.path().join("value");
    until("the switch that is not there is told", || pole.below.metric("loa_trouble{code=\"mute.switch\"} 1"));
    assert!(pole.speaker.log().contains("mute.switch"));
    fs::write(&value, "0\n").unwrap();
    until("the switch is found", || pole.below.metric("loa_trouble{code=\"mute.switch\"} 0"));
    assert!(pole.below.metric("loa_muted 0"));
    fs::write(&value, "1\n").unwrap();
    until("it is muted", || pole.below.metric("loa_muted 1"));
    until("the origin sees until when", || pole.seen()["muted_until"].is_string());
    let listed = text(&pole.above.loa(&["nodes"]).stdout);
    assert!(listed.contains("muted until "), "{listed}");
    // A mute by the switch is ended by a word too.
    let said = pole.below.loa(&["volume", "--unmute"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
    until("it sounds again", || pole.below.metric("loa_muted 0"));
    fs::write(&value, "0\n").unwrap();
    until("nothing is muted", || pole.seen()["muted_until"].is_null());
}

#[test]
fn loa_volume_sets_this_machine_and_those_below_another() {
    let pole = Pole::start("priority_db = -2.0\n");
    let here = |words: &[&str]| {
        let output = pole.below.loa(&[&["volume", "--json"], words].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        json(&output)
    };
    assert_eq!((here(&[])["normal_db"].as_f64(), here(&[])["priority_db"].as_f64()), (Some(0.0), Some(-2.0)));
    let turned = here(&["--normal", "-12", "--mute"]);
    assert!(turned["normal_db"] == -12.0 && turned["muted"] == true && turned["muted_until_us"].is_i64(), "{turned}");
    let shown = text(&pole.below.loa(&["volume"]).stdout);
    assert!(shown.contains("normal -12 dB") && shown.contains("muted until "), "{shown}");
    let refused = |place: &Place, words: &[&str], code: &str, exit: i32| {
        let output = place.loa(&[&["volume"], words].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(exit) && said.contains(&format!("[{code}]")), "{words:?}: {said}");
    };
    refused(&pole.below, &["--normal", "-31"], "volume.range", 2);
    refused(&pole.below, &["--emergency", "-3"], "usage.volume_here", 2);
    // The origin has no loudspeaker of its own.
    refused(&pole.above, &["--mute"], "playout.none", 1);

    let id = pole.seen()["id"].as_str().unwrap().to_owned();
    refused(&pole.above, &[&id, "--emergency", "-20"], "volume.floor", 1);
    refused(&pole.above, &[&id, "--hours", "night"], "usage.hours", 2);
    refused(&pole.above, &["--area", "vn/09", "--mute"], "volume.nobody", 1);
    let own = pole.node("relay")["id"].as_str().unwrap().to_owned();
    refused(&pole.above, &[&own, "--mute"], "volume.relay", 1);
    let all_day = ["--hours", "00:00-00:00=-9", "--delay", "120", "--group", "2/3", "--step", "1000"];
    let given =
        pole.above.loa(&[&["volume", "--area", "vn", "--unmute", "--priority", "-4", "--json"], &all_day[..]].concat());
    assert_eq!(given.status.code(), Some(0), "{}", text(&given.stderr));
    assert_eq!(json(&given)["told"], 1);
    until("the loudspeaker has taken it", || {
        let now = here(&[]);
        now["late_ms"] == 1_120 && now["priority_db"] == -9.0 && now["muted"] == false && now["normal_db"] == -12.0
    });
    until("its counters say so", || pole.below.metric("loa_volume_decibels{priority=\"priority\"} -9"));
    let shown = text(&pole.above.loa(&["volume", &id]).stdout);
    assert!(shown.contains("00:00-00:00=-9") && shown.contains("1120"), "{shown}");
}

#[test]
fn a_page_in_a_browser_on_the_machine_mutes_nobody() {
    let place = Place::of(Role::Speaker, None);
    place.configure("[parent]\naddresses = [\"127.0.0.1:9\"]\n[playout]\ndevice = \"null\"\n");
    let _process = place.run();
    until("the node answers", || place.own().is_some());
    let mut stream = TcpStream::connect(place.admin).unwrap();
    let body = "{\"mute\":true}";
    let head =
        format!("POST /v1/volume HTTP/1.0\r\nOrigin: http://news.example\r\nContent-Length: {}\r\n\r\n", body.len());
    write!(stream, "{head}{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 403 ") && answer.contains("volume.page"), "{answer}");
    until("nobody is muted", || place.metric("loa_muted 0"));
}
