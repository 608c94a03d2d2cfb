//! Links: how they are set up, what travels on them and how they end.

use super::host::Input;
use super::network::PATIENCE;
use super::sources::flip;
use super::world::{Connection, End, Happening, Party, World};
use crate::node::{Link, Peer, branch, trunk};
use crate::session::{Arrival, Departure};
use crate::time::{MILLISECOND, SECOND};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

impl World {
    /// Three flights (RFC 9001 §4.1): both ends are up after one and a half round trips.
    pub(super) fn dial(&mut self, host: usize, slot: usize, rank: usize) {
        let Some(path) = self.paths.iter().position(|path| path.child == host && path.rank == rank) else { return };
        self.paths[path].slot = slot;
        let incarnation = self.hosts[host].incarnation;
        self.knock(path, incarnation, self.now, 0);
    }

    fn knock(&mut self, path: usize, incarnation: u64, began: i64, attempt: u32) {
        match self.paths[path].up.message(self.now, HANDSHAKE) {
            Some(at) if at - began < DIAL_TIMEOUT => {
                self.schedule(at, Happening::Initial { path, incarnation, began, attempt });
            }
            _ => self.schedule(began + DIAL_TIMEOUT, Happening::DialFailed { path, incarnation }),
        }
    }

    /// The client's first flight has reached the parent's machine. Nobody there: it is sent again after
    /// 1, 2, 4 s (RFC 9002 §6.2), until the client gives up.
    pub(super) fn answer(&mut self, path: usize, incarnation: u64, began: i64, attempt: u32) {
        let parent = self.paths[path].parent;
        let failed = Happening::DialFailed { path, incarnation };
        if self.hosts[parent].process.is_none() {
            let again = self.now + (SECOND << attempt.min(4));
            if again - began >= DIAL_TIMEOUT {
                return self.schedule(began + DIAL_TIMEOUT, failed);
            }
            return self.schedule(again, Happening::Initial { path, incarnation, began, attempt: attempt + 1 });
        }
        let server = self.hosts[parent].incarnation;
        let now = self.now;
        let paths = &mut self.paths[path];
        let done = paths.down.message(now, HANDSHAKE).and_then(|at| paths.up.message(at, HANDSHAKE));
        match done {
            Some(at) => self.schedule(at, Happening::Established { path, incarnation, server }),
            None => self.schedule(began.max(now) + DIAL_TIMEOUT, failed),
        }
    }

    pub(super) fn establish(&mut self, path: usize, incarnation: u64, server: u64) {
        let (child, parent, slot) = (self.paths[path].child, self.paths[path].parent, self.paths[path].slot);
        if !self.runs(child, incarnation) {
            return;
        }
        if !self.runs(parent, server) {
            return self.schedule(self.now, Happening::DialFailed { path, incarnation });
        }
        self.links += 1;
        let link = self.links;
        // A child takes the port that the hash of its id names.
        let shard = super::fingerprint(self.hosts[child].member.node.as_bytes())
            % self.hosts[parent].member.branches.max(1) as u64;
        let party = |incarnation| Party { incarnation, open: true, heard: self.now };
        let connection = Connection {
            path,
            branch: shard as usize,
            ends: [party(incarnation), party(server)],
            streams: [BTreeMap::new(), BTreeMap::new()],
            tap: VecDeque::new(),
        };
        self.connections.insert(link, connection);
        self.schedule(self.now + IDLE_CHECK, Happening::Idle { link });
        let peer = |host: usize| Peer { node: self.hosts[host].member.node, role: self.hosts[host].member.role };
        let (above, below) = (peer(parent), peer(child));
        self.note(parent, 6, &link.to_le_bytes());
        self.feed(parent, Input::Branch(shard as usize, branch::Input::Up { link, peer: below }));
        self.note(child, 6, &link.to_le_bytes());
        self.feed(child, Input::Trunk(trunk::Input::Up { parent: slot, link, peer: above }));
    }

    pub(super) fn send(&mut self, host: usize, link: Link, departure: Departure) {
        let Some(from) = self.end_of(link, host) else { return };
        let Some(connection) = self.connections.get_mut(&link) else { return };
        if !connection.ends[from as usize].open {
            return;
        }
        let to = from.other();
        let direction = self.paths[connection.path].towards(to);
        let (stream, length) = match &departure {
            Departure::Control(frame) => (Some(None), frame.len()),
            Departure::Bulk { stream, frame } => (Some(Some(*stream)), frame.len()),
            Departure::BulkEnd { stream } => (Some(Some(*stream)), 0),
            Departure::Datagram(bytes) | Departure::Media(bytes) => (None, bytes.len()),
        };
        let Some(stream) = stream else {
            let fate = direction.packet(self.now, length + PACKET_OVERHEAD);
            for at in fate.arrivals.into_iter().flatten() {
                let arrival = match &departure {
                    Departure::Media(bytes) if fate.corrupt => Arrival::Media(flip(&mut self.random, bytes)),
                    Departure::Media(bytes) => Arrival::Media(bytes.clone()),
                    // Changed on the way, it fails QUIC's own tag.
                    Departure::Datagram(_) if fate.corrupt => continue,
                    Departure::Datagram(bytes) => Arrival::Datagram(bytes.clone()),
                    _ => continue,
                };
                self.schedule(at, Happening::Arrival { link, to, arrival });
            }
            return;
        };
        // Lost for longer than the idle timeout: the check of idle connections will find it.
        let Some(at) = direction.message(self.now, length + PACKET_OVERHEAD) else { return };
        let newest = connection.streams[to as usize].entry(stream).or_insert(at);
        *newest = at.max(*newest);
        let at = *newest;
        let arrival = match departure {
            Departure::Control(frame) => Arrival::Control(frame),
            Departure::Bulk { stream, frame } => Arrival::Bulk { stream, frame },
            Departure::BulkEnd { stream } => Arrival::BulkEnd { stream },
            Departure::Datagram(_) | Departure::Media(_) => return,
        };
        self.schedule(at, Happening::Arrival { link, to, arrival });
    }

