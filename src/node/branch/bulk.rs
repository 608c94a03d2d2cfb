//! Bulk transfers of stored tracks: read from the store in small pieces, sent slower than what is live
//! on the same link (DESIGN §3).

use super::{Branch, Done, Job, Notice, Output, Standing, touches};
use crate::node::Link;
use crate::time::{Local, MILLISECOND, SECOND};
use crate::track::{MAX_PACKET, Packet};
use uuid::Uuid;

/// One child's fetch, in progress.
pub(super) struct Transfer {
    pub track: Uuid,
    next: u64,
    until: u64,
}

impl Branch {
    pub(super) fn fetch(&mut self, now: Local, link: Link, track: Uuid, from: u64, until: u64) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let Standing::Member { area, .. } = &child.standing else { return };
        let carried = self.tracks.get(&track).filter(|carried| touches(&carried.carry.areas, area));
        let Some(carried) = carried.filter(|_| from < until) else {
            child.session.unavailable(track, "this parent has nothing stored of the track for your area");
            return;
        };
        child.transfers.retain(|transfer| transfer.track != track);
        self.fetchers.remove(&(track, link));
        if child.transfers.len() >= TRANSFERS {
            child.session.unavailable(track, "as many transfers as a session may have are under way");
            return;
        }
        child.transfers.push(Transfer { track, next: from, until });
        self.fetchers.insert((track, link));
        if carried.carry.stored < until {
            self.outputs.push_back(Output::Notice(Notice::Fetched { track }));
        }
        self.advance_transfers(now, link);
    }

    /// Starts reading what is due, or sets the time for it. One piece at a time and one pace for all
    /// transfers of a link, so that neither many of them nor asking anew makes it faster.
    pub(super) fn advance_transfers(&mut self, now: Local, link: Link) {
        let Some(child) = self.children.get_mut(&link) else { return };
        if child.reading {
            return;
        }
        let ready = child.transfers.iter().find_map(|transfer| {
            let stored = self.tracks.get(&transfer.track)?.carry.stored;
            (transfer.next < stored).then_some((transfer, stored))
        });
        let Some((transfer, stored)) = ready else { return };
        if child.bulk_due > now {
            self.paced.insert((child.bulk_due, link));
            return;
        }
        let (track, from) = (transfer.track, transfer.next);
        let until = transfer.until.min(stored).min(from + PIECE);
        child.reading = true;
        let job = self.next_job;
        self.next_job += 1;
        self.jobs.insert(job, (link, track, from));
        self.outputs.push_back(Output::Job { job, work: Job::Fetch { track, from, until } });
    }

    pub(super) fn handle_done(&mut self, now: Local, job: u64, done: Done) {
        let Some((link, track, from)) = self.jobs.remove(&job) else { return };
        let Some(child) = self.children.get_mut(&link) else { return };
        let packets = match done {
            Done::Packets { packets, .. } => packets,
            Done::Ok | Done::Certified(_) | Done::Failed(_) => Vec::new(),
        };
        child.reading = false;
        let rate = if child.listens.is_empty() { self.options.bulk_idle } else { self.options.bulk_live };
        child.bulk_due = now + (cost(&packets) * SECOND / rate.max(1) as i64).max(PAUSE);
        // Asked for anew from elsewhere while this was being read: what was read is of no use.
        let current = |transfer: &Transfer| transfer.track == track && transfer.next == from;
        if let Some(place) = child.transfers.iter().position(current) {
            // At the end of the queue, so that all of them get on.
            let mut transfer = child.transfers.remove(place);
            // Promised by `Stored` and not readable: the child asks again, or gets it live.
            let next = packets.last().map(|last| last.index + 1);
            let finished = next.is_none_or(|next| next >= transfer.until);
            self.counters.bulk_packets += packets.len() as u64;
            child.session.bulk(track, &packets, finished);
            if let Some(next) = next.filter(|_| !finished) {
                transfer.next = next;
                child.transfers.push(transfer);
            } else {
                self.fetchers.remove(&(track, link));
            }
        }
        self.settle(now, link);
        self.advance_transfers(now, link);
    }
}

