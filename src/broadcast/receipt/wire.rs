//! Receipts and sums as they travel and rest (`session/loa.proto`). What comes is a peer's word: lengths are checked, and
//! what is beyond reason is refused whole.

use super::{Audio, MOST_AREAS, MOST_NAMED, Named, Outcome, Receipt, State, Sum, Tally};
use crate::broadcast::Area;
use crate::proto;
use crate::time::Civil;
use bytes::Bytes;
use uuid::Uuid;

impl Receipt {
    pub fn write(&self) -> proto::Receipt {
        proto::Receipt {
            order: id(self.order),
            revision: self.revision,
            state: self.state as u32,
            received: self.received.0,
            cached: time(self.cached),
            from: time(self.from),
            to: time(self.to),
            lost: self.lost.into(),
            whole: self.whole,
            by: self.by.map(id).unwrap_or_default(),
            stopped: time(self.stopped),
            why: self.why.to_string(),
            audio: self.audio.map(|audio| Bytes::copy_from_slice(&audio)).unwrap_or_default(),
            closed: self.closed,
            node: Bytes::new(),
            area: String::new(),
        }
    }

    /// `None` for what no receipt says. Times after `latest` are cut to it.
    pub fn read(wire: &proto::Receipt, latest: Civil) -> Option<Self> {
        if wire.why.len() > LONGEST_CODE || !wire.why.is_ascii() {
            return None;
        }
        let read = |at: i64| read_time(at, latest);
        Some(Self {
            order: Uuid::from_slice(&wire.order).ok()?,
            revision: wire.revision,
            state: State::of(wire.state)?,
            received: read(wire.received)?,
            cached: read(wire.cached),
            from: read(wire.from),
            to: read(wire.to),
            lost: wire.lost.min(1_000) as u16,
            whole: wire.whole,
            by: read_id(&wire.by)?,
            stopped: read(wire.stopped),
            why: wire.why.as_str().into(),
            audio: read_audio(&wire.audio)?,
            closed: wire.closed,
        })
    }
}

impl Sum {
    pub fn write(&self) -> proto::Sum {
        let place = |area: &Area| self.areas.keys().position(|held| held == area).unwrap_or(0) as u32;
        proto::Sum {
            order: id(self.order),
            relay: id(self.relay),
            revision: self.revision,
            received: time(self.received),
            cached: time(self.cached),
            areas: self.areas.iter().map(|(area, tally)| tally.write(area)).collect(),
            nodes: self
                .named
                .iter()
                .map(|named| proto::Named {
                    node: id(named.node),
                    area: place(&named.area),
                    outcome: named.outcome as u32,
                    lost: named.lost.into(),
                    by: named.by.map(id).unwrap_or_default(),
                    why: named.why.to_string(),
                    from: time(named.from),
                    to: time(named.to),
                })
                .collect(),
            unnamed: self.unnamed,
        }
    }

    pub fn read(wire: &proto::Sum, latest: Civil) -> Option<Self> {
        if wire.areas.len() > MOST_AREAS || wire.nodes.len() > MOST_NAMED {
            return None;
        }
        let mut sum = Self::new(Uuid::from_slice(&wire.order).ok()?, Uuid::from_slice(&wire.relay).ok()?);
        sum.revision = wire.revision;
        (sum.received, sum.cached) = (read_time(wire.received, latest), read_time(wire.cached, latest));
        sum.unnamed = wire.unnamed;
        let mut places = Vec::new();
        for area in &wire.areas {
            let place: Area = area.area.parse().ok()?;
            places.push(place.clone());
            sum.areas.entry(place).or_default().merge(&Tally::read(area, latest)?);
        }
        for named in &wire.nodes {
            if named.why.len() > LONGEST_CODE || !named.why.is_ascii() {
                return None;
            }
            sum.named.push(Named {
                node: Uuid::from_slice(&named.node).ok()?,
                area: places.get(usize::try_from(named.area).ok()?)?.clone(),
                // What a later release may say.
                outcome: Outcome::of_number(named.outcome).unwrap_or(Outcome::Unknown),
                lost: named.lost.min(1_000) as u16,
                by: read_id(&named.by)?,
                why: named.why.as_str().into(),
                from: read_time(named.from, latest),
                to: read_time(named.to, latest),
            });
        }
        Some(sum)
    }
}

impl Tally {
    fn write(&self, area: &Area) -> proto::AreaSum {
        let sounded =
            |(audio, nodes): (&Audio, &u32)| proto::Sounded { audio: Bytes::copy_from_slice(audio), nodes: *nodes };
        proto::AreaSum {
            area: area.to_string(),
            counts: self.counts().map(|(_, count)| count).collect(),
            from: time(self.from),
            to: time(self.to),
            lost: self.lost.into(),
            sounded: self.audio.iter().map(sounded).collect(),
        }
    }

    fn read(wire: &proto::AreaSum, latest: Civil) -> Option<Self> {
        let mut tally = Self::default();
        for (number, count) in wire.counts.iter().enumerate() {
            tally.put(Outcome::of_number(number as u32).unwrap_or(Outcome::Unknown), (*count).min(MOST_NODES));
        }
        (tally.from, tally.to) = (read_time(wire.from, latest), read_time(wire.to, latest));
        tally.lost = wire.lost.min(1_000) as u16;
        for sounded in &wire.sounded {
            tally.add_audio(read_audio(&sounded.audio)??, sounded.nodes.min(MOST_NODES));
        }
        Some(tally)
    }
}

fn id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn time(at: Option<Civil>) -> i64 {
    at.map_or(0, |at| at.0)
}

fn read_time(at: i64, latest: Civil) -> Option<Civil> {
    (at > 0).then(|| Civil(at).min(latest))
}

/// `Some(None)`: there is none.
fn read_id(bytes: &[u8]) -> Option<Option<Uuid>> {
    if bytes.is_empty() { Some(None) } else { Uuid::from_slice(bytes).ok().map(Some) }
}

fn read_audio(bytes: &[u8]) -> Option<Option<Audio>> {
    if bytes.is_empty() { Some(None) } else { bytes.try_into().ok().map(Some) }
}

/// Bytes of a code.
const LONGEST_CODE: usize = 64;
/// More nodes than a country has: what somebody claims beyond is no count.
const MOST_NODES: u32 = 10_000_000;
