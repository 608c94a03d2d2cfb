//! A branch with very many children, and with hostile ones.
use super::*;
use crate::node::Role;
use crate::proto::datagram::Body as Said;
use crate::proto::to_child::Body as Told;
use crate::proto::to_parent::Body;
use crate::session::Departure;
use crate::session::VERSION;
use crate::time::{Civil, MILLISECOND, SECOND};
use crate::track::{Packet, Secret};
use bytes::Bytes;
use prost::Message;

impl Branch {
    /// Bytes held for all children, without the allocator's own.
    fn memory(&self) -> usize {
        // A B-tree's leaves are two thirds full in the mean, and its inner nodes a tenth of them.
        let entry = |bytes: usize| bytes * 5 / 3;
        let children: usize = self
            .children
            .values()
            .map(|child| {
                entry(size_of::<(Link, Child)>()) - size_of::<session::Parent>()
                    + child.session.memory()
                    + child.listens.capacity() * size_of::<Uuid>()
                    + child.transfers.capacity() * size_of::<Transfer>()
                    + entry(size_of::<(Uuid, (Link, Option<Link>))>() + size_of::<(Uuid, u32)>())
            })
            .sum();
        let places: usize = self.places.iter().map(|(place, _)| 2 * (16 + place.len())).sum();
        children
            + places
            + entry(self.places.len() * size_of::<(Place, Link)>())
            + entry(self.timers.len() * size_of::<(Local, Link)>())
            + entry(self.fetchers.len() * size_of::<(Uuid, Link)>())
            + self.tracks.values().map(|carried| entry(carried.listeners.len() * size_of::<Link>())).sum::<usize>()
    }
}

const LIVE: Uuid = Uuid::from_u128(1 << 40);

fn id(uuid: Uuid) -> Bytes {
    uuid.as_bytes().to_vec().into()
}

fn node(link: Link) -> Peer {
    Peer { node: Uuid::from_u128(u128::from(link)), role: Role::Speaker }
}

fn say(branch: &mut Branch, now: Local, link: Link, body: Body) {
    let bytes = proto::ToParent { body: Some(body) }.encode_to_vec().into();
    branch.handle_input(now, Input::Arrival { link, arrival: Arrival::Control(bytes) });
}

fn send(branch: &mut Branch, now: Local, link: Link, body: Said) {
    let bytes = proto::Datagram { body: Some(body) }.encode_to_vec().into();
    branch.handle_input(now, Input::Arrival { link, arrival: Arrival::Datagram(bytes) });
}

fn up(branch: &mut Branch, now: Local, link: Link, peer: Peer) {
    branch.handle_input(now, Input::Up { link, peer });
    let hello = proto::Hello { version: VERSION, node: id(peer.node), ..Default::default() };
    say(branch, now, link, Body::Hello(hello));
}

fn join(branch: &mut Branch, now: Local, link: Link, area: &str) {
    up(branch, now, link, node(link));
    let welcome = proto::Welcome { version: VERSION, node: id(Uuid::max()), ..Default::default() };
    let area = area.parse().unwrap();
    let admit = Command::Admit { link, area, welcome: Box::new(welcome), orders: Vec::new() };
    branch.handle_input(now, Input::Command(admit));
}

fn carry(track: Uuid, area: &str) -> Carry {
    Carry {
        track,
        ssrc: track.as_u128() as u32,
        secret: Secret { key: [1; 16], salt: [2; 12] },
        log: false,
        emergency: false,
        rode: false,
        areas: vec![area.parse().unwrap()],
        duration: 240_000,
        delay: SECOND,
        rate: 3_750,
        together: 1,
        next: 0,
        stored: 0,
    }
}

fn give(branch: &mut Branch, now: Local, command: Command) {
    branch.handle_input(now, Input::Command(command));
}

fn outputs(branch: &mut Branch) -> Vec<Output> {
    std::iter::from_fn(|| branch.poll_output()).collect()
}

fn packet(index: u64) -> Packet {
    Packet { index, bytes: Bytes::from(vec![index as u8; 830]) }
}

