//! Plugins of the library stand in for sound cards: they need no hardware.
use super::super::hardware::Hardware;
use super::super::{PERIOD as LOOK, Said};
use super::*;
use std::time::{Duration, Instant};

/// Runs a device for a second of real time. What was said, frames let out, the last report, and how long
/// it truly took.
fn second(name: &str) -> (Vec<Said>, usize, crate::playout::Device, f64) {
    let own = name.to_owned();
    let began = clock::local();
    let mut hardware = Hardware::new(name.into(), began, Box::new(move || open(&own)));
    let (mut said, mut frames) = (Vec::new(), 0);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let mut out = Vec::new();
        hardware.serve(clock::local(), &mut out, &mut said, &mut || None);
        frames += out.len();
        std::thread::sleep(LOOK);
    }
    let report = hardware.report(clock::local());
    let lasted = (report.at - began) as f64 * 1e-6;
    (said, frames, report, lasted)
}

#[test]
fn a_plugin_that_swallows_sound_is_paced_in_real_time_and_said_to_keep_none() {
    let (said, frames, report, lasted) = second("null");
    assert!(matches!(&said[..], [Said::Trouble { code: "sound.clockless", .. }]), "{said:?}");
    // Half a buffer goes in before its time, and the last look was up to a period ago.
    assert!((frames as f64 - lasted * 48_000.0).abs() < 6_000.0, "{frames} frames in {lasted} s");
    assert!((report.played - lasted * 48_000.0).abs() < 100.0, "{report:?} after {lasted} s");
    assert_eq!(report.steps, 0);
    // Without a plan all of it was silence.
    assert!(report.inserted as usize >= frames, "{report:?}, {frames} frames");
}

#[test]
fn a_plugin_that_writes_a_file_gets_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.raw");
    let (said, frames, ..) = second(&format!("file:'{}',raw", file.display()));
    assert!(matches!(&said[..], [Said::Trouble { code: "sound.clockless", .. }]), "{said:?}");
    let bytes = std::fs::metadata(&file).unwrap().len() as usize;
    assert!(bytes / 2 + 960 >= frames && bytes / 2 <= 2 * frames, "{bytes} bytes of {frames} frames");
}

#[test]
fn a_card_that_is_not_there_is_named_with_the_mend_and_counted_on_for() {
    let (said, _, report, lasted) = second("hw:CARD=loa-no-such-card");
    let [Said::Trouble { code: "sound.device", text }] = &said[..] else { panic!("{said:?}") };
    assert!(text.contains("loa-no-such-card") && text.contains("aplay -L"), "{text}");
    assert!((report.played - lasted * 48_000.0).abs() < 100.0, "{report:?} after {lasted} s");
}
