//! A plan as iCalendar (RFC 5545), for the calendars that people have: what sounds, an event each.

use super::form::priority_name;
use super::plan::{Item, Place, Plan};
use crate::broadcast::Register;
use crate::time::Civil;
use chrono::{DateTime, Utc};

impl Plan {
    /// Times are in UTC, whole seconds; places are named by the register, in `language` where it knows that. An event
    /// has the same UID in every plan, so reading a later one changes it and adds no second. `made` is when this was
    /// written (DTSTAMP).
    pub fn to_icalendar(&self, register: &Register, language: &str, made: Civil) -> String {
        let mut lines = Lines::default();
        lines.put("BEGIN", "VCALENDAR");
        lines.put("VERSION", "2.0");
        lines.put("PRODID", "-//Loa//Timetable//EN");
        lines.put("CALSCALE", "GREGORIAN");
        lines.put("METHOD", "PUBLISH");
        for place in &self.places {
            for item in &place.sounding {
                event(&mut lines, place, item, register, language, made);
            }
        }
        lines.put("END", "VCALENDAR");
        lines.0
    }
}

fn event(lines: &mut Lines, place: &Place, item: &Item, register: &Register, language: &str, made: Civil) {
    let start = time(item.start);
    let area = place.area.as_str();
    let named = register.nearest(&place.area).map_or(area, |unit| unit.name(language));
    lines.put("BEGIN", "VEVENT");
    lines.put("UID", &format!("{}-{start}-{}@loa", item.entry, area.replace('/', ".")));
    lines.put("DTSTAMP", &time(made));
    lines.put("DTSTART", &start);
    lines.put("DTEND", &time(item.end));
    lines.put("SUMMARY", &escaped(&item.title));
    lines.put("LOCATION", &escaped(&format!("{named} ({area})")));
    lines.put("CATEGORIES", priority_name(item.priority));
    lines.put("END", "VEVENT");
}

/// RFC 5545, section 3.3.5, form 2.
fn time(at: Civil) -> String {
    let utc = DateTime::<Utc>::from_timestamp_micros(at.0).unwrap_or_default();
    utc.format("%Y%m%dT%H%M%SZ").to_string()
}

/// RFC 5545, section 3.3.11. Other control characters may not stand in a text at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | ';' | ',' => escaped.extend(['\\', letter]),
            '\n' => escaped.push_str("\\n"),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A content line, folded: no line has more than 75 bytes without its end, and none is cut within a character
    /// (RFC 5545, section 3.1).
    fn put(&mut self, name: &str, value: &str) {
        let whole = format!("{name}:{value}");
        let mut rest = whole.as_str();
        let mut room = MOST_LINE;
        while rest.len() > room {
            let (line, tail) = rest.split_at(rest.floor_char_boundary(room));
            self.0.push_str(line);
            self.0.push_str("\r\n ");
            rest = tail;
            // The space counts.
            room = MOST_LINE - 1;
        }
        self.0.push_str(rest);
        self.0.push_str("\r\n");
    }
}

const MOST_LINE: usize = 75;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_a_meaning_in_a_line_is_escaped() {
        assert_eq!(escaped("a,b;c\\d\ne\rf"), "a\\,b\\;c\\\\d\\nef");
    }

    proptest! {
        #[test]
        fn a_folded_line_unfolds_to_itself_and_is_never_too_long(text in "[a-zàáảãạđ ]{0,300}") {
            let mut lines = Lines::default();
            lines.put("SUMMARY", &text);
            prop_assert!(lines.0.split("\r\n").all(|line| line.len() <= MOST_LINE));
            let unfolded = lines.0.replace("\r\n ", "");
            prop_assert_eq!(unfolded, format!("SUMMARY:{text}\r\n"));
        }
    }
}
