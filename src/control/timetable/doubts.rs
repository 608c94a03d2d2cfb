//! What is right by itself and will not do what it is for: sound that is not here, a source that nobody has configured,
//! a time that is over; a policy of an area that nobody knows. Said when it is put, so that nobody trusts it in vain.
use super::desk::Desk;
use super::store::Tables;
use crate::broadcast::timetable::{Entry, Plays, When, instant};
use crate::control::when;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Code and places of each, of entries and policies that are new or changed.
pub fn doubts(desk: &Desk, before: &Tables, after: &Tables, now: Civil) -> Vec<(String, Vec<String>)> {
    let (register, mut doubts) = (&after.areas.value, Vec::new());
    for (area, policy) in after.policies.value.iter().filter(|(area, _)| !register.knows(area)) {
        if before.policies.value.get(area) != Some(policy) {
            doubts.push(("timetable.doubt_policy".to_owned(), vec![area.to_string()]));
        }
    }
    let known: BTreeMap<Uuid, &Entry> = before.entries.value.iter().map(|entry| (entry.id, entry)).collect();
    let news = after.entries.value.iter().filter(|entry| entry.enabled && known.get(&entry.id) != Some(entry));
    for entry in news {
        if doubts.len() >= MOST {
            break;
        }
        let title = entry.title.clone();
        match &entry.plays {
            Plays::Media { sha256, .. } if !desk.has(sha256) => {
                doubts.push(("timetable.doubt_media".to_owned(), vec![title.clone(), sha256.clone()]));
            }
            Plays::Live { name, .. } if !desk.setup.config.streams.contains_key(name) => {
                doubts.push(("timetable.doubt_stream".to_owned(), vec![title.clone(), name.clone()]));
            }
            Plays::Media { .. } | Plays::Live { .. } => {}
        }
        if let When::Once(at) = &entry.when {
            let zone = entry.zone(register);
            let at = instant(zone, *at);
            if at + entry.plays.length() <= now {
                doubts.push(("timetable.doubt_past".to_owned(), vec![title, when::show(at, zone)]));
            }
        }
    }
    doubts.truncate(MOST);
    doubts
}

/// As many as somebody reads.
const MOST: usize = 100;