/// Who was told what on the control stream.
fn told(outputs: &[Output]) -> Vec<(Link, Told)> {
    let control = |output: &Output| match output {
        Output::Send { link, departure: Departure::Control(bytes) } => {
            Some((*link, proto::ToChild::decode(bytes.clone()).unwrap().body.unwrap()))
        }
        _ => None,
    };
    outputs.iter().filter_map(control).collect()
}

fn keys(outputs: &[Output], track: Uuid) -> Vec<Link> {
    let of = |(link, told): (Link, Told)| match told {
        Told::Key(key) if key.track == id(track) => Some(link),
        _ => None,
    };
    told(outputs).into_iter().filter_map(of).collect()
}

/// Communes of a hundred, as many as it takes.
fn place_of(link: Link) -> String {
    format!("vn/01/{:05}", link / 100)
}

fn branch(children: u64) -> Branch {
    let mut branch = Branch::new(Local(0), Options::default());
    (0..children).for_each(|link| join(&mut branch, Local(0), link, &place_of(link)));
    outputs(&mut branch);
    branch
}

/// Turns until all is done; the greatest number of outputs in one, and all of them.
fn work(branch: &mut Branch, now: Local) -> (usize, usize, Vec<Output>) {
    let (mut turns, mut most, mut all) = (0, 0, outputs(branch));
    while branch.work.len() > 0 {
        assert_eq!(branch.poll_timeout().map(|(at, _)| at <= now), Some(true));
        branch.handle_timeout(now);
        let some = outputs(branch);
        (turns, most) = (turns + 1, most.max(some.len()));
        all.extend(some);
    }
    (turns, most, all)
}

#[test]
fn twenty_thousand_children_get_a_key_in_slices_and_a_packet_in_one_piece() {
    const CHILDREN: u64 = 20_000;
    let (mut branch, now) = (branch(CHILDREN), Local(SECOND));
    give(&mut branch, now, Command::Carry(carry(LIVE, "vn")));
    let first = outputs(&mut branch);
    assert_eq!(keys(&first, LIVE).len(), 256);
    // Packets do not wait for the rest.
    give(&mut branch, now, Command::Packet { track: LIVE, packet: packet(0), again: false });
    assert!(matches!(outputs(&mut branch)[..], [Output::Air { .. }]));
    let (turns, most, rest) = work(&mut branch, now);
    assert!(most <= 256 && turns <= CHILDREN as usize / 256 + 1, "{turns} turns of up to {most}");
    let mut all = keys(&first, LIVE);
    all.extend(keys(&rest, LIVE));
    all.sort_unstable();
    assert!(all.into_iter().eq(0..CHILDREN), "each once");

    let now = now + SECOND;
    (0..CHILDREN).for_each(|link| {
        say(&mut branch, now, link, Body::Listen(proto::Listen { track: id(LIVE), from: 0 }));
    });
    outputs(&mut branch);
    give(&mut branch, now, Command::Packet { track: LIVE, packet: packet(1), again: false });
    assert!(matches!(outputs(&mut branch)[..], [Output::Air { .. }]));
    give(&mut branch, now, Command::Missing { track: LIVE, first: 2, count: 3 });
    let (_, most, announced) = work(&mut branch, now + SECOND);
    assert!(most <= 256 && announced.len() <= CHILDREN as usize);
    give(&mut branch, now, Command::Drop { track: LIVE });
    let (_, _, dropped) = work(&mut branch, now + SECOND);
    assert!(matches!(dropped[..], [Output::Dropped { .. }]), "{} outputs", dropped.len());
    assert!(branch.children.values().all(|child| child.listens.is_empty()));

    let bytes = branch.memory() / CHILDREN as usize;
    assert!(bytes < 1_536, "{bytes} bytes per child");
    give(&mut branch, now, Command::Drain);
    let (_, most, goodbyes) = work(&mut branch, now + SECOND);
    assert!(most <= 4 * 256, "{most}");
    assert_eq!(goodbyes.iter().filter(|output| matches!(output, Output::Hang { .. })).count() as u64, CHILDREN);
    assert_eq!((branch.places.len(), branch.timers.len(), branch.counters().sessions), (0, 0, 0));
    up(&mut branch, now, CHILDREN, node(CHILDREN));
    assert!(matches!(&outputs(&mut branch)[0], Output::Hang { code, .. } if code == "node.stopping"));
}

