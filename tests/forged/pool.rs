//! What those who may not speak have ready: orders beyond their right, signed once, and sound of their own for them.

use crate::country::{DAY, HERE, NODE, NOW, Who, areas_of, id, placed, revoked};
use crate::dice::Dice;
use crate::programme::{LENGTH, LOG};
use bytes::Bytes;
use loa::broadcast::{Body, Broadcast, Cancel, Grant, Hush, Kind, Priority, Purpose, Tick, Tone, sign};
use loa::key::{Domain, SigningKey};
use loa::proto;
use loa::time::SECOND;
use loa::track::{Info, Packet, Secret, Writer};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Where in the log false ticks say that they stand.
pub const TICK_AT: u64 = 252;

/// Why an order may not be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Named an authority's, signed by another key.
    Forged,
    /// Bears a good signature, but not that of the authority it names.
    Unsigned,
    Stranger,
    Puppet,
    Lapsed,
    Revoked,
    Expired,
    NotYet,
    OutOfArea,
    AbovePriority,
    WrongKind,
    /// A broadcast by the id of somebody else's.
    StolenId,
}

pub const FAULTS: [Fault; 12] = [
    Fault::Forged,
    Fault::Unsigned,
    Fault::Stranger,
    Fault::Puppet,
    Fault::Lapsed,
    Fault::Revoked,
    Fault::Expired,
    Fault::NotYet,
    Fault::OutOfArea,
    Fault::AbovePriority,
    Fault::WrongKind,
    Fault::StolenId,
];

pub struct Pool {
    /// Broadcasts by their fault, each with the track that it would sound.
    pub broadcasts: Vec<(Fault, Vec<proto::Signed>, Own)>,
    /// Orders other than broadcasts, and cancels of what is not known yet.
    pub others: Vec<proto::Signed>,
    /// Ticks that lie about the time.
    pub ticks: Vec<proto::Signed>,
    /// What is a lie and yet signed within a right: it may be passed on, and changes nothing.
    pub lies: BTreeSet<Bytes>,
}

/// A track of one's own, in order but for who ordered it.
pub struct Own {
    pub info: Info,
    pub secret: Secret,
    pub packets: Vec<Packet>,
}

impl Pool {
    /// `bulletin`: the id of a true broadcast that is on for the whole minute.
    pub fn new(bulletin: Uuid) -> Self {
        let mut dice = Dice::new(0xbad);
        let mut number = 500_000;
        let broadcasts = FAULTS.map(|fault| {
            number += 100;
            let own = Own::new(&mut dice, id(number));
            let orders =
                (0..6).map(|variant| broadcast(fault, number + 1 + variant, variant, &own, bulletin)).collect();
            (fault, orders, own)
        });
        let ticks = ticks();
        let lies = ticks.iter().map(|tick| tick.payload.clone()).collect();
        Self { broadcasts: broadcasts.into(), others: others(bulletin), ticks, lies }
    }

    pub fn of(&self, fault: Fault) -> &(Fault, Vec<proto::Signed>, Own) {
        self.broadcasts.iter().find(|(of, ..)| *of == fault).expect("every fault has its broadcasts")
    }
}

impl Own {
    /// Packets of 240 ms for the whole programme.
    fn new(dice: &mut Dice, id: Uuid) -> Self {
        let seed = dice.bytes();
        let secret = Secret { key: dice.bytes(), salt: dice.bytes() };
        let info = Info {
            id,
            sign: SigningKey::from_seed(&seed).public(),
            ssrc: dice.below(1 << 32) as u32,
            duration: 11_520,
            anchor: NOW + SECOND,
            key_hash: secret.hash(),
            bitrate: 24_000,
            packets: None,
        };
        let room = Writer::room(info.bitrate, info.duration);
        let mut writer = Writer::new(info.clone(), &secret, SigningKey::from_seed(&seed), room);
        let record = vec![0xee; room - 2];
        let packets = (0..245).map(|_| writer.write(&[&record], NOW + SECOND).expect("a record that fits")).collect();
        Self { info, secret, packets }
    }
}

fn broadcast(fault: Fault, number: u64, variant: u64, own: &Own, bulletin: Uuid) -> proto::Signed {
    use Fault::*;
    let highest = match fault {
        Stranger | Forged | Unsigned | Puppet | OutOfArea | Expired | NotYet => Priority::Emergency,
        AbovePriority => Priority::Emergency,
        Lapsed | Revoked | WrongKind | StolenId => Priority::Priority,
    };
    let priority = if variant == 0 && fault != AbovePriority { Priority::Normal } else { highest };
    let (from, until) = match fault {
        Expired => (-3 * 3_600 * SECOND, -3_600 * SECOND),
        NotYet => (DAY, DAY + LENGTH),
        _ => (0, LENGTH),
    };
    let emergency = priority == Priority::Emergency;
    let tone = Tone { at: NOW + from + 1_000_000 * variant as i64 * 8, which: 1, duration: SECOND };
    // A tone ends before speech begins, so those that come late have no sound behind it that could.
    let anchor = if emergency { tone.at + SECOND } else { NOW + from + SECOND };
    let body = Broadcast {
        priority,
        from: NOW + from,
        until: NOW + until,
        delay: SECOND,
        renditions: vec![Info { anchor, ..own.info.clone() }],
        tone: emergency.then_some(tone),
        title: format!("{fault:?}"),
        revision: if fault == StolenId { 1 } else { 0 },
        supersedes: Some(bulletin).filter(|_| !emergency),
        stored: false,
        resume: false,
        prepared: false,
        purpose: Purpose::Real,
    };
    let (who, area) = match fault {
        Forged | Unsigned => (Who::Nation, "vn"),
        Stranger => (Who::Stranger, "vn"),
        Puppet => (Who::Puppet, HERE),
        Lapsed => (Who::Lapsed, HERE),
        Revoked => (Who::Mayor, HERE),
        Expired | NotYet => (Who::Nation, "vn"),
        OutOfArea if variant.is_multiple_of(2) => (Who::Neighbour, HERE),
        OutOfArea | AbovePriority | StolenId if variant == 1 => (Who::Commune, "vn/01/00004"),
        OutOfArea => (Who::Province, "vn"),
        AbovePriority | StolenId => (Who::Commune, HERE),
        WrongKind => (Who::Warden, HERE),
    };
    // Beyond its place even where the sender's own commune is named first.
    let areas: Vec<&str> = if fault == OutOfArea && who == Who::Commune { vec![HERE, "vn/01"] } else { vec![area] };
    let issued = match fault {
        Expired | NotYet => from,
        // After the right was taken.
        Revoked => crate::programme::REVOKED + SECOND,
        _ => 0,
    };
    let mut order = who.order(number, issued, &areas, Body::Broadcast(body));
    if fault == StolenId {
        order.id = bulletin;
    }
    match fault {
        Forged => signed_by(&order, &[(Who::Nation, Who::Stranger)]),
        Unsigned => signed_by(&order, &[(Who::Commune, Who::Commune), (Who::Province, Who::Province)]),
        _ => sign(&order, who.key()),
    }
}

