//! A plan as JSON, as rows, as a calendar.

use super::*;

fn evening() -> Plan {
    let mut late = lasting(entry(1, &["de"], once("2026-11-23T23:30")), 45);
    late.title = "Tin tức; thể thao, thời tiết\\".into();
    let entries =
        [late, entry(2, &["de"], once("2026-11-23T23:40")), urgent(entry(3, &["de"], once("2026-11-23T06:30")))];
    let open = policies(r#"[{"area":"de","quiet":{"from":"00:00","until":"00:00"}}]"#);
    let (from, until) = (civil("2026-11-23T00:00:00+01:00"), civil("2026-11-24T00:00:00+01:00"));
    plan(&entries, &open, &register(), &[area("de")], from, until).unwrap()
}

#[test]
fn json_has_times_with_the_offset_of_the_place() {
    let json = evening().to_json();
    assert_eq!(json["from"], "2026-11-22T23:00:00+00:00");
    let place = &json["places"][0];
    assert_eq!((&place["area"], &place["zone"]), (&"de".into(), &"Europe/Berlin".into()));
    assert_eq!(place["sounding"][0]["start"], "2026-11-23T06:30:00+01:00");
    assert_eq!(place["sounding"][0]["priority"], "priority");
    assert_eq!(place["sounding"][1]["end"], "2026-11-24T00:15:00+01:00");
    assert_eq!(place["sounding"][1]["plays"]["limit_us"], 45 * MINUTE);
    let refused = &place["refused"][0];
    assert_eq!(refused["why"][0]["code"], "timetable.overlap");
    assert_eq!(refused["why"][0]["places"][1], "23:30:00");
    assert!(refused["why"][0]["text"].as_str().unwrap().contains("from 23:30:00 to 00:15:00"));
    assert_eq!(refused["free"], "2026-11-24T00:15:00+01:00");
}

#[test]
fn rows_stand_in_the_order_of_time_with_the_codes() {
    let rows = evening().rows();
    let late = "Tin tức; thể thao, thời tiết\\";
    assert_eq!(rows[0], ["de", "2026-11-23", "06:30:00", "06:40:00", "priority", "Bản tin 3", "sounds", ""]);
    assert_eq!(rows[1], ["de", "2026-11-23", "23:30:00", "00:15:00 2026-11-24", "normal", late, "sounds", ""]);
    let free = "00:15:00 2026-11-24";
    assert_eq!(rows[2], ["de", "2026-11-23", "23:40:00", "23:50:00", "normal", "Bản tin 2", "timetable.overlap", free]);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].len(), ROW.len());
}

#[test]
fn a_calendar_has_an_event_for_what_sounds_in_utc() {
    let calendar = evening().to_icalendar(&register(), "vi", civil("2026-11-22T08:00:00Z"));
    assert!(
        calendar.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:") && calendar.ends_with("END:VCALENDAR\r\n")
    );
    assert!(calendar.split("\r\n").all(|line| line.len() <= 75));
    let whole = calendar.replace("\r\n ", "");
    let lines: Vec<&str> = whole.split("\r\n").collect();
    let count = |line: &str| lines.iter().filter(|known| **known == line).count();
    assert_eq!((count("BEGIN:VEVENT"), count("END:VEVENT")), (2, 2));
    for line in [
        "DTSTAMP:20261122T080000Z",
        "DTSTART:20261123T223000Z",
        "DTEND:20261123T231500Z",
        "SUMMARY:Tin tức\\; thể thao\\, thời tiết\\\\",
        "LOCATION:Đức (de)",
        "CATEGORIES:normal",
        "UID:0199f3c1-0000-7000-8000-000000000001-20261123T223000Z-de@loa",
    ] {
        assert!(lines.contains(&line), "{line} is not in {whole}");
    }
}
