//! A node's disk: what it holds survives a restart.

use crate::node::{Done, Job};
use crate::proto;
use crate::track::Packet;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Journal and track files in memory.
#[derive(Debug, Default)]
pub struct Store {
    pub journal: Vec<proto::Record>,
    pub(super) tracks: BTreeMap<Uuid, BTreeMap<u64, Packet>>,
    /// Every job fails from now on, as on a full disk.
    pub broken: bool,
}

impl Store {
    pub fn keep(&mut self, track: Uuid, packets: impl IntoIterator<Item = Packet>) {
        let file = self.tracks.entry(track).or_default();
        file.extend(packets.into_iter().map(|packet| (packet.index, packet)));
    }

    pub fn held(&self, track: Uuid) -> u64 {
        self.tracks.get(&track).map_or(0, |file| file.len() as u64)
    }

    pub fn perform(&mut self, work: Job) -> Done {
        if self.broken {
            return Done::Failed("the simulated disk is full: let it work again".into());
        }
        match work {
            Job::Journal(records) => {
                self.journal.extend(records);
                Done::Ok
            }
            Job::Keep { track, packets } => {
                self.keep(track, packets);
                Done::Ok
            }
            Job::Fetch { track, from, until } => {
                let packets = self.tracks.get(&track).filter(|_| from < until).map_or_else(Vec::new, |file| {
                    file.range(from..until).take(FETCHED_AT_ONCE).map(|(_, packet)| packet.clone()).collect()
                });
                Done::Packets { track, packets }
            }
            Job::Forget { track } => {
                self.tracks.remove(&track);
                Done::Ok
            }
            Job::Certify(_) => Done::Failed("nobody certifies here".to_owned()),
        }
    }
}

/// `node::Job::Fetch` promises no more.
const FETCHED_AT_ONCE: usize = 256;
