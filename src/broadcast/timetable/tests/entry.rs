//! What an entry must be, and how it is written.

use super::*;
use crate::broadcast::{At, Mistake};

const GOOD: &str = r#"{"id":"0199f3c1-0000-7000-8000-000000000001","title":"Bản tin sáng",
    "areas":["vn/01"],"except":["vn/01/00004"],"priority":"priority",
    "plays":{"live":"studio","limit_us":600000000},
    "when":{"start":"2026-11-23T06:30","rrule":"FREQ=WEEKLY;BYDAY=MO,FR","except":["2027-01-01"],"extra":["2026-12-24T19:00:00"]},
    "zone":"Asia/Ho_Chi_Minh","from":"2026-11-23","until":"2027-11-23","approver":"Nguyễn Văn An","enabled":false,
    "created":"2026-11-22T08:00:00+07:00"}"#;

fn told(text: &str) -> Vec<(String, &'static str)> {
    let mistakes = Entry::read(text.as_bytes()).unwrap_err();
    mistakes.into_iter().map(|mistake| (mistake.field, mistake.said.code)).collect()
}

/// The good entry with one piece of it replaced.
fn with(piece: &str, by: &str) -> String {
    assert!(GOOD.contains(piece), "{piece}");
    GOOD.replace(piece, by)
}

#[test]
fn an_entry_reads_back_as_it_was_written() {
    let entry = Entry::read(GOOD.as_bytes()).unwrap();
    assert_eq!(entry.plays.length(), 10 * MINUTE);
    assert_eq!(entry.created, civil("2026-11-22T01:00:00Z"));
    assert!(matches!(&entry.when, When::Rule { except, extra, .. } if except.len() == 1 && extra.len() == 1));
    assert_eq!(Entry::read(entry.to_json().to_string().as_bytes()).as_ref(), Ok(&entry));
    let once = Entry { enabled: true, ..super::entry(7, &["vn", "vn/01"], once("2026-11-23T06:30")) };
    assert_eq!(Entry::read(once.to_json().to_string().as_bytes()).as_ref(), Ok(&once));
    let both = format!("[{},{}]", entry.to_json(), once.to_json());
    assert_eq!(Entry::read_all(both.as_bytes()), Ok(vec![entry, once]));
}

#[test]
fn what_may_be_left_out_may() {
    let least = r#"{"id":"0199f3c1-0000-7000-8000-000000000001","title":"A","areas":["vn"],"priority":"normal",
        "plays":{"media":"ABababababababababababababababababababababababababababababababab","length_us":1},
        "when":{"once":"2026-11-23T06:30"},"created":"2026-11-22T08:00:00Z"}"#;
    let entry = Entry::read(least.as_bytes()).unwrap();
    assert!(entry.enabled && entry.zone.is_none() && entry.except.is_empty());
    assert_eq!(entry.plays, Plays::Media { sha256: "ab".repeat(32), length: 1 });
}

#[test]
fn every_mistake_is_told_with_its_field() {
    let all = r#"{"id":"1","title":7,"areas":["VN",3],"priority":"emergency","plays":{"live":"a","media":"b"},
        "when":{"start":"2026-11-23","extra":"x"},"zone":"Hanoi","from":"23.11.2026","enabled":1,"color":"red"}"#;
    let told = told(all);
    let told: Vec<_> = told.iter().map(|(field, code)| (field.as_str(), *code)).collect();
    for one in [
        ("color", "read.column"),
        ("id", "read.kind"),
        ("title", "read.kind"),
        ("areas", "area.path"),
        ("areas", "read.kind"),
        ("priority", "read.kind"),
        ("zone", "read.kind"),
        ("from", "read.kind"),
        ("enabled", "read.kind"),
        ("created", "read.missing"),
        ("plays.media", "read.column"),
        ("plays.limit_us", "read.missing"),
        ("when.start", "read.kind"),
        ("when.rrule", "read.missing"),
        ("when.extra", "read.kind"),
    ] {
        assert!(told.contains(&one), "{one:?} is not in {told:#?}");
    }
    assert_eq!(told.len(), 15, "{told:#?}");
}