fn cost(packets: &[Packet]) -> i64 {
    packets.iter().map(|packet| packet.bytes.len().min(MAX_PACKET) as i64).sum()
}

/// Transfers of one child at once: the next two bulletins and their revisions.
const TRANSFERS: usize = 4;
/// Packets read and sent at a time: 4 at 830 bytes are 0.9 s at the slow rate.
const PIECE: u64 = 4;
/// Between two reads for one child, also where nothing was readable.
const PAUSE: i64 = 10 * MILLISECOND;

#[cfg(test)]
mod tests {
    use super::super::{Carry, Command, Input, Options};
    use super::*;
    use crate::node::{Peer, Role};
    use crate::proto::{self, to_parent::Body};
    use crate::session::{Arrival, Departure, VERSION};
    use crate::track::Secret;
    use bytes::Bytes;
    use prost::Message;

    const LINK: Link = 1;
    const PEER: Peer = Peer { node: Uuid::from_u128(7), role: Role::Speaker };
    const PACKETS: u64 = 1_000;
    const LENGTH: usize = 830;

    fn id(track: u128) -> Bytes {
        Uuid::from_u128(track).as_bytes().to_vec().into()
    }

    fn say(branch: &mut Branch, now: Local, body: Body) {
        let bytes = proto::ToParent { body: Some(body) }.encode_to_vec().into();
        branch.handle_input(now, Input::Arrival { link: LINK, arrival: Arrival::Control(bytes) });
    }

    fn hello() -> Body {
        Body::Hello(proto::Hello { version: VERSION, features: 0, node: id(7), placement: None, grants: Vec::new() })
    }

    /// A branch with one child, that carries the stored tracks 10 to 13 and the live track 20.
    fn branch() -> Branch {
        let mut branch = Branch::new(Local(0), Options::default());
        branch.handle_input(Local(0), Input::Up { link: LINK, peer: PEER });
        say(&mut branch, Local(0), hello());
        let welcome = proto::Welcome { version: VERSION, node: id(1), ..Default::default() };
        let area = "vn/01".parse().unwrap();
        let admit = Command::Admit { link: LINK, area, welcome: Box::new(welcome), orders: Vec::new() };
        branch.handle_input(Local(0), Input::Command(admit));
        for track in [10, 11, 12, 13, 20] {
            let carry = Carry {
                track: Uuid::from_u128(track),
                ssrc: track as u32,
                secret: Secret { key: [1; 16], salt: [2; 12] },
                log: false,
                emergency: false,
                rode: false,
                areas: vec!["vn".parse().unwrap()],
                duration: 240_000,
                delay: SECOND,
                rate: 3_000,
                together: 1,
                next: 0,
                stored: if track == 20 { 0 } else { PACKETS },
            };
            branch.handle_input(Local(0), Input::Command(Command::Carry(carry)));
        }
        branch
    }

    /// Plays the store and the clock until `until`. Returns jobs and bytes sent in bulk.
    fn run(branch: &mut Branch, now: &mut Local, until: Local) -> (usize, usize) {
        let (mut jobs, mut bytes) = (0, 0);
        loop {
            while let Some(output) = branch.poll_output() {
                match output {
                    Output::Job { job, work: Job::Fetch { track, from, until } } => {
                        jobs += 1;
                        let packet = |index| Packet { index, bytes: Bytes::from_static(&[0; LENGTH]) };
                        let packets = (from..until).map(packet).collect();
                        branch.handle_input(*now, Input::Done { job, done: Done::Packets { track, packets } });
                    }
                    Output::Send { departure: Departure::Bulk { frame, .. }, .. } => bytes += frame.len(),
                    _ => {}
                }
            }
            match branch.poll_timeout() {
                Some((at, _)) if at <= until => *now = at.max(*now),
                _ => return (jobs, bytes),
            }
            branch.handle_timeout(*now);
        }
    }