#[test]
fn a_track_for_one_commune_visits_nobody_else() {
    let (mut branch, now) = (branch(3_000), Local(SECOND));
    join(&mut branch, now, 5_000, "vn/01");
    join(&mut branch, now, 5_001, "vn/01/00007/1");
    join(&mut branch, now, 5_002, "vn/01/00007-x");
    outputs(&mut branch);
    give(&mut branch, now, Command::Carry(carry(LIVE, "vn/01/00007")));
    assert_eq!(branch.work.len(), 0, "one slice is enough");
    let mut reached = keys(&outputs(&mut branch), LIVE);
    reached.sort_unstable();
    assert!(reached.into_iter().eq((700..800).chain([5_000, 5_001])));
}

#[test]
fn an_emergency_goes_before_what_waits_and_what_was_dropped_is_not_told() {
    let (mut branch, now) = (branch(2_000), Local(SECOND));
    let [bulletin, second, alarm] = [1, 2, 3].map(|n| Uuid::from_u128(LIVE.as_u128() + n));
    give(&mut branch, now, Command::Carry(carry(bulletin, "vn")));
    give(&mut branch, now, Command::Carry(carry(second, "vn")));
    give(&mut branch, now, Command::Carry(Carry { emergency: true, ..carry(alarm, "vn") }));
    give(&mut branch, now, Command::Drop { track: second });
    let before = outputs(&mut branch);
    assert_eq!((keys(&before, bulletin).len(), keys(&before, alarm).len()), (256, 0));
    let mut alarmed = 0;
    while alarmed < 2_000 {
        branch.handle_timeout(now);
        let some = outputs(&mut branch);
        assert_eq!(keys(&some, bulletin).is_empty(), alarmed + keys(&some, alarm).len() < 2_000);
        alarmed += keys(&some, alarm).len();
    }
    assert_eq!(branch.tracks[&alarm].listeners.len(), 2_000);
    let (_, _, rest) = work(&mut branch, now);
    assert!(keys(&rest, second).is_empty());
}

#[test]
fn whom_an_emergencys_key_has_reached_with_its_order_needs_no_word_and_who_comes_later_does() {
    let (mut branch, now) = (branch(600), Local(SECOND));
    give(&mut branch, now, Command::Carry(Carry { emergency: true, rode: true, ..carry(LIVE, "vn") }));
    join(&mut branch, now, 4_000, "vn/01/00001");
    let mut all = outputs(&mut branch);
    all.extend(work(&mut branch, now).2);
    let told: Vec<Link> = told(&all).into_iter().map(|(link, _)| link).collect();
    assert!(!told.is_empty() && told.iter().all(|link| *link == 4_000), "{told:?}");
    assert_eq!(keys(&all, LIVE), [4_000]);
    assert_eq!(branch.tracks[&LIVE].listeners.len(), 601);
    let listens = all.iter().filter(|output| matches!(output, Output::Listen { track: LIVE, .. })).count();
    assert_eq!(listens, 601);
    // Who has been counted in may leave, and is answered when it asks.
    say(&mut branch, now, 5, Body::Unlisten(proto::Unlisten { track: id(LIVE) }));
    assert_eq!(branch.tracks[&LIVE].listeners.len(), 600);
    say(&mut branch, now, 6, Body::Listen(proto::Listen { track: id(LIVE), from: 0 }));
    let answers = self::told(&outputs(&mut branch));
    assert!(matches!(answers[..], [(6, Told::Key(_)), (6, Told::Listening(_))]), "{answers:?}");
}

