//! Times as people write and read them.
use super::text::{Failure, Language};
use crate::io::clock;
use crate::time::{Civil, SECOND};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// RFC 3339 in `zone`, to the µs. A time that no calendar holds is shown as its number of µs.
pub fn show(at: Civil, zone: Tz) -> String {
    match DateTime::from_timestamp_micros(at.0) {
        Some(utc) => utc.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Micros, false),
        None => format!("{} µs", at.0),
    }
}

/// Hours, minutes and seconds in `zone`, for people who know the day.
pub fn show_short(at: Civil, zone: Tz) -> String {
    match DateTime::from_timestamp_micros(at.0) {
        Some(utc) => utc.with_timezone(&zone).format("%H:%M:%S%.3f").to_string(),
        None => show(at, zone),
    }
}

/// Day and minute with the zone, for people: 07/12/2026 08:40 +07:00 in Vietnamese, else 2026-12-07 08:40 +07:00.
pub fn date(at: Civil, zone: Tz, language: Language) -> String {
    match DateTime::from_timestamp_micros(at.0) {
        Some(utc) => written(&utc.with_timezone(&zone), language, "%H:%M"),
        None => show(at, zone),
    }
}

/// The same to the second, for what is on the air.
pub fn moment(at: Civil, zone: Tz, language: Language) -> String {
    match (DateTime::from_timestamp_micros(at.0), language) {
        (Some(utc), Language::Vietnamese) => written(&utc.with_timezone(&zone), language, "%H:%M:%S"),
        (Some(utc), Language::English) if !is_today(utc, zone) => {
            utc.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
        }
        (_, Language::English) | (None, _) => show_short(at, zone),
    }
}

/// By this machine's clock.
fn is_today(utc: DateTime<Utc>, zone: Tz) -> bool {
    let today = DateTime::from_timestamp_micros(clock::wall().0);
    today.is_some_and(|now| now.with_timezone(&zone).date_naive() == utc.with_timezone(&zone).date_naive())
}

/// The day alone.
pub fn day(at: Civil, zone: Tz, language: Language) -> String {
    match DateTime::from_timestamp_micros(at.0) {
        Some(utc) => utc.with_timezone(&zone).format(calendar(language)).to_string(),
        None => show(at, zone),
    }
}

/// As [`date`], of a time that a node has written in RFC 3339; what is no such time stays as it is.
pub fn retold(text: &str, language: Language) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| text.to_owned(), |time| written(&time, language, "%H:%M"))
}

/// To the second, for people who write days otherwise; a day alone too. In English, and what is neither, as it stands.
pub fn retold_moment(text: &str, language: Language) -> String {
    if language == Language::English {
        return text.to_owned();
    }
    let day = || NaiveDate::parse_from_str(text, calendar(Language::English)).ok();
    match (DateTime::parse_from_rfc3339(text), day()) {
        (Ok(time), _) => written(&time, language, "%H:%M:%S"),
        (_, Some(day)) => day.format(calendar(language)).to_string(),
        _ => text.to_owned(),
    }
}

fn written<Z: TimeZone>(time: &DateTime<Z>, language: Language, clock: &str) -> String
where
    Z::Offset: std::fmt::Display,
{
    time.format(&format!("{} {clock} %:z", calendar(language))).to_string()
}

const fn calendar(language: Language) -> &'static str {
    match language {
        Language::Vietnamese => "%d/%m/%Y",
        Language::English => "%Y-%m-%d",
    }
}

/// RFC 3339, offset required.
pub fn rfc3339(text: &str) -> Option<Civil> {
    // Longer than any such time; a parser needs no more.
    let text = text.get(..text.len().min(64))?;
    DateTime::parse_from_rfc3339(text).ok().map(|time| Civil(time.with_timezone(&Utc).timestamp_micros()))
}

/// What the command line takes: RFC 3339; `HH:MM[:SS]`, today or, once that has passed, tomorrow, in the
/// node's zone; `+30s`, `+5m`, `+2h` from `now`, the node's.
pub fn spoken(text: &str, now: Civil, zone: Tz) -> Result<Civil, Failure> {
    let wrong = || Failure::new("usage.time", [&text]);
    if let Some(wait) = text.strip_prefix('+') {
        return ahead(wait).map(|wait| now + wait).ok_or_else(wrong);
    }
    if let Some(at) = rfc3339(text) {
        return Ok(at);
    }
    let clock = ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok());
    let clock = clock.ok_or_else(wrong)?;
    let today = DateTime::from_timestamp_micros(now.0).ok_or_else(wrong)?.with_timezone(&zone).date_naive();
    for day in [today, today + TimeDelta::days(1)] {
        let at = match zone.from_local_datetime(&day.and_time(clock)) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Civil(at.timestamp_micros()),
            LocalResult::None if day == today => continue,
            LocalResult::None => return Err(Failure::new("usage.gap", [&text, &zone])),
        };
        if at > now {
            return Ok(at);
        }
    }
    Err(Failure::new("usage.gap", [&text, &zone]))
}

