//! What is said of a node's ground, without any node.
use super::*;
use crate::io::identity::{NewNode, Root};
use crate::node::Role;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const HERE: Around = Around { running: false, joined: false };

fn provisioned(role: Role) -> TempDir {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let node = NewNode { role, area: "vn/01".parse().unwrap(), name: "n".into(), authority: None };
    Root::generate().provision(&folder.path().join("data"), &node).unwrap();
    folder
}

fn looked(folder: &TempDir, sections: &str, around: Around) -> Report {
    let text = format!("[node]\ndata = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{sections}");
    let config = Config::parse(&text, &folder.path().join("loa.toml")).unwrap_or_else(|error| panic!("{error}"));
    let mut report = Report::new(Language::English);
    look(&config, &mut report, around);
    report
}

fn wrong(report: &Report) -> Vec<&str> {
    let wrong = report.findings.iter().filter(|finding| finding.level == Level::Mistake);
    wrong.map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_node_in_order_has_nothing_to_mend() {
    let folder = provisioned(Role::Relay);
    let report = looked(
        &folder,
        "[children]\nlisten = \"127.0.0.1:0\"\n[playout]\ndevice = \"null\"\n[sources]\nauthority = \"x\"\n",
        HERE,
    );
    // The key of its authority is the only thing that it lacks.
    assert_eq!(wrong(&report), ["node.authority"]);
    let report = looked(&folder, "[children]\nlisten = \"127.0.0.1:0\"\n", HERE);
    assert_eq!(wrong(&report), [""; 0], "{}", report.lines());
    for code in ["data.fine", "certificate.fine", "port.free"] {
        assert!(report.findings.iter().any(|finding| finding.code == code), "{code}: {}", report.lines());
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_both_languages() {
    let folder = provisioned(Role::Speaker);
    let data = folder.path().join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(data.join("VERSION"), "9\n").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let sections = format!(
        "[children]\nlisten = \"{}\"\nmulticast = \"232.7.4.60:7470\"\ninterface = \"nosuch0\"\n[api]\nlisten = \"{}\"\n\
         [parent]\naddresses = [\"x..y:7460\"]\n[playout]\ndevice = \"pipe:no-such-player\"\n[sources]\nauthority = \"a\"\n\
         decoder = \"no-such-decoder\"\n",
        udp.local_addr().unwrap(),
        tcp.local_addr().unwrap()
    );
    let report = looked(&folder, &sections, HERE);
    let all = [
        "data.mode",
        "data.version",
        "node.authority",
        "config.role",
        "children.interface",
        "config.port_taken",
        "config.port_taken",
        "parent.name",
        "sound.program",
        "sources.decoder",
    ];
    assert_eq!(wrong(&report), all, "{}", report.lines());
    assert!(report.lines().contains("chmod 700"), "{}", report.lines());
    assert!(report.findings.iter().all(|finding| finding.text.len() > 20), "{}", report.lines());
}

#[test]
fn what_a_running_node_holds_is_no_mistake() {
    let folder = provisioned(Role::Relay);
    let _store = store::Store::open(&folder.path().join("data")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sections = format!("[children]\nlisten = \"{}\"\n", udp.local_addr().unwrap());
    let running = store::holder(&folder.path().join("data")).is_some();
    let report = looked(&folder, &sections, Around { running, joined: true });
    assert_eq!(wrong(&report), [""; 0], "{}", report.lines());
    assert!(report.lines().contains("[data.in_use]") && report.lines().contains("[port.own]"), "{}", report.lines());
}

#[test]
fn a_folder_that_is_missing_is_told_and_the_rest_is_looked_at_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let report = looked(&folder, "[parent]\naddresses = [\"x..y:7460\"]\n", HERE);
    assert_eq!(wrong(&report), ["data.missing", "parent.name"], "{}", report.lines());
}

#[test]
fn a_foreign_and_a_mixed_up_identity_are_told_apart() {
    let (folder, other) = (provisioned(Role::Relay), provisioned(Role::Relay));
    let (data, from) = (folder.path().join("data"), other.path().join("data"));
    fs::copy(from.join("roots/main.crt"), data.join("roots/main.crt")).unwrap();
    assert_eq!(wrong(&looked(&folder, "[children]\nlisten = \"127.0.0.1:0\"\n", HERE)), ["certificate.foreign"]);
    fs::copy(from.join("node.key"), data.join("node.key")).unwrap();
    assert_eq!(wrong(&looked(&folder, "[children]\nlisten = \"127.0.0.1:0\"\n", HERE)), ["certificate.wrong_key"]);
    fs::write(data.join("node.crt"), "nothing").unwrap();
    assert_eq!(wrong(&looked(&folder, "[children]\nlisten = \"127.0.0.1:0\"\n", HERE)), ["node.identity"]);
}

#[test]
fn what_is_wrong_stands_first() {
    let mut report = Report::new(Language::Vietnamese);
    report.add(Level::Ok, "a.ok", "một".into());
    report.add(Level::Mistake, "b.wrong", "hai".into());
    report.add(Level::Warning, "c.perhaps", "ba".into());
    let codes: Vec<String> =
        report.lines().lines().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(codes, ["[b.wrong]", "[c.perhaps]", "[a.ok]"]);
    assert_eq!((report.count(Level::Mistake), report.count(Level::Warning)), (1, 1));
}

#[test]
fn the_files_of_a_timetable_are_read_and_a_clock_that_is_trusted_is_looked_at() {
    let folder = provisioned(Role::Relay);
    fs::write(folder.path().join("entries.json"), "[{}]").unwrap();
    fs::write(folder.path().join("areas.csv"), "code,name:vi\nvn,Việt Nam\n").unwrap();
    let sections = "[children]\nlisten = \"127.0.0.1:0\"\n[sources]\nauthority = \"x\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
                    [timetable]\nentries = \"entries.json\"\nregister = \"areas.csv\"\npolicies = \"none.json\"\n";
    let report = looked(&folder, sections, HERE);
    assert_eq!(wrong(&report), ["node.authority", "timetable.wrong", "client.file"], "{}", report.lines());
    assert!(report.lines().contains("entry 1: title: ") && report.lines().contains("[timetable.fine]"));
    let parent = "[parent]\naddresses = [\"127.0.0.1:9\"]\n[playout]\ndevice = \"null\"\n";
    let speaker = provisioned(Role::Speaker);
    let report = looked(&speaker, parent, Around { running: false, joined: true });
    assert!(report.lines().contains("[clock.alone]"), "{}", report.lines());
    let trusted = format!("{parent}[clock]\ntrusted = \"gnss\"\n");
    let report = looked(&speaker, &trusted, Around { running: false, joined: true });
    let said = ["[clock.trusted]", "[clock.not_set_now]"].iter().any(|code| report.lines().contains(code));
    assert!(said, "{}", report.lines());
}