    pub(super) fn arrive(&mut self, link: Link, to: End, arrival: Arrival) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let (path, shard) = (connection.path, connection.branch);
        let party = connection.ends[to as usize];
        let host = self.paths[path].host(to);
        if !party.open {
            // A server that knows no such connection says so (RFC 9000 §10.3).
            if to == End::Parent && self.hosts[host].process.is_some() {
                let at = self.now + self.paths[path].down.conditions().delay;
                let reason = "stateless reset".into();
                self.schedule(at, Happening::Closed { link, end: End::Child, reason });
            }
            return;
        }
        connection.ends[to as usize].heard = self.now;
        if let Arrival::BulkEnd { stream } = &arrival {
            connection.streams[to as usize].remove(&Some(*stream));
        }
        let (kind, bytes) = match &arrival {
            Arrival::Control(bytes) => (7, bytes.clone()),
            Arrival::Bulk { frame, .. } => (8, frame.clone()),
            Arrival::BulkEnd { .. } => (9, Bytes::new()),
            Arrival::Datagram(bytes) => (10, bytes.clone()),
            Arrival::Media(bytes) | Arrival::Group(bytes) => {
                connection.tap.push_back(bytes.clone());
                if connection.tap.len() > TAPPED {
                    connection.tap.pop_front();
                }
                (11, bytes.clone())
            }
        };
        self.note(host, kind, &bytes);
        self.feed(
            host,
            match to {
                End::Child => Input::Trunk(trunk::Input::Arrival { link, arrival }),
                End::Parent => Input::Branch(shard, branch::Input::Arrival { link, arrival }),
            },
        );
    }

    /// One end closes: the other hears of it after everything sent before.
    pub(super) fn hang(&mut self, host: usize, link: Link, reason: &str) {
        let Some(end) = self.end_of(link, host) else { return };
        if self.connections.get(&link).is_some_and(|connection| connection.ends[end as usize].open) {
            self.close_far(link, end, reason);
            self.schedule(self.now, Happening::Closed { link, end, reason: reason.into() });
        }
    }

    pub(super) fn close_far(&mut self, link: Link, near: End, reason: &str) {
        let Some(connection) = self.connections.get(&link) else { return };
        let far = near.other();
        let direction = self.paths[connection.path].towards(far);
        let Some(at) = direction.message(self.now, HANDSHAKE) else { return };
        let after = connection.streams[far as usize].values().copied().max().unwrap_or(at);
        self.schedule(at.max(after), Happening::Closed { link, end: far, reason: reason.into() });
    }

    pub(super) fn down(&mut self, link: Link, end: End, reason: String) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        if !std::mem::replace(&mut connection.ends[end as usize].open, false) {
            return;
        }
        let (path, shard) = (connection.path, connection.branch);
        if connection.ends.iter().all(|party| !party.open) {
            self.connections.remove(&link);
        }
        let host = self.paths[path].host(end);
        self.note(host, 12, &link.to_le_bytes());
        match end {
            End::Child => {
                let parent = self.paths[path].slot;
                self.feed(host, Input::Trunk(trunk::Input::Down { parent, link: Some(link), reason }));
            }
            End::Parent => {
                if let Some(process) = self.hosts[host].process.as_mut() {
                    process.forget(shard, link);
                }
                self.feed(host, Input::Branch(shard, branch::Input::Down { link }));
            }
        }
    }

    /// An end that has heard nothing for QUIC's idle timeout gives the connection up.
    pub(super) fn check_idle(&mut self, link: Link) {
        for end in [End::Child, End::Parent] {
            let Some(connection) = self.connections.get(&link) else { return };
            let party = connection.ends[end as usize];
            if party.open && self.now - party.heard > PATIENCE {
                self.down(link, end, "nothing heard for 30 s".into());
            }
        }
        if self.connections.get(&link).is_some_and(|connection| connection.ends.iter().any(|party| party.open)) {
            self.schedule(self.now + IDLE_CHECK, Happening::Idle { link });
        } else {
            self.connections.remove(&link);
        }
    }

    /// Which end of the link this machine's present process is.
    pub(super) fn end_of(&self, link: Link, host: usize) -> Option<End> {
        let connection = self.connections.get(&link)?;
        let path = &self.paths[connection.path];
        let end = if path.child == host { End::Child } else { End::Parent };
        let same = connection.ends[end as usize].incarnation == self.hosts[host].incarnation;
        (same && path.host(end) == host).then_some(end)
    }

    fn runs(&self, host: usize, incarnation: u64) -> bool {
        self.hosts[host].process.is_some() && self.hosts[host].incarnation == incarnation
    }
}

/// Bytes of a handshake flight or a close, as the path sees them.
const HANDSHAKE: usize = 1_200;
/// IPv4, UDP and, for what QUIC carries, its short header and tag: 28 + about 25.
const PACKET_OVERHEAD: usize = 48;
/// µs after which a client gives up a handshake.
const DIAL_TIMEOUT: i64 = 5 * SECOND;
/// µs between looks at whether a connection is idle.
const IDLE_CHECK: i64 = 500 * MILLISECOND;
/// Packets kept per link for those who replay: about a minute of one track.
const TAPPED: usize = 256;
