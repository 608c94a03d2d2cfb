//! `loa run` below a service manager: what that is told, SIGTERM, SIGHUP, and a second node on the same folder.
use super::place::{PATIENCE, Place, text, until};
use std::fs;
use std::os::unix::net::UnixDatagram;

/// The next datagram that is not a sign of life.
fn told(socket: &UnixDatagram) -> String {
    loop {
        let mut bytes = [0; 1_024];
        let length = socket.recv(&mut bytes).expect("the service manager is told");
        let said = text(&bytes[..length]);
        if said != "WATCHDOG=1" {
            return said;
        }
    }
}

#[test]
fn a_service_manager_is_told_of_every_step_and_that_the_node_lives() {
    let place = Place::origin();
    let path = place.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = place.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "600000");
    let mut process = place.run_with(command);
    assert_eq!(told(&socket), "READY=1");
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes).unwrap();
    assert_eq!(text(&bytes[..length]), "WATCHDOG=1");
    process.signal("-HUP");
    assert!(told(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(&socket), "READY=1");
    process.signal("-TERM");
    assert_eq!(told(&socket), "STOPPING=1");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}

#[test]
fn a_hang_up_takes_what_it_can_names_what_must_wait_and_refuses_mistakes_as_a_whole() {
    let place = Place::origin();
    let process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let before = fs::read_to_string(place.file()).unwrap();

    fs::write(place.file(), before.replace("authority", "loudness = \"loud\"\nauthoritee")).unwrap();
    process.signal("-HUP");
    process.until_says("reload.refused");
    let log = process.log();
    assert!(log.contains("config.unknown_field") && log.contains("config.type"), "{log}");

    let after = before.replace("[children]", "[log]\nlevel = \"debug\"\n\n[children]\nshards = 2");
    fs::write(place.file(), after).unwrap();
    process.signal("-HUP");
    process.until_says("reload.restart");
    let log = process.log();
    assert!(log.contains("children") && log.contains("the configuration was read again"), "{log}");
}

#[test]
fn a_token_that_was_replaced_is_taken_at_the_hang_up() {
    let place = Place::origin();
    let process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let status = || place.loa(&["status"]).status.code();
    assert_eq!(status(), Some(0));
    fs::write(place.data().join("api.token"), "ab".repeat(32)).unwrap();
    // The command line reads the new one; the node still has the old one.
    assert_eq!(status(), Some(1));
    process.signal("-HUP");
    until("the new token is taken", || status() == Some(0));
}

#[test]
fn a_second_node_on_one_data_folder_is_told_who_holds_it() {
    let place = Place::origin();
    let process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    let first = fs::read_to_string(place.file()).unwrap();
    // With other ports: the folder alone is in the way.
    let ports = first.replace(&place.admin.to_string(), "127.0.0.1:0");
    let ports = ports.lines().map(|line| if line.starts_with("listen") { "listen = \"127.0.0.1:0\"" } else { line });
    let other = place.folder.path().join("other.toml");
    fs::write(&other, ports.collect::<Vec<_>>().join("\n")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loa"))
        .args(["run", "--config"])
        .arg(&other)
        .env("LANG", "C")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("[data.in_use]") && said.contains(&process.child.id().to_string()), "{said}");
    // The first goes on, and its folder is free once it has gone.
    assert!(place.own().is_some());
    drop(process);
    let _again = place.run();
    until("a node starts on the folder again", || place.own().is_some());
}