/// Signatures in the name of the first by the key of the second.
fn signed_by(order: &loa::broadcast::Order, names: &[(Who, Who)]) -> proto::Signed {
    let payload = Bytes::from(order.encode());
    let signature = |(name, by): &(Who, Who)| proto::Signature {
        key: name.key().id().0.to_vec().into(),
        value: by.key().sign(Domain::Order, &payload).to_vec().into(),
    };
    let signatures = names.iter().map(signature).collect();
    proto::Signed { payload, signatures }
}

/// Stops, grants, revocations and placements that would silence or move the node, or let others speak.
fn others(bulletin: Uuid) -> Vec<proto::Signed> {
    let hush = |up_to| Body::Hush(Hush { until: NOW + LENGTH, up_to, exempt: Vec::new() });
    let cancel = || Body::Cancel(Cancel { broadcast: bulletin, at: NOW + SECOND });
    let grant = |to: Who, place: &str| {
        Body::Grant(Grant {
            key: to.key().public(),
            areas: areas_of(&[place]),
            kinds: vec![Kind::Broadcast, Kind::Cancel],
            up_to: Priority::Normal,
            from: NOW - SECOND,
            until: NOW + DAY,
            name: "puppet".into(),
            alone_from: 0,
        })
    };
    let mut number = 600_000;
    let mut next = || {
        number += 1;
        number
    };
    let false_hush = Who::Province.order(next(), 0, &["vn/01"], hush(Priority::Emergency));
    vec![
        signed_by(&false_hush, &[(Who::Province, Who::Stranger)]),
        Who::Stranger.sign(next(), 0, &["vn"], hush(Priority::Emergency)),
        Who::Commune.sign(next(), 0, &["vn/01"], hush(Priority::Priority)),
        Who::Commune.sign(next(), 0, &[HERE], hush(Priority::Emergency)),
        Who::Neighbour.sign(next(), 0, &[HERE], hush(Priority::Emergency)),
        Who::Lapsed.sign(next(), 0, &[HERE], hush(Priority::Normal)),
        Who::Stranger.sign(next(), 0, &["vn"], cancel()),
        Who::Commune.sign(next(), 0, &["vn"], cancel()),
        Who::Neighbour.sign(next(), 0, &["vn"], cancel()),
        Who::Commune.sign(next(), 0, &[HERE], grant(Who::Puppet, HERE)),
        Who::Stranger.sign(next(), 0, &[HERE], grant(Who::Puppet, HERE)),
        Who::Neighbour.sign(next(), 0, &["vn/01"], grant(Who::Puppet, "vn/01")),
        Who::Commune.sign(next(), 0, &[HERE], revoked(Who::Nation)),
        Who::Province.sign(next(), 0, &["vn/01"], revoked(Who::Nation)),
        Who::Neighbour.sign(next(), 0, &["vn/02"], revoked(Who::Province)),
        Who::Stranger.sign(next(), 0, &["vn"], placed(NODE, "vn/02")),
        Who::Commune.sign(next(), 0, &[HERE], placed(NODE, HERE)),
        Who::Neighbour.sign(next(), 0, &["vn/02"], placed(NODE, HERE)),
        // Within its own right, and a node of others.
        Who::Neighbour.sign(next(), 0, &["vn/02"], placed(NODE, "vn/02")),
    ]
}

fn ticks() -> Vec<proto::Signed> {
    let tick = |ahead: i64| Body::Tick(Tick { time: NOW + ahead, log: LOG, head: TICK_AT, epoch: 0 });
    let mut number = 700_000;
    let mut ticks = Vec::new();
    for ahead in [20 * SECOND, 50 * SECOND, 90 * SECOND, 110 * SECOND, DAY] {
        let liars = [
            (Who::Stranger, &["vn"][..]),
            (Who::Commune, &[HERE]),
            (Who::Neighbour, &["vn/02"]),
            (Who::Province, &["vn"]),
            // Within their rights, but narrower than the nation, whose word on the time counts.
            (Who::Province, &["vn/01"]),
            (Who::Neighbour, &[]),
        ];
        for (who, areas) in liars {
            number += 1;
            ticks.push(who.sign(number, ahead, areas, tick(ahead)));
        }
    }
    ticks
}
