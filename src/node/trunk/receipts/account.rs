//! What receipts and lines together come to, at whoever asks: the rule of the module above, for all relays below.

use super::rows::NO_WORD;
use super::{Audio, Heard, Outcome, Row};
use crate::broadcast::Area;
use crate::broadcast::receipt::{Named, Sum, Tally};
use crate::node::trunk::Trunk;
use crate::node::trunk::below::Line;
use crate::proto;
use crate::time::{Civil, Local};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One order, as this node knows it now.
#[derive(Clone, Debug)]
pub struct Account {
    pub heard: Heard,
    /// When this node took it in.
    pub received: Civil,
    /// Nothing changes any more but by what still comes.
    pub settled: bool,
    pub version: u64,
    pub areas: BTreeMap<Area, Tally>,
    /// At most [`MOST_SHOWN`], with what people call them.
    pub named: Vec<(Named, String)>,
    /// For whom there was no room, here or on the way.
    pub unnamed: u64,
    /// Relays that it concerns, and those of them that have it.
    pub relays: u64,
    pub relays_reached: u64,
    /// The sound as it came by here, by track.
    pub audio: BTreeMap<Uuid, Audio>,
    /// From a root down to whoever signed it.
    pub grants: Vec<proto::Signed>,
}

impl Trunk {
    /// Orders that have changed since `after`, those first that changed first, and which were; or one. Each costs a look
    /// at every line, so there are no more than some in one answer; whether there are more.
    pub(in super::super) fn accounts(&self, now: Local, after: u64, order: Option<Uuid>) -> (u64, Vec<Account>, bool) {
        let civil = self.time.civil(now).unwrap_or_default();
        if let Some(row) = order.and_then(|order| self.receipts.rows.get(&order)) {
            return (after, vec![self.account(civil, row)], false);
        }
        let mut changed: Vec<&Row> = self.receipts.rows.values().filter(|row| row.version > after).collect();
        changed.sort_by_key(|row| row.version);
        let more = changed.len() > ANSWERED;
        changed.truncate(ANSWERED);
        let version = if more { changed.last().map_or(after, |row| row.version) } else { self.receipts.version };
        // Relays come and go while it is on, and say nothing of it.
        let on = |row: &&Row| !row.settled && row.heard.begins <= civil && row.version <= after;
        let changed = changed.into_iter().filter(|_| order.is_none());
        let on = self.receipts.rows.values().filter(on).filter(|_| order.is_none()).take(ANSWERED);
        (version, changed.chain(on).map(|row| self.account(civil, row)).collect(), more)
    }

