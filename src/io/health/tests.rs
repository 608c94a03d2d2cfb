//! What is told when, with time as an argument.
use super::*;
use crate::node::trunk::TROUBLES;

const NOW: Civil = Civil(1_800_000_000 * SECOND);

fn well() -> Seen {
    Seen {
        room: Ok(Room { free: 1 << 30, total: 1 << 34, files: Some(1 << 20), read_only: false }),
        wall: NOW,
        civil: Some(NOW),
        parents: 1,
        sessions: 1,
        certificate: Ok(Examined { from: NOW - DAY, until: NOW + 400 * DAY, verdict: Verdict::Holds }),
        issuer: Some(NOW + 5 * 365 * DAY),
    }
}

/// Codes that begin (+) and end (-) at a look.
fn codes(said: Vec<Said>) -> Vec<String> {
    said.into_iter()
        .map(|said| match said {
            Said::Trouble { code, text } => {
                assert!(TROUBLES.contains(&code) && text.len() > 20, "{code}: {text}");
                format!("+{code}")
            }
            Said::Mended { code, .. } => format!("-{code}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// What one look at `seen` begins, and that a look at a node that is well ends it.
fn once(seen: &Seen) -> Vec<String> {
    let mut health = Health::default();
    let begun = codes(health.look(Local(0), seen));
    assert_eq!(
        codes(health.look(Local(SECOND), &Seen { wall: seen.wall + SECOND, ..copy(seen) })),
        [""; 0],
        "told once"
    );
    let over = codes(health.look(Local(2 * SECOND), &Seen { wall: seen.wall + 2 * SECOND, ..copy(seen) }));
    assert_eq!(over, [""; 0]);
    begun
}

fn copy(seen: &Seen) -> Seen {
    let room = match &seen.room {
        Ok(room) => Ok(*room),
        Err(error) => Err(io::Error::from(error.kind())),
    };
    Seen { room, certificate: seen.certificate.clone(), ..*seen }
}

#[test]
fn an_issuer_that_ends_is_told_of_three_months_before_and_afterwards() {
    for left in [89 * DAY, -DAY] {
        let seen = Seen { issuer: Some(NOW + left), ..well() };
        assert_eq!(once(&seen), ["+issuer.expires"]);
    }
    assert_eq!(once(&Seen { issuer: None, ..well() }), [""; 0]);
    assert_eq!(once(&Seen { issuer: Some(NOW + 91 * DAY), ..well() }), [""; 0]);
}

#[test]
fn a_node_that_is_well_says_nothing() {
    assert_eq!(once(&well()), [""; 0]);
}

#[test]
fn a_disk_that_is_full_read_only_or_gone_is_told_once_and_its_end_too() {
    let room = |free, read_only| Ok(Room { free, total: 1 << 34, files: None, read_only });
    assert_eq!(once(&Seen { room: room(1 << 20, false), ..well() }), ["+disk.full"]);
    assert_eq!(once(&Seen { room: room(0, true), ..well() }), ["+disk.read_only"]);
    assert_eq!(once(&Seen { room: Err(io::Error::from(io::ErrorKind::NotFound)), ..well() }), ["+disk.gone"]);
    let mut health = Health::default();
    assert_eq!(codes(health.look(Local(0), &Seen { room: room(0, false), ..well() })), ["+disk.full"]);
    let later = Local(90 * SECOND);
    let said = health.look(later, &Seen { wall: NOW + 90 * SECOND, civil: Some(NOW + 90 * SECOND), ..well() });
    assert_eq!(said, [Said::Mended { code: "disk.full", text: "over, after 90 s".into() }]);
}

#[test]
fn a_clock_of_1970_an_hour_off_and_one_that_jumps_are_told_apart() {
    let start = Civil(3_600 * SECOND);
    assert_eq!(once(&Seen { wall: start, civil: Some(NOW), ..well() }), ["+clock.unset"]);
    assert_eq!(once(&Seen { civil: Some(NOW - 3_600 * SECOND), ..well() }), ["+clock.off"]);
    // A root origin's clock is the tree's time, and the trunk tells when it was stepped.
    assert_eq!(once(&Seen { civil: Some(NOW - 3_600 * SECOND), parents: 0, sessions: 0, ..well() }), [""; 0]);
    let mut health = Health::default();
    let at = |seconds: i64, wall: Civil| (Local(seconds * SECOND), Seen { wall, civil: None, ..well() });
    for (step, (now, seen), told) in [
        (0, at(0, NOW), vec![]),
        (1, at(5, NOW + 5 * SECOND), vec![]),
        (2, at(10, NOW + 3_610 * SECOND), vec!["+clock.jumped"]),
        (3, at(15, NOW + 3_615 * SECOND), vec![]),
        (4, at(71, NOW + 3_671 * SECOND), vec!["-clock.jumped"]),
    ] {
        assert_eq!(codes(health.look(now, &seen)), told, "look {step}");
    }
}

#[test]
fn a_parent_that_vanishes_is_told_after_a_minute_and_once_in_a_day() {
    let mut health = Health::default();
    let mut told = Vec::new();
    for seconds in (0..86_400).step_by(5) {
        let gone = Seen { sessions: 0, wall: NOW + seconds * SECOND, civil: None, ..well() };
        let said = codes(health.look(Local(seconds * SECOND), &gone));
        told.extend(said.into_iter().map(|code| (seconds, code)));
    }
    assert_eq!(told, [(60, "+parent.lost".to_owned())]);
    let back = Seen { wall: NOW + 86_400 * SECOND, civil: None, ..well() };
    assert_eq!(codes(health.look(Local(86_400 * SECOND), &back)), ["-parent.lost"]);
}

#[test]
fn a_certificate_is_told_before_its_end_and_after_it() {
    let of = |until, verdict| Ok(Examined { from: NOW - DAY, until, verdict });
    assert_eq!(once(&Seen { certificate: of(NOW + 13 * DAY, Verdict::Holds), ..well() }), ["+certificate.expires"]);
    assert_eq!(once(&Seen { certificate: of(NOW - DAY, Verdict::Expired), ..well() }), ["+certificate.expired"]);
    assert_eq!(once(&Seen { certificate: of(NOW + DAY, Verdict::NotYet), ..well() }), ["+certificate.not_yet"]);
    let foreign = Verdict::Foreign("no root".into());
    assert_eq!(once(&Seen { certificate: of(NOW + DAY, foreign), ..well() }), ["+certificate.foreign"]);
    assert_eq!(once(&Seen { certificate: of(NOW + DAY, Verdict::WrongKey), ..well() }), ["+certificate.unusable"]);
    assert_eq!(once(&Seen { certificate: Err("node.crt: gone".into()), ..well() }), ["+certificate.unusable"]);
    // A clock that is not set says nothing about dates.
    let unset = Seen { wall: Civil(SECOND), civil: None, certificate: of(NOW, Verdict::Holds), ..well() };
    assert_eq!(once(&unset), ["+clock.unset"]);
}
