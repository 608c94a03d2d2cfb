//! Bad ground below a node: a full and a read-only disk, parents of another tree, parents that vanish, a player that is
//! gone. Each is told by its code, and is over by itself once its cause has gone.
use super::place::{Place, Process, codes, free, json, provision, text, until};
use loa::io::identity::Root;
use loa::node::Role;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const BULLETIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/bulletin-2.flac");

/// A small file system of its own, unmounted at its end.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said, where this may not be done.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                eprintln!("skipped: mount: {}", text(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: mount: {error}");
                None
            }
        }
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(status.unwrap().success(), "remount {how}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// An origin whose data folder lies on a disk of its own.
fn origin_on_a_disk() -> Option<(Place, Disk)> {
    let place = Place::origin();
    let disk = Disk::mount(&place.folder.path().join("disk"), "size=4m,mode=700")?;
    provision(&Root::generate(), &place.folder.path().join("disk/data"), Role::Relay, Some("national"));
    let text = fs::read_to_string(place.file()).unwrap().replace("data = \"data\"", "data = \"disk/data\"");
    fs::write(place.file(), text).unwrap();
    Some((place, disk))
}

fn ready(place: &Place) -> Process {
    let process = place.run();
    until("the node is ready", || place.own().is_some_and(|own| own["ready"] == true));
    process
}

fn is_troubled_by(place: &Place, code: &str) -> bool {
    let own = place.own();
    own.is_some_and(|own| own["troubles"].as_array().is_some_and(|codes| codes.contains(&code.into())))
}

#[test]
fn a_full_disk_is_told_silence_is_kept_all_the_same_sound_is_refused_and_room_ends_it() {
    let Some((place, disk)) = origin_on_a_disk() else { return };
    let process = ready(&place);
    place.until_troubled_by(&[]);
    assert!(place.metric("loa_trouble{code=\"disk.full\"} 0"));
    let filler = disk.0.join("filler");
    // To the last byte.
    let _ = fs::write(&filler, vec![1; 8 << 20]);
    until("the node says that its disk is full", || is_troubled_by(&place, "disk.full"));
    assert!(place.metric("loa_trouble{code=\"disk.full\"} 1"));
    assert!(process.log().contains("disk.full"), "{}", process.log());
    // The journal's last page has room for some orders. A silence is acted on even if it can't be kept.
    until("the node says that it cannot write", || {
        let silenced = place.loa(&["stop", "--area", "vn"]);
        assert_eq!(silenced.status.code(), Some(0), "{}", text(&silenced.stderr));
        is_troubled_by(&place, "store.failed")
    });
    let refused = place.loa(&["air", BULLETIN, "--area", "vn"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("[media.store]"), "{}", text(&refused.stderr));
    let doctor = place.loa(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1));
    let told = codes(&json(&doctor), "mistake");
    assert!(["disk.full", "store.failed"].iter().all(|code| told.contains(&(*code).to_owned())), "{told:?}");

    fs::remove_file(&filler).unwrap();
    let done = place.loa(&["stop", "--area", "vn"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    place.until_troubled_by(&[]);
    assert_eq!(place.loa(&["doctor"]).status.code(), Some(0));
}

#[test]
fn a_read_only_disk_is_named_and_the_node_starts_once_it_can_be_written() {
    let Some((place, disk)) = origin_on_a_disk() else { return };
    disk.remount("ro");
    let output = place.loa(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("[disk.read_only]"), "{}", text(&output.stderr));
    assert!(codes(&json(&place.loa(&["check", "--json"])), "mistake").contains(&"disk.read_only".to_owned()));
    disk.remount("rw");
    drop(ready(&place));
}

/// An origin and a relay below it.
fn family() -> (Place, Place) {
    let (above, below) = (Place::of(Role::Relay, None), Place::of(Role::Relay, None));
    let root = Root::generate();
    for place in [&above, &below] {
        fs::remove_dir_all(place.data()).unwrap();
    }
    provision(&root, &above.data(), Role::Relay, Some("national"));
    provision(&root, &below.data(), Role::Relay, None);
    let port = free();
    above.configure(&format!("[children]\nlisten = \"{port}\"\n[sources]\nauthority = \"national\"\n"));
    below.configure(&format!("[parent]\naddresses = [\"{port}\"]\n[children]\nlisten = \"127.0.0.1:0\"\n"));
    (above, below)
}

#[test]
fn a_parent_that_vanishes_is_told_and_found_again_when_it_returns() {
    let (above, below) = family();
    let closed = below.loa(&["check", "--json"]);
    assert_eq!(codes(&json(&closed), "mistake"), ["parent.closed"]);
    let process = ready(&above);
    let fine = json(&below.loa(&["check", "--json"]));
    assert!(fine["valid"] == true && codes(&fine, "ok").contains(&"parent.fine".to_owned()), "{fine}");
    let _child = ready(&below);
    assert_eq!(below.loa(&["doctor"]).status.code(), Some(0));
    drop(process);
    until("the child has no parent", || below.own().is_some_and(|own| own["parents"] == 0));
    let doctor = below.loa(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1));
    let told = codes(&json(&doctor), "mistake");
    assert!(told.contains(&"doctor.no_parent".to_owned()) && told.contains(&"parent.closed".to_owned()), "{told:?}");
    let _again = ready(&above);
    until("the child has its parent again", || below.own().is_some_and(|own| own["parents"] == 1));
    until("the doctor is content", || below.loa(&["doctor"]).status.code() == Some(0));
}

#[test]
fn a_parent_of_another_tree_and_a_certificate_that_is_not_taken_are_told_apart() {
    let (above, below) = family();
    let _process = ready(&above);
    let roots = below.data().join("roots");
    let (own, key) = (fs::read(roots.join("main.crt")).unwrap(), below.data().join("node.key"));
    // Of another root altogether.
    fs::remove_dir_all(below.data()).unwrap();
    provision(&Root::generate(), &below.data(), Role::Relay, None);
    let told = codes(&json(&below.loa(&["check", "--json"])), "mistake");
    assert_eq!(told, ["parent.refused"]);
    // The same with the tree's roots: now the parent is the one that refuses.
    fs::write(roots.join("main.crt"), own).unwrap();
    let told = codes(&json(&below.loa(&["check", "--json"])), "mistake");
    assert_eq!(told, ["certificate.foreign", "parent.refuses_us"]);
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    let told = codes(&json(&below.loa(&["check", "--json"])), "mistake");
    assert_eq!(told, ["node.identity"]);
}

#[test]
fn a_player_that_is_gone_is_told_and_taken_again_when_it_is_back() {
    let place = Place::of(Role::Speaker, None);
    place.configure("[parent]\naddresses = [\"127.0.0.1:9\"]\n[playout]\ndevice = \"pipe:./player\"\n");
    let _process = place.run();
    until("the node says that its player is gone", || is_troubled_by(&place, "sound.pipe"));
    let told = codes(&json(&place.loa(&["doctor", "--json"])), "mistake");
    assert!(["sound.program", "sound.pipe"].iter().all(|code| told.contains(&(*code).to_owned())), "{told:?}");
    let player = place.folder.path().join("player");
    fs::write(&player, "#!/bin/sh\nexec cat > /dev/null\n").unwrap();
    fs::set_permissions(&player, fs::Permissions::from_mode(0o755)).unwrap();
    until("the player is taken again", || place.own().is_some() && !is_troubled_by(&place, "sound.pipe"));
}
