//! The plan of some days for some areas: what will sound and what will not.

use super::entry::{Entry, FIRST_YEAR, LAST_YEAR, MOST_LENGTH, Plays};
use super::free;
use super::local::{add_days, day, instant, midnight};
use super::policy::{Policies, Rules};
use super::settle::{Day, Wish, minutes};
use crate::broadcast::register::{NotThere, Register, layers, list};
use crate::broadcast::said::{Said, quoted};
use crate::broadcast::{Area, Priority};
use crate::time::{Civil, SECOND};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What begins in some time, place by place. Items that began before are in the plan of their own day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub from: Civil,
    pub until: Civil,
    /// In the order of their codes: the areas that were asked for; in them, whatever entries or policies name, or
    /// another clock; and units that became part of them and that entries still name.
    pub places: Vec<Place>,
}

/// Who stands in `area`, and in none of the other places in it, hears this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub area: Area,
    pub zone: Tz,
    /// What holds here.
    pub rules: Rules,
    /// In the order of time; no two at once.
    pub sounding: Vec<Item>,
    pub refused: Vec<Refused>,
}

/// One time of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub entry: Uuid,
    pub title: String,
    pub priority: Priority,
    pub plays: Plays,
    pub start: Civil,
    pub end: Civil,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub item: Item,
    /// Everything that stands against it, most telling first; never empty.
    pub why: Vec<Said>,
    /// The next time within a week at which nothing would; none where no time helps. Searched for the first thousand
    /// of a place.
    pub free: Option<Civil>,
}

/// An item with all the places where it sounds at that time: what becomes orders, by [`Register::cover`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Airing {
    pub item: Item,
    pub areas: Vec<Area>,
    pub except: Vec<Area>,
}

/// Plans `areas` and all that lies in them from `from` until before `until`. Entries that [`Entry::check`] refuses are
/// passed over. An area that the register does not know, and a plan that would be too large, are refused as a whole.
pub fn plan(
    entries: &[Entry],
    policies: &Policies,
    register: &Register,
    areas: &[Area],
    from: Civil,
    until: Civil,
) -> Result<Plan, Said> {
    plan_of(entries, policies, register, &Lengths::new(), areas, from, until)
}

/// How long files are, by SHA-256, µs: of those that are known.
pub type Lengths = BTreeMap<String, i64>;

/// The same, where what is longer than its slot does not sound and leaves it to others.
pub fn plan_of(
    entries: &[Entry],
    policies: &Policies,
    register: &Register,
    lengths: &Lengths,
    areas: &[Area],
    from: Civil,
    until: Civil,
) -> Result<Plan, Said> {
    let days = until.0.saturating_sub(from.0).saturating_add(DAY - 1).div_euclid(DAY);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Said::new("timetable.window", [&days, &MOST_DAYS]));
    }
    if !(EARLIEST..LATEST).contains(&from.0) {
        let year = from.0.div_euclid(YEAR).saturating_add(1970);
        return Err(Said::new("timetable.year", [&year, &FIRST_YEAR, &LAST_YEAR]));
    }
    if entries.len() > MOST_ENTRIES {
        return Err(Said::new("timetable.entries", [&entries.len(), &MOST_ENTRIES]));
    }
    for area in areas {
        if let Err(unknown @ NotThere::Unknown { .. }) = register.resolve(area, day(register.zone(area), from)) {
            return Err(unknown.said());
        }
    }
    let mut planner = Planner::new(entries, policies, register, lengths, (from, until));
    let mut places = Vec::new();
    let mut left = MOST_ITEMS;
    for area in planner.places(areas) {
        let place = planner.place(area)?;
        let items = place.sounding.len() + place.refused.len();
        left = left.checked_sub(items).ok_or_else(|| Said::new("timetable.size", [&MOST_ITEMS]))?;
        places.push(place);
    }
    Ok(Plan { from, until, places })
}

impl Plan {
    pub fn place(&self, area: &Area) -> Option<&Place> {
        self.places.binary_search_by(|place| place.area.cmp(area)).ok().and_then(|at| self.places.get(at))
    }