#[test]
fn a_child_whose_reports_stay_away_is_counted_until_it_reports_or_goes() {
    let mut branch = branch(1);
    give(&mut branch, Local(0), Command::Carry(carry(LIVE, "vn")));
    say(&mut branch, Local(0), 0, Body::Listen(proto::Listen { track: id(LIVE), from: 0 }));
    outputs(&mut branch);
    let until = |branch: &mut Branch, wanted: fn(&Output) -> bool| {
        while let Some((at, _)) = branch.poll_timeout().filter(|(at, _)| *at < Local(30 * SECOND)) {
            branch.handle_timeout(at);
            if outputs(branch).iter().any(wanted) {
                return at;
            }
        }
        panic!("nothing of the kind within half a minute");
    };
    let unlistened = |output: &Output| matches!(output, Output::Unlisten { link: 0, track: LIVE });
    let silent = until(&mut branch, unlistened);
    assert_eq!(branch.counters().paused, 1);
    send(&mut branch, silent, 0, Said::Beat(proto::Beat { sent: 1, report: None, loss: 0 }));
    let again = outputs(&mut branch);
    assert!(again.iter().any(|output| matches!(output, Output::Listen { link: 0, track: LIVE })), "{again:?}");
    assert_eq!(branch.counters().paused, 0);
    until(&mut branch, unlistened);
    branch.handle_input(Local(30 * SECOND), Input::Down { link: 0 });
    assert_eq!((branch.counters().paused, branch.counters().sessions), (0, 0));
}

#[test]
fn who_joins_or_leaves_meanwhile_gets_everything_once() {
    let (mut branch, now) = (branch(1_000), Local(SECOND));
    let log = Carry { log: true, next: 40, ..carry(Uuid::from_u128(LIVE.as_u128() + 9), "vn") };
    give(&mut branch, now, Command::Carry(log.clone()));
    give(&mut branch, now, Command::Carry(carry(LIVE, "vn")));
    give(&mut branch, now, Command::Packet { track: log.track, packet: packet(40), again: false });
    let mut all = outputs(&mut branch);
    join(&mut branch, now, 4_000, "vn/01/00001");
    branch.handle_input(now, Input::Down { link: 700 });
    all.extend(outputs(&mut branch));
    let (_, _, rest) = work(&mut branch, now);
    all.extend(rest);
    let mut keyed = keys(&all, LIVE);
    keyed.sort_unstable();
    assert!(keyed.into_iter().eq((0..700).chain(701..1_000).chain([4_000])));
    let mut logs: Vec<(Link, u64)> = told(&all)
        .into_iter()
        .flat_map(|(link, told)| match told {
            Told::Log(log) => vec![(link, log.next)],
            Told::Welcome(welcome) => welcome.logs.iter().map(|log| (link, log.next)).collect(),
            _ => Vec::new(),
        })
        .collect();
    logs.sort_unstable();
    // Whoever is told late is told where the log began, and asks for what it missed.
    assert!(logs.into_iter().eq((0..700).chain(701..1_000).map(|link| (link, 40)).chain([(4_000, 41)])));
    assert_eq!(branch.fetchers.len() + branch.work.len(), 0);
}

#[test]
fn a_track_that_comes_back_while_it_is_forgotten_is_whole() {
    let (mut branch, now) = (branch(1_000), Local(SECOND));
    give(&mut branch, now, Command::Carry(Carry { emergency: true, ..carry(LIVE, "vn") }));
    work(&mut branch, now);
    give(&mut branch, now, Command::Drop { track: LIVE });
    give(&mut branch, now, Command::Carry(Carry { emergency: true, ..carry(LIVE, "vn") }));
    work(&mut branch, now);
    assert_eq!(branch.tracks[&LIVE].listeners.len(), 1_000);
    assert!(branch.children.values().all(|child| child.listens == [LIVE]));
}

#[test]
fn more_tasks_than_may_wait_are_done_and_none_is_lost() {
    let (mut branch, now) = (branch(300), Local(SECOND));
    for turn in 0..3_000 {
        let order = proto::Signed { payload: vec![turn as u8; 40].into(), signatures: Vec::new() };
        give(&mut branch, now, Command::Push(vec![order]));
        assert!(branch.work.len() <= 1_025);
        outputs(&mut branch).truncate(0);
    }
    give(&mut branch, now, Command::Carry(carry(LIVE, "vn")));
    let (_, _, rest) = work(&mut branch, now);
    assert_eq!(keys(&rest, LIVE).len(), 300);
}