/// RFC 3339, or a day of the node's zone: its beginning or, of a period's last day, its end.
pub fn day_or_time(text: &str, last: bool, zone: Tz) -> Result<Civil, Failure> {
    if let Some(at) = rfc3339(text) {
        return Ok(at);
    }
    let wrong = || Failure::new("usage.day", [&text]);
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    let day = if last { day + TimeDelta::days(1) } else { day };
    match zone.from_local_datetime(&day.and_time(NaiveTime::MIN)) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(Civil(at.timestamp_micros())),
        LocalResult::None => Err(wrong()),
    }
}

fn ahead(text: &str) -> Option<i64> {
    let (number, seconds) = match (text.strip_suffix('s'), text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(number), ..) => (number, 1),
        (_, Some(number), _) => (number, 60),
        (.., Some(number)) => (number, 3_600),
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(seconds * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZONE: Tz = chrono_tz::Asia::Ho_Chi_Minh;

    fn at(text: &str) -> Civil {
        rfc3339(text).unwrap()
    }

    #[test]
    fn a_time_needs_its_offset() {
        assert_eq!(at("1970-01-01T07:00:01+07:00"), Civil(SECOND));
        assert_eq!(at("1970-01-01T00:00:00.000001Z"), Civil(1));
        for wrong in ["2026-11-22T06:30:00", "2026-11-22", "06:30", "", "2026-13-01T00:00:00Z", "é"] {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
        assert_eq!(show(at("2026-11-22T06:30:00.000001+07:00"), ZONE), "2026-11-22T06:30:00.000001+07:00");
        assert_eq!(show(Civil(i64::MAX), ZONE), format!("{} µs", i64::MAX));
    }

    #[test]
    fn people_read_a_time_as_their_language_writes_it_and_with_its_zone() {
        // A day that no machine that runs this has for today's.
        let then = at("2020-12-07T08:40:59.5+07:00");
        for (language, minute, day) in [
            (Language::Vietnamese, "07/12/2020 08:40 +07:00", "07/12/2020"),
            (Language::English, "2020-12-07 08:40 +07:00", "2020-12-07"),
        ] {
            assert_eq!(date(then, ZONE, language), minute);
            assert_eq!(super::day(then, ZONE, language), day);
            assert_eq!(retold("2020-12-07T08:40:59.500000+07:00", language), minute);
            assert_eq!(retold("-", language), "-");
        }
        assert_eq!(moment(then, ZONE, Language::Vietnamese), "07/12/2020 08:40:59 +07:00");
        assert_eq!(moment(then, ZONE, Language::English), "2020-12-07 08:40:59");
        let asked = (0..3).any(|_| {
            // Midnight may come between the two looks at the clock.
            let now = clock::wall();
            moment(now, ZONE, Language::English) == show_short(now, ZONE)
        });
        assert!(asked, "today's needs no day");
        assert_eq!(date(Civil(i64::MAX), ZONE, Language::English), show(Civil(i64::MAX), ZONE));
    }

    #[test]
    fn a_clock_time_is_today_or_tomorrow_in_the_nodes_zone() {
        let now = at("2026-11-22T12:00:00+07:00");
        assert_eq!(spoken("12:30", now, ZONE), Ok(at("2026-11-22T12:30:00+07:00")));
        assert_eq!(spoken("11:59:59", now, ZONE), Ok(at("2026-11-23T11:59:59+07:00")));
        assert_eq!(spoken("00:15", at("2026-12-31T23:50:00+07:00"), ZONE), Ok(at("2027-01-01T00:15:00+07:00")));
    }

    #[test]
    fn a_day_is_that_of_the_nodes_zone_from_midnight_to_midnight() {
        assert_eq!(day_or_time("2026-11-22", false, ZONE), Ok(at("2026-11-22T00:00:00+07:00")));
        assert_eq!(day_or_time("2026-11-22", true, ZONE), Ok(at("2026-11-23T00:00:00+07:00")));
        assert_eq!(day_or_time("2026-11-22T06:30:00Z", true, ZONE), Ok(at("2026-11-22T06:30:00Z")));
        assert_eq!(day_or_time("22/11/2026", false, ZONE).unwrap_err().exit(), 2);
    }

    #[test]
    fn a_wait_counts_from_the_nodes_now() {
        let now = Civil(5);
        assert_eq!(spoken("+30s", now, ZONE), Ok(Civil(5 + 30 * SECOND)));
        assert_eq!(spoken("+5m", now, ZONE), Ok(Civil(5 + 300 * SECOND)));
        for wrong in ["+", "+5", "+-5s", "+5d", "+s", "+99999999999999999999s", "+9223372036854775807h", "25:00", "x"] {
            assert_eq!(spoken(wrong, now, ZONE).unwrap_err().code, "usage.time", "{wrong}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_leave_out_is_named() {
        // On 29 March 2026 Berlin goes from 02:00 to 03:00.
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(spoken("02:30", at("2026-03-28T12:00:00+01:00"), berlin).unwrap_err().code, "usage.gap");
        assert_eq!(spoken("02:30", at("2026-03-29T00:30:00+01:00"), berlin), Ok(at("2026-03-30T02:30:00+02:00")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", now in any::<i64>()) {
            let _ = spoken(&text, Civil(now), ZONE);
            let _ = show(Civil(now), ZONE);
        }

        #[test]
        fn what_is_shown_reads_back(now in 0i64..4_000_000_000_000_000) {
            prop_assert_eq!(rfc3339(&show(Civil(now), ZONE)), Some(Civil(now)));
        }
    }
}