    fn account(&self, civil: Civil, row: &Row) -> Account {
        let own = self.options.node;
        let mut sums: BTreeMap<Uuid, Sum> =
            row.sums.iter().filter_map(|(relay, held)| Some((*relay, held.sum()?))).collect();
        // What relays say by name of those that went elsewhere.
        for (relay, sum) in &mut sums {
            let elsewhere = |named: &Named| {
                self.below
                    .lines
                    .get(named.node)
                    .is_some_and(|line| line.stands_below() != *relay && named.node != *relay)
            };
            let gone: Vec<Uuid> = sum.named.iter().filter(|named| elsewhere(named)).map(|named| named.node).collect();
            gone.into_iter().for_each(|node| sum.forget(node));
        }
        let mut rest = Sum::new(row.heard.order, own);
        let (mut relays, mut relays_reached) = (0, 0);
        let mut standing: BTreeMap<(Uuid, Area), u32> = BTreeMap::new();
        let named: BTreeSet<Uuid> = sums.values().flat_map(|sum| &sum.named).map(|named| named.node).collect();
        for (node, line) in self.below.lines.iter() {
            let parent = line.stands_below();
            if line.is_relay() && row.heard.areas.iter().any(|area| touches(area, line.area())) {
                relays += 1;
                relays_reached += u64::from(sums.contains_key(&node));
                continue;
            }
            if parent == own || !line.is_expected() || !row.heard.concerns(line.area()) {
                continue;
            }
            let relay = self.below.lines.get(parent);
            let lost = relay.is_none_or(Line::is_gone);
            let Ok(area) = line.area().parse::<Area>() else { continue };
            match sums.get(&parent) {
                Some(_) if lost => *standing.entry((parent, area)).or_default() += 1,
                // A relay names all that are out of touch with it: of this one it has forgotten.
                Some(sum) if line.is_gone() && !named.contains(&node) && sum.unnamed == 0 => {
                    rest.add(node, &area, Outcome::Unknown, None, true);
                }
                Some(_) => {}
                None => {
                    let late = civil >= row.received + NO_WORD;
                    let outcome = match (lost || line.is_gone(), row.is_over(civil)) {
                        (true, true) if line.was_gone_by(row.heard.issued) => Outcome::NotReached,
                        (true, _) => Outcome::Unknown,
                        (false, _) if late => Outcome::NotReached,
                        (false, _) => Outcome::Pending,
                    };
                    rest.add(node, &area, outcome, None, false);
                }
            }
        }
        for (relay, sum) in &mut sums {
            if *relay != own && self.below.lines.get(*relay).is_none_or(Line::is_gone) {
                leave(sum, *relay, &standing, row.heard.sounds());
            }
        }
        let mut areas: BTreeMap<Area, Tally> = BTreeMap::new();
        let mut all = Vec::new();
        let mut unnamed = 0;
        for sum in sums.into_values().chain([rest]) {
            sum.areas.iter().for_each(|(area, tally)| areas.entry(area.clone()).or_default().merge(tally));
            unnamed += u64::from(sum.unnamed);
            // Named only so that it can be told who went elsewhere.
            all.extend(sum.named.into_iter().filter(|named| named.outcome.weight() > 0));
        }
        areas.retain(|_, tally| tally.expected() > 0);
        all.sort_by(|one, other| (&one.area, one.node).cmp(&(&other.area, other.node)));
        unnamed += all.len().saturating_sub(MOST_SHOWN) as u64;
        all.truncate(MOST_SHOWN);
        let name = |node: Uuid| match &self.place {
            Some(place) if node == own => place.name.clone(),
            _ => self.below.lines.get(node).map(|line| line.name().to_owned()).unwrap_or_default(),
        };
        let mut audio = row.audio.clone();
        for track in self.tracks.values().filter(|track| track.broadcast == row.heard.order) {
            let print = self.receipts.prints.get(&track.info.id);
            if let Some(of) = track.info.packets.and_then(|packets| print?.of(packets)) {
                audio.insert(track.info.id, of);
            }
        }
        Account {
            heard: row.heard.clone(),
            received: row.received,
            settled: row.settled,
            version: row.version,
            areas,
            named: all.into_iter().map(|named| (named.clone(), name(named.node))).collect(),
            unnamed,
            relays,
            relays_reached,
            audio,
            grants: row.grants.clone(),
        }
    }
}

/// Of a relay that is gone: whoever stands elsewhere by now is counted there, and of those who had not come to an end
/// nobody knows. Who is not named played, so those that went are taken from these.
fn leave(sum: &mut Sum, relay: Uuid, standing: &BTreeMap<(Uuid, Area), u32>, sounds: bool) {
    for (area, tally) in &mut sum.areas {
        let left = standing.get(&(relay, area.clone())).copied().unwrap_or(0);
        let mut went = tally.expected().saturating_sub(left);
        let kept = [Outcome::Played, Outcome::Cancelled, Outcome::Playing, Outcome::Cached, Outcome::Received];
        for outcome in kept.into_iter().chain([Outcome::Pending]).chain(Outcome::ALL) {
            went -= tally.take_away(outcome, went);
        }
        // A cancel or hush that was received is done.
        let open = [Outcome::Pending, Outcome::Received, Outcome::Cached, Outcome::Playing];
        for open in open.into_iter().take(if sounds { 4 } else { 1 }) {
            let count = tally.take_away(open, u32::MAX);
            tally.put(Outcome::Unknown, count);
            sum.unnamed = sum.unnamed.saturating_add(count);
        }
    }
}

fn touches(area: &Area, place: &str) -> bool {
    place.parse::<Area>().is_ok_and(|place| area.touches(&place))
}

/// Accounts in one answer: of 150,000 lines a look takes some ten milliseconds.
const ANSWERED: usize = 16;
/// Names in one account: a person reads fewer, a province has 4,400 clusters.
pub const MOST_SHOWN: usize = 10_000;