#[test]
fn a_node_that_opens_a_thousand_sessions_holds_two() {
    let mut branch = branch(3);
    let peer = Peer { node: Uuid::from_u128(77), role: Role::Speaker };
    let mut codes = std::collections::BTreeMap::<String, u64>::new();
    for link in 100..1_100 {
        up(&mut branch, Local(SECOND), link, peer);
        for output in outputs(&mut branch) {
            if let Output::Hang { code, text, .. } = output {
                assert!(!text.is_empty());
                *codes.entry(code).or_default() += 1;
            }
        }
        assert!(branch.children.len() <= 5);
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [("session.often".into(), 940), ("session.replaced".into(), 58)]);
    let cuts: Vec<_> = branch.counters().cuts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(cuts, [("session.replaced", 58), ("session.often", 940)]);
}

#[test]
fn a_child_that_changes_to_another_rendition_leaves_what_the_others_get_untouched() {
    let (high, low) = (LIVE, Uuid::from_u128(2 << 40));
    let rendition = |track, rate| Command::Carry(Carry { rate, ..carry(track, "vn") });
    let run = |moves: bool| {
        let mut branch = branch(4);
        give(&mut branch, Local(0), rendition(high, 3_750));
        give(&mut branch, Local(0), rendition(low, 2_400));
        for (link, track) in [(0, high), (1, high), (2, low), (3, high)] {
            say(&mut branch, Local(0), link, Body::Listen(proto::Listen { track: id(track), from: 0 }));
        }
        let (mut of_others, mut of_its_own) = (Vec::new(), Vec::new());
        for index in 0..40 {
            // Over before anybody misses their beats.
            let now = Local(index as i64 * 60 * MILLISECOND);
            for track in [high, low] {
                give(&mut branch, now, Command::Packet { track, packet: packet(index), again: false });
            }
            // First the new one, then, once it flows, no longer the old one.
            if moves && index == 20 {
                say(&mut branch, now, 3, Body::Listen(proto::Listen { track: id(low), from: 19 }));
            }
            if moves && index == 22 {
                say(&mut branch, now, 3, Body::Unlisten(proto::Unlisten { track: id(high) }));
            }
            for link in [0, 1] {
                let ranges = vec![proto::Range { first: index, count: 1 }];
                let nack = proto::Nack { track: id(high), ranges, round: index as u32 };
                send(&mut branch, now, link, Said::Nack(nack));
            }
            while branch.poll_timeout().is_some_and(|(at, _)| at <= now) {
                branch.handle_timeout(now);
            }
            for output in outputs(&mut branch) {
                match output {
                    Output::Send { link: 3, .. } => {}
                    Output::Listen { link: 3, track } => of_its_own.push((index, true, track)),
                    Output::Unlisten { link: 3, track } => of_its_own.push((index, false, track)),
                    other => of_others.push(format!("{index} {other:?}")),
                }
            }
        }
        (of_others, of_its_own)
    };
    let ((stayed, before), (moved, changes)) = (run(false), run(true));
    assert!(stayed.iter().filter(|output| output.contains("Air")).count() == 80, "{stayed:?}");
    assert_eq!(moved, stayed);
    assert_eq!(before, [(0, true, high)]);
    assert_eq!(changes, [(0, true, high), (20, true, low), (22, false, high)]);
}