    #[test]
    fn all_that_is_fetched_while_something_live_is_on_the_link_stays_below_32_kilobits_a_second() {
        let (mut branch, mut now) = (branch(), Local(0));
        say(&mut branch, now, Body::Listen(proto::Listen { track: id(20), from: 0 }));
        for track in 10..14 {
            say(&mut branch, now, Body::Fetch(proto::Fetch { track: id(track), from: 0, until: PACKETS }));
        }
        let (_, bytes) = run(&mut branch, &mut now, Local(30 * SECOND));
        let rate = bytes * 8 / 30;
        assert!((20_000..32_000).contains(&rate), "{rate} b/s");
    }

    #[test]
    fn a_child_that_asks_again_and_again_gets_no_more_and_costs_the_disk_no_more() {
        let (mut branch, mut now) = (branch(), Local(0));
        say(&mut branch, now, Body::Listen(proto::Listen { track: id(20), from: 0 }));
        let (mut jobs, mut bytes) = (0, 0);
        for turn in 0..100 {
            let from = turn % 3 * 4;
            say(&mut branch, now, Body::Fetch(proto::Fetch { track: id(10), from, until: from + 4 }));
            now = Local((turn as i64 + 1) * 30 * MILLISECOND);
            let sent = run(&mut branch, &mut now.clone(), now);
            (jobs, bytes) = (jobs + sent.0, bytes + sent.1);
        }
        assert!(bytes * 8 / 3 < 48_000 && jobs <= 8, "{jobs} jobs, {bytes} bytes in 3 s");
    }

    #[test]
    fn a_child_that_listens_to_what_it_fetches_leaves_no_stream_open() {
        let (mut branch, mut now) = (branch(), Local(0));
        let mut open = std::collections::BTreeSet::new();
        // More than a child reads at once, in less time than a child may be silent.
        for turn in 0..12_i64 {
            say(&mut branch, now, Body::Fetch(proto::Fetch { track: id(10), from: 0, until: PACKETS }));
            let until = Local((turn + 1) * 2 * SECOND);
            let mut begun = false;
            while now < until {
                while let Some(output) = branch.poll_output() {
                    match output {
                        Output::Job { job, work: Job::Fetch { track, from, until } } => {
                            let packet = |index| Packet { index, bytes: Bytes::from_static(&[0; LENGTH]) };
                            let packets = (from..until).map(packet).collect();
                            branch.handle_input(now, Input::Done { job, done: Done::Packets { track, packets } });
                        }
                        Output::Send { departure: Departure::Bulk { stream, .. }, .. } => {
                            begun |= open.insert(stream);
                        }
                        Output::Send { departure: Departure::BulkEnd { stream }, .. } => {
                            open.remove(&stream);
                        }
                        _ => {}
                    }
                }
                now = branch.poll_timeout().map_or(until, |(at, _)| at).clamp(now, until);
                branch.handle_timeout(now);
            }
            assert!(begun && open.len() == 1, "the transfer is under way: {open:?}");
            say(&mut branch, now, Body::Listen(proto::Listen { track: id(10), from: 0 }));
            let ended = std::iter::from_fn(|| branch.poll_output()).any(|output| {
                matches!(output, Output::Send { departure: Departure::BulkEnd { stream }, .. } if open.remove(&stream))
            });
            assert!(ended && open.is_empty(), "turn {turn}: {open:?}");
            say(&mut branch, now, Body::Unlisten(proto::Unlisten { track: id(10) }));
        }
    }

    #[test]
    fn a_child_that_goes_before_it_is_admitted_has_left() {
        let mut branch = Branch::new(Local(0), Options::default());
        branch.handle_input(Local(0), Input::Up { link: LINK, peer: PEER });
        say(&mut branch, Local(0), hello());
        branch.handle_input(Local(0), Input::Down { link: LINK });
        let notices: Vec<_> = std::iter::from_fn(|| branch.poll_output())
            .filter_map(|output| if let Output::Notice(notice) = output { Some(notice) } else { None })
            .collect();
        // The trunk has counted it at Hello, and counts it as a child until it hears otherwise.
        assert!(matches!(notices[..], [Notice::Hello { .. }, Notice::Left { link: LINK, .. }]), "{notices:?}");
    }
}