    /// What sounds, each time of each entry once, in the order of time. Where it sounds in an area, not in a part of
    /// it, and again in a part of that, the last is an airing of its own.
    pub fn airings(&self) -> Vec<Airing> {
        let all: BTreeSet<&Area> = self.places.iter().map(|place| &place.area).collect();
        let mut sounding: BTreeMap<(Civil, Uuid, Civil), (&Item, BTreeSet<&Area>)> = BTreeMap::new();
        for place in &self.places {
            for item in &place.sounding {
                let of = sounding.entry((item.start, item.entry, item.end)).or_insert((item, BTreeSet::new()));
                of.1.insert(&place.area);
            }
        }
        let mut airings = Vec::new();
        for (item, areas) in sounding.into_values() {
            let mut marks: BTreeMap<Area, bool> = BTreeMap::new();
            for area in &areas {
                marks.insert((*area).clone(), true);
                let inner = all.range::<Area, _>(*area..).take_while(|place| place.as_str().starts_with(area.as_str()));
                for silent in inner.filter(|place| area.contains(place) && !areas.contains(*place)) {
                    marks.insert((*silent).clone(), false);
                }
            }
            let sets = layers(&marks).into_iter();
            airings.extend(sets.map(|set| Airing { item: item.clone(), areas: set.areas, except: set.except }));
        }
        airings
    }
}

struct Planner<'a> {
    /// In the order in which they are taken.
    entries: Vec<&'a Entry>,
    policies: &'a Policies,
    register: &'a Register,
    lengths: &'a Lengths,
    from: Civil,
    until: Civil,
    /// The entries that name an area.
    by_area: BTreeMap<&'a str, Vec<usize>>,
    /// When entries begin, by entry and zone, on all days that could matter.
    begins: BTreeMap<(usize, &'static str), Vec<Civil>>,
    /// How many more of them there may be.
    left: usize,
}

impl<'a> Planner<'a> {
    fn new(
        entries: &'a [Entry],
        policies: &'a Policies,
        register: &'a Register,
        lengths: &'a Lengths,
        (from, until): (Civil, Civil),
    ) -> Self {
        let can_sound = |entry: &&Entry| {
            entry.enabled && entry.priority != Priority::Emergency && (1..=MOST_LENGTH).contains(&entry.plays.length())
        };
        let mut entries: Vec<&Entry> = entries.iter().filter(can_sound).collect();
        let order = |entry: &Entry| (Reverse(entry.priority), entry.created, entry.id);
        // Two with one id are a mistake elsewhere; even so the plan depends on no order.
        entries.sort_by(|left, right| {
            order(left).cmp(&order(right)).then_with(|| left.to_json().to_string().cmp(&right.to_json().to_string()))
        });
        let mut by_area: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (rank, entry) in entries.iter().enumerate() {
            for area in &entry.areas {
                by_area.entry(area.as_str()).or_default().push(rank);
            }
        }
        Self { entries, policies, register, lengths, from, until, by_area, begins: BTreeMap::new(), left: MOST_BEGINS }
    }

    /// Wherever the plan could differ from that around it.
    fn places(&self, areas: &[Area]) -> BTreeSet<Area> {
        let asked = |area: &Area| areas.iter().any(|wide| wide.contains(area));
        let named = self.entries.iter().flat_map(|entry| entry.areas.iter().chain(&entry.except));
        let named = named.chain(self.policies.iter().map(|(area, _)| area));
        let mut places: BTreeSet<Area> = areas.iter().cloned().collect();
        places.extend(named.filter(|area| asked(area)).cloned());
        for area in areas {
            places.extend(self.register.beneath(area).filter(|unit| unit.zone.is_some()).map(|unit| unit.code.clone()));
        }
        for unit in self.entries.iter().flat_map(|entry| &entry.areas).filter_map(|area| self.register.unit(area)) {
            let on = day(self.register.zone(&unit.code), self.until);
            let gone = unit.until.is_some_and(|until| until <= on);
            if gone && !places.contains(&unit.code) && self.register.heirs(&unit.code, on).iter().any(asked) {
                places.insert(unit.code.clone());
            }
        }
        places
    }

