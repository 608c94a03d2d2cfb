//! What is right by itself and will not sound all the same: sound that is not here, a source that nobody has configured,
//! a time that is over. Said when an entry is put, so that nobody waits for it in vain.
use super::desk::Desk;
use super::store::Tables;
use crate::broadcast::timetable::{Entry, Plays, When, instant};
use crate::control::when;
use crate::time::Civil;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Code and places of each, of entries that are new or changed.
pub fn doubts(desk: &Desk, before: &[Entry], after: &Tables, now: Civil) -> Vec<(String, Vec<String>)> {
    let known: BTreeMap<Uuid, &Entry> = before.iter().map(|entry| (entry.id, entry)).collect();
    let news = after.entries.value.iter().filter(|entry| entry.enabled && known.get(&entry.id) != Some(entry));
    let mut doubts = Vec::new();
    for entry in news {
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
            let zone = entry.zone(&after.areas.value);
            let at = instant(zone, *at);
            if at + entry.plays.length() <= now {
                doubts.push(("timetable.doubt_past".to_owned(), vec![title, when::show(at, zone)]));
            }
        }
        if doubts.len() >= MOST {
            break;
        }
    }
    doubts
}

/// As many as somebody reads.
const MOST: usize = 100;