#[test]
fn what_reads_well_and_cannot_be_is_told_too() {
    let long = format!("\"{}\"", "a".repeat(201));
    for (piece, by, field, code) in [
        (r#""Bản tin sáng""#, r#"" ""#, "title", "read.missing"),
        (r#""Bản tin sáng""#, &long, "title", "read.long"),
        (r#""Bản tin sáng""#, r#""a\u0007b""#, "title", "read.control"),
        (r#"["vn/01"]"#, "[]", "areas", "read.missing"),
        (r#"["vn/01/00004"]"#, r#"["vn/02"]"#, "except", "timetable.excepted"),
        (r#""studio""#, r#""""#, "plays.live", "read.missing"),
        ("600000000", "0", "plays.limit_us", "timetable.length"),
        ("600000000", "86400000001", "plays.limit_us", "timetable.length"),
        ("FREQ=WEEKLY;BYDAY=MO,FR", "FREQ=HOURLY", "when.rrule", "rule.too_fine"),
        ("2026-11-23T06:30", "1970-11-23T06:30", "when.start", "timetable.year"),
        ("2026-12-24T19", "2226-12-24T19", "when.extra", "timetable.year"),
        (r#""until":"2027-11-23""#, r#""until":"2026-11-23""#, "until", "timetable.dates"),
        (r#""Nguyễn Văn An""#, r#""""#, "approver", "read.missing"),
        (r#""live":"studio","limit_us""#, r#""media":"abc","length_us""#, "plays.media", "timetable.sha256"),
    ] {
        let told = told(&with(piece, by));
        assert!(told.contains(&(field.to_owned(), code)), "{by}: {told:?}");
    }
    let many = (0..65).map(|number| format!("\"vn/{number}\"")).collect::<Vec<_>>().join(",");
    assert!(told(&with(r#"["vn/01"]"#, &format!("[{many}]"))).contains(&("areas".to_owned(), "read.many")));
    let emergency = Entry { priority: Priority::Emergency, ..entry(1, &["vn"], once("2026-11-23T06:30")) };
    assert_eq!(emergency.check().unwrap_err()[0].said.code, "timetable.priority");
}

#[test]
fn a_file_of_entries_names_the_one_that_is_wrong() {
    let good = GOOD.replace('\n', " ");
    let twice = Entry::read_all(format!("[{good},{good}]").as_bytes()).unwrap_err();
    assert_eq!((twice[0].at, twice[0].said.code), (At::Item(2), "timetable.id"));
    let wrong = Entry::read_all(format!("[{good},7]").as_bytes()).unwrap_err();
    assert_eq!((wrong[0].at, wrong[0].said.code), (At::Item(2), "read.object"));
    assert_eq!(Entry::read_all(b"{}").unwrap_err()[0].said.code, "read.array");
    assert_eq!(Entry::read(b"{").unwrap_err()[0].said.code, "read.json");
    assert_eq!(Entry::read(b"[]").unwrap_err()[0].said.code, "read.object");
}

type Read<'r> = &'r dyn Fn(&str) -> Result<(), Vec<Mistake>>;

/// A file given in the place of another is one mistake, not twenty.
#[test]
fn a_file_of_another_kind_is_named_as_such() {
    let entries = format!("[{GOOD},{GOOD}]");
    let policies = r#"[{"area": "vn", "longest_minutes": 20, "gap_minutes": 1}]"#;
    let areas = r#"[{"code": "vn", "name:vi": "Việt Nam", "kind": "country"}]"#;
    let whole = r#"[{"code": "vn", "name:vi": "Việt Nam", "kind": "country", "zone": "Asia/Ho_Chi_Minh",
        "from": "2025-07-01", "until": "2035-07-01"}]"#;
    let short = r#"[{"area": "vn", "quiet": null}]"#;
    let of_entries = |text: &str| Entry::read_all(text.as_bytes()).map(|_| ());
    let of_policies = |text: &str| Policies::read(text.as_bytes()).map(|_| ());
    let of_areas = |text: &str| Register::from_json(text.as_bytes()).map(|_| ());
    let reads: [(Read<'_>, Vec<&str>); 3] = [
        (&of_entries, vec![policies, short, areas, whole]),
        (&of_policies, vec![&entries, areas]),
        (&of_areas, vec![&entries, policies, short]),
    ];
    for (read, others) in reads {
        for other in others {
            let told: Vec<_> = read(other).unwrap_err().into_iter().map(|wrong| (wrong.at, wrong.said.code)).collect();
            assert_eq!(told, [(At::Item(1), "read.foreign")], "{other}");
        }
    }
    let said = of_entries(policies).unwrap_err().remove(0).to_string();
    assert!(
        said.contains(r#""area", "gap_minutes", "longest_minutes""#) && said.contains("id, title, areas"),
        "{said}"
    );
}

#[test]
fn exceptions_silence_a_day_and_extra_times_sound_besides() {
    let mut morning = entry(1, &["vn"], once("2026-11-23T06:30"));
    morning.when = When::Rule {
        start: at("2026-11-23T06:30"),
        rrule: "FREQ=DAILY;BYHOUR=6,17".into(),
        except: vec![day("2026-11-24"), day("2026-11-26")],
        extra: vec![at("2026-11-25T12:00"), at("2026-11-25T06:30"), at("2026-11-26T12:00")],
    };
    let begins = morning.begins(day("2026-11-24"), day("2026-11-26"), chrono_tz::Asia::Ho_Chi_Minh);
    assert_eq!(begins, [at("2026-11-25T06:30"), at("2026-11-25T12:00"), at("2026-11-25T17:30")]);
}

#[test]
fn an_entry_means_the_clock_that_it_names_or_that_of_its_area() {
    let mut german = entry(1, &["de"], once("2026-11-23T06:30"));
    assert_eq!(german.zone(&register()).name(), "Europe/Berlin");
    german.zone = Some(chrono_tz::UTC);
    assert_eq!(german.zone(&register()).name(), "UTC");
}

#[test]
fn policies_read_back_as_they_were_written_and_the_nearest_decides() {
    let text = r#"[{"area":"vn","quiet":{"from":"21:30","until":"04:45:30"},"approval":true,"gap_minutes":3},
        {"area":"vn/01","quotas":[{"days":["sa","mo"],"sessions":2},{"minutes":30}],"longest_minutes":15,"gap_minutes":0},
        {"area":"vn/01/1","quotas":[],"priority_in_quiet":true}]"#;
    let policies = policies(text);
    assert_eq!(Policies::read(policies.to_json().to_string().as_bytes()).as_ref(), Ok(&policies));
    let (wide, near) = (policies.rules(&area("vn/01/2")), policies.rules(&area("vn/01/1/c7")));
    assert_eq!((wide.gap, wide.longest, wide.approval, wide.quotas.len()), (0, Some(15 * MINUTE), true, 2));
    assert_eq!(wide.quota(day("2026-11-23")).unwrap().sessions, Some(2));
    assert_eq!(wide.quota(day("2026-11-24")).unwrap().minutes, Some(30));
    assert_eq!((near.quotas.len(), near.priority_in_quiet, near.longest), (0, true, Some(15 * MINUTE)));
    assert_eq!(near.quiet.until.to_string(), "04:45:30");
    assert_eq!(policies.rules(&area("de")), Rules::default());
    assert_eq!(Rules::default().quiet.from.to_string(), "22:00:00");
}

#[test]
fn every_mistake_of_a_policy_is_told() {
    let text = r#"[{"area":"vn","quiet":{"from":"25:00"},"quotas":[{"days":["mon"]},7],"longest_minutes":-1},
        {"area":"vn","approval":"yes"},{"quotas":{}},9]"#;
    let told: Vec<_> =
        Policies::read(text.as_bytes()).unwrap_err().into_iter().map(|m| (m.at, m.field, m.said.code)).collect();
    for (item, field, code) in [
        (1, "quiet.from", "read.kind"),
        (1, "quiet.until", "read.missing"),
        (1, "quotas.days", "read.kind"),
        (1, "quotas.sessions", "policy.quota"),
        (1, "quotas", "read.object"),
        (1, "longest_minutes", "read.kind"),
        (2, "approval", "read.kind"),
        (2, "area", "policy.twice"),
        (3, "area", "read.missing"),
        (3, "quotas", "read.array"),
        (4, "", "read.object"),
    ] {
        assert!(told.contains(&(At::Item(item), field.to_owned(), code)), "{field} {code} is not in {told:#?}");
    }
    assert_eq!(told.len(), 11, "{told:#?}");
}