    fn place(&mut self, area: Area) -> Result<Place, Said> {
        let (zone, rules) = (self.register.zone(&area), self.policies.rules(&area));
        let (first, last) = (day(zone, self.from), day(zone, self.until - 1));
        let mut ranks: Vec<usize> = area.lineage().filter_map(|at| self.by_area.get(at)).flatten().copied().collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks.retain(|rank| self.entries[*rank].covers(&area));
        for rank in &ranks {
            self.expand(*rank, zone)?;
        }
        let begins = |rank: &usize| self.begins.get(&(*rank, zone.name())).map_or(0, Vec::len);
        if ranks.iter().map(begins).sum::<usize>() > MOST_ITEMS {
            return Err(Said::new("timetable.size", [&MOST_ITEMS]));
        }
        let (entries, from, until) = (&self.entries, self.from, self.until);
        let titles = |rank: usize| entries.get(rank).map_or(String::new(), |entry| quoted(&entry.title));
        let reach = (add_days(first, -MOST_BACK - 1), add_days(last, free::HORIZON_DAYS + MOST_BACK + 1));
        let empty = Day::new(&area, zone, &rules, &titles, reach);
        let wishes = self.wishes(&area, &ranks, &empty);
        let viable: Vec<&Wish> = wishes
            .iter()
            .filter(|wish| wish.never.is_empty() && empty.quiet(wish.priority, wish.start, wish.end).is_none())
            .collect();
        // A day depends on another only through items that cross a midnight: from one that none crosses to the next
        // such, days are settled together.
        let clean = |day: NaiveDate, step: i64| {
            let mut days = (0..=MOST_BACK).map(|back| midnight(zone, add_days(day, back * step)));
            let crossed = |at: &Civil| !viable.iter().any(|wish| wish.start < *at && *at < wish.end + rules.gap);
            days.clone().find(crossed).or(days.next_back()).unwrap_or(from)
        };
        let begin = clean(first, -1);
        let in_time = |wish: &&Wish| from <= wish.start && wish.start < until;
        let settle = |last: NaiveDate| {
            let end = clean(add_days(last, 1), 1);
            let mut day_of = Day::new(&area, zone, &rules, &titles, reach);
            let (mut sounding, mut refused) = (Vec::new(), Vec::new());
            for wish in wishes.iter().filter(|wish| begin <= wish.start && wish.start < end) {
                let mut why = wish.never.clone();
                let against = day_of.against(wish.priority, wish.start, wish.end);
                why.extend(against.into_iter().map(|against| against.said));
                if why.is_empty() {
                    day_of.take(wish);
                    sounding.push(wish);
                } else {
                    refused.push((wish, why));
                }
            }
            sounding.retain(in_time);
            refused.retain(|(wish, _)| in_time(wish));
            (day_of, sounding, refused)
        };
        let (mut day_of, mut sounding, mut refused) = settle(last);
        if refused.iter().any(|(wish, _)| wish.never.is_empty()) {
            // A free time is free of what comes later, too.
            (day_of, sounding, refused) = settle(add_days(last, free::HORIZON_DAYS));
        }
        let item = |wish: &Wish| {
            let entry = entries[wish.rank];
            let (title, plays) = (entry.title.clone(), entry.plays.clone());
            let (priority, start, end) = (entry.priority, wish.start, wish.end);
            Item { entry: entry.id, title, priority, plays, start, end }
        };
        let free = |wish: &Wish| {
            let at = free::slot(&day_of, wish, wish.start)?;
            let on = day(zone, at);
            let over = entries[wish.rank].until.is_some_and(|until| until <= on);
            (!over && self.register.resolve(&area, on).is_ok()).then_some(at)
        };
        let in_order = |wish: &Wish| (wish.start, entries[wish.rank].id);
        sounding.sort_by_key(|wish| in_order(wish));
        refused.sort_by_key(|(wish, _)| in_order(wish));
        let sounding: Vec<Item> = sounding.into_iter().map(item).collect();
        let refused = refused.into_iter().enumerate().map(|(number, (wish, why))| {
            let free = if number < MOST_OFFERED { free(wish) } else { None };
            Refused { item: item(wish), why, free }
        });
        let refused: Vec<Refused> = refused.collect();
        Ok(Place { zone, sounding, refused, rules: rules.clone(), area: area.clone() })
    }