/// What one child, and all listeners, get while another does something for ten seconds: each ms `hostile`
/// is called with its link, or nothing is.
fn beside(mut hostile: Option<impl FnMut(&mut Branch, Local, Link, i64)>) -> (Vec<String>, Counters, u64, usize) {
    const GOOD: Link = 1;
    const BAD: Link = 2;
    let mut branch = branch(4);
    give(&mut branch, Local(0), Command::Carry(carry(LIVE, "vn")));
    (4..70).for_each(|track| give(&mut branch, Local(0), Command::Carry(carry(Uuid::from_u128(track), "vn"))));
    for link in [GOOD, BAD] {
        say(&mut branch, Local(0), link, Body::Listen(proto::Listen { track: id(LIVE), from: 0 }));
    }
    let (mut seen, mut spent, mut most) = (Vec::new(), 0, 0);
    for tick in 0..10_000 {
        let now = Local(tick * MILLISECOND);
        if tick % 240 == 0 {
            let packet = packet(tick as u64 / 240);
            give(&mut branch, now, Command::Packet { track: LIVE, packet, again: false });
        }
        if tick % 200 == 0 {
            send(&mut branch, now, GOOD, Said::Beat(proto::Beat { sent: tick as u64, report: None, loss: 0 }));
            let ranges = vec![proto::Range { first: tick as u64 / 240, count: 1 }];
            send(&mut branch, now, GOOD, Said::Nack(proto::Nack { track: id(LIVE), ranges, round: tick as u32 }));
        }
        if let Some(hostile) = &mut hostile {
            hostile(&mut branch, now, BAD, tick);
        }
        while branch.poll_timeout().is_some_and(|(at, _)| at <= now) {
            branch.handle_timeout(now);
        }
        for output in outputs(&mut branch) {
            match &output {
                Output::Air { .. } => seen.push(format!("{now:?} {output:?}")),
                Output::Send { link: GOOD, .. } => seen.push(format!("{now:?} {output:?}")),
                Output::Listen { link: GOOD, .. } | Output::Unlisten { link: GOOD, .. } => {
                    seen.push(format!("{now:?} {output:?}"));
                }
                Output::Send { link: BAD, departure } => {
                    spent += match departure {
                        Departure::Control(bytes) | Departure::Datagram(bytes) | Departure::Media(bytes) => bytes.len(),
                        Departure::Bulk { frame, .. } => frame.len(),
                        Departure::BulkEnd { .. } => 0,
                    } as u64;
                }
                _ => {}
            }
        }
        most = most.max(branch.children.get(&BAD).map_or(0, |child| child.session.memory()));
    }
    (seen, branch.counters(), spent, most)
}

fn ignored(counters: &Counters, reason: &str) -> u64 {
    counters.ignored_inputs().find(|(name, _)| *name == reason).unwrap().1
}

fn cut(counters: &Counters, reason: &str) -> u64 {
    counters.cuts().find(|(name, _)| *name == reason).unwrap().1
}

/// Holds that the others notice nothing, and that the hostile one gets and takes no more than this.
fn harmless(hostile: impl FnMut(&mut Branch, Local, Link, i64), bytes_each_second: u64) -> Counters {
    let alone = beside(None::<fn(&mut Branch, Local, Link, i64)>);
    let (seen, counters, spent, memory) = beside(Some(hostile));
    assert!(seen == alone.0, "the other child was sent something else");
    assert!(spent / 10 <= bytes_each_second, "{} bytes a second for the hostile one", spent / 10);
    assert!(memory <= 32 * 1024, "{memory} bytes held for the hostile one");
    counters
}

fn nack(first: u64, count: u64, round: u32) -> Said {
    Said::Nack(proto::Nack { track: id(LIVE), ranges: vec![proto::Range { first, count }], round })
}

#[test]
fn a_child_that_asks_for_everything_again_costs_its_budget_and_no_other_child_anything() {
    let all = |branch: &mut Branch, now, link, tick: i64| {
        send(branch, now, link, Said::Beat(proto::Beat { sent: tick as u64, report: None, loss: 0 }));
        send(branch, now, link, nack(0, tick as u64 / 240 + 1, tick as u32));
    };
    let counters = harmless(all, 6_000);
    assert!(ignored(&counters, "nack.budget") > 100 && ignored(&counters, "flood") > 1_000, "{counters:?}");
    assert_eq!(cut(&counters, "peer.flood"), 1, "{counters:?}");
}

#[test]
fn while_sound_waits_for_many_children_it_is_not_sent_again_to_one() {
    let mut branch = branch(2);
    give(&mut branch, Local(0), Command::Carry(carry(LIVE, "vn")));
    say(&mut branch, Local(0), 1, Body::Listen(proto::Listen { track: id(LIVE), from: 0 }));
    give(&mut branch, Local(0), Command::Packet { track: LIVE, packet: packet(0), again: false });
    outputs(&mut branch);
    let mut answered = Vec::new();
    for (round, behind) in [(1, true), (2, false)] {
        branch.set_behind(behind);
        send(&mut branch, Local(SECOND * i64::from(round)), 1, nack(0, 1, round));
        let media = |output: &Output| matches!(output, Output::Send { departure: Departure::Media(_), .. });
        answered.push(outputs(&mut branch).iter().filter(|output| media(output)).count());
    }
    assert_eq!(answered, [0, 1]);
    assert_eq!(ignored(&branch.counters(), "nack.behind"), 1);
}