    /// Works out when an entry begins by a clock, once for all places that live by it.
    fn expand(&mut self, rank: usize, zone: Tz) -> Result<(), Said> {
        if self.begins.contains_key(&(rank, zone.name())) {
            return Ok(());
        }
        let entry = self.entries[rank];
        let clock = entry.zone.unwrap_or(zone);
        let first = add_days(day(clock, self.from), -MOST_BACK - 2);
        let last = add_days(day(clock, self.until), free::HORIZON_DAYS + MOST_BACK + 2);
        let begins = entry.begins(first, last, zone).into_iter().map(|at| instant(clock, at));
        let mut begins: Vec<Civil> = begins.collect();
        // Two times that a gap makes one are one.
        begins.dedup();
        let left = self.left.checked_sub(begins.len()).ok_or_else(|| Said::new("timetable.size", [&MOST_ITEMS]))?;
        self.left = left;
        self.begins.insert((rank, zone.name()), begins);
        Ok(())
    }

    /// Every item of these entries at a place, in the order in which they are taken, with what no other time mends.
    fn wishes(&self, area: &Area, ranks: &[usize], day_of: &Day) -> Vec<Wish> {
        let zone = day_of.zone;
        let mut standing: BTreeMap<NaiveDate, Option<Said>> = BTreeMap::new();
        let mut unknown: Option<Said> = None;
        let mut wishes = Vec::new();
        for rank in ranks {
            let entry = self.entries[*rank];
            let length = entry.plays.length();
            let mut always = Vec::new();
            if day_of.rules.approval && entry.approver.is_none() {
                always.push(Said::new("timetable.not_approved", [area]));
            }
            if let Some(longest) = day_of.rules.longest.filter(|longest| length > *longest) {
                always.push(Said::new("timetable.too_long", [&minutes(length), &minutes(longest), area]));
            }
            if let Plays::Media { sha256, .. } = &entry.plays
                && let Some(lasts) = self.lengths.get(sha256).filter(|lasts| **lasts > length + MOST_CUT)
            {
                always.push(Said::new("timetable.media_long", [&seconds(*lasts), &seconds(length)]));
            }
            for start in self.begins.get(&(*rank, zone.name())).into_iter().flatten() {
                let on = day(zone, *start);
                let gone = standing.entry(on).or_insert_with(|| {
                    unknown.clone().or_else(|| {
                        let not_there = self.register.resolve(area, on).err()?;
                        let said = standing_said(&not_there);
                        if matches!(not_there, NotThere::Unknown { .. }) {
                            unknown = Some(said.clone());
                        }
                        Some(said)
                    })
                });
                let never = gone.iter().chain(&always).cloned().collect();
                let (priority, end) = (entry.priority, *start + length);
                wishes.push(Wish { rank: *rank, priority, start: *start, end, day: on, never });
            }
        }
        wishes
    }
}

fn seconds(micros: i64) -> String {
    format!("{}.{:03}", micros / SECOND, micros % SECOND / 1_000)
}

fn standing_said(not_there: &NotThere) -> Said {
    match not_there {
        NotThere::Unknown { area, near } => Said::new("timetable.area_unknown", [area, &list(near)]),
        NotThere::Ceased { unit, since, successors } => {
            Said::new("timetable.area_ceased", [unit, since, &list(successors)])
        }
        NotThere::NotYet { unit, from } => Said::new("timetable.area_not_yet", [unit, from]),
    }
}

/// Of one plan: a season.
pub const MOST_DAYS: i64 = 100;
/// Of one timetable: thirty for each commune of a country.
pub const MOST_ENTRIES: usize = 100_000;
/// Of one plan: ten a day in each commune of a country, for a month.
pub const MOST_ITEMS: usize = 1_000_000;
/// Times of entries in a plan and in the days around it, which are settled with it: 80 MB of them.
const MOST_BEGINS: usize = 10_000_000;
/// Of one place; who is refused a thousand times moves no item by hand.
const MOST_OFFERED: usize = 1_000;
/// Days that are settled together with those asked for, before and behind, because items cross every midnight between
/// them: who speaks for a week without a pause begins anew.
const MOST_BACK: i64 = 7;
/// µs that a file may be longer than its slot: the end of its last packet is cut off, which is mostly silence.
const MOST_CUT: i64 = SECOND / 4;
const DAY: i64 = 86_400 * SECOND;
/// The mean of the Gregorian calendar: good enough to name one that is far away.
const YEAR: i64 = 31_556_952 * SECOND;
/// 2000-01-02 and 2199-12-01, µs: see the years of an entry.
const EARLIEST: i64 = 946_771_200 * SECOND;
const LATEST: i64 = 7_255_440_000 * SECOND;