#[test]
fn a_child_that_asks_for_what_it_does_not_listen_to_is_ignored() {
    let foreign = |branch: &mut Branch, now, link, tick: i64| {
        let ranges = vec![proto::Range { first: 0, count: u64::MAX }];
        let track = id(Uuid::from_u128(5));
        if tick % 3 == 0 {
            send(branch, now, link, Said::Nack(proto::Nack { track, ranges, round: tick as u32 }));
        }
    };
    assert!(ignored(&harmless(foreign, 2_000), "nack.track") > 3_000);
}

#[test]
fn a_child_that_flaps_between_listen_and_unlisten_is_slowed_down() {
    let flap = |branch: &mut Branch, now, link, tick: i64| {
        if tick % 100 == 0 {
            send(branch, now, link, Said::Beat(proto::Beat { sent: tick as u64, report: None, loss: 0 }));
        }
        match tick % 10 {
            0 => say(branch, now, link, Body::Listen(proto::Listen { track: id(LIVE), from: 0 })),
            5 => say(branch, now, link, Body::Unlisten(proto::Unlisten { track: id(LIVE) })),
            _ => {}
        }
    };
    let counters = harmless(flap, 12_000);
    assert!(ignored(&counters, "wish") > 400, "{counters:?}");
}

#[test]
fn a_child_that_wants_every_track_and_every_fetch_at_once_is_held_to_its_limits() {
    let all = |branch: &mut Branch, now, link, tick: i64| {
        if tick % 20 == 0 {
            let track = id(Uuid::from_u128(4 + tick as u128 / 20 % 66));
            say(branch, now, link, Body::Listen(proto::Listen { track: track.clone(), from: 0 }));
            say(branch, now, link, Body::Fetch(proto::Fetch { track, from: 0, until: u64::MAX >> 16 }));
            let child = &branch.children[&link];
            assert!(child.listens.len() <= 64 && child.transfers.len() <= 4);
        }
    };
    harmless(all, 20_000);
}

#[test]
fn a_child_that_lies_in_its_reports_is_believed_for_itself_alone() {
    let lie = |branch: &mut Branch, now, link, tick: i64| {
        if tick % 200 != 0 {
            return;
        }
        let long = "x".repeat(if tick % 400 == 0 { 300 } else { 10 });
        let report = proto::Report {
            node: id(Uuid::from_u128(1)),
            area: "vn".into(),
            state: long,
            received: u64::MAX,
            at: i64::MAX,
            first_at: Civil(i64::MAX).0,
            ..Default::default()
        };
        send(branch, now, link, Said::Beat(proto::Beat { sent: 1, report: Some(report.clone()), loss: u32::MAX }));
        // A speaker has nobody below it.
        say(branch, now, link, Body::Health(proto::Health { reports: vec![report; 64] }));
        let own = id(node(link).node);
        let notices = branch.outputs.iter().filter_map(|output| match output {
            Output::Notice(Notice::Reports(reports)) => Some(reports),
            _ => None,
        });
        assert!(notices.flatten().all(|report| report.node == own && report.parent.is_empty()));
    };
    let counters = harmless(lie, 1_000);
    assert_eq!(ignored(&counters, "report"), 25 + 50 * 64);
}

#[test]
fn a_child_that_only_sends_garbage_is_ignored_and_then_cut() {
    let noise = |branch: &mut Branch, now, link, _| {
        for _ in 0..4 {
            let arrival = Arrival::Datagram(Bytes::from_static(&[0xFF; 1_100]));
            branch.handle_input(now, Input::Arrival { link, arrival });
        }
    };
    let counters = harmless(noise, 1_000);
    assert!(ignored(&counters, "malformed") > 5_000 && ignored(&counters, "flood") > 5_000, "{counters:?}");
}
