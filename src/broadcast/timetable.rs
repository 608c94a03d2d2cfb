//! The timetable: what shall sound where and when, by itself, day after day; and its dry run, which says what will
//! sound and what is refused, why, and when it could sound instead.
//!
//! An [`Entry`] says what is played, to which areas, and when; a [`Policy`] says what an area allows; [`plan()`] puts
//! them together. It takes its time as an argument and depends on nothing but its arguments, so a dry run and the
//! node that airs come to the same plan, in whatever order entries are given.
//!
//! # Who gets a slot
//! Every place is planned by itself: an entry for a province may sound in one commune and be refused in the next.
//! Items are taken in this order: priority before normal, then whoever was entered first (`created`, then `id`). Each
//! sounds unless a rule of the place's policy or an item taken before it stands against it. Emergencies are no part
//! of a timetable. One item is one session of a quota: what belongs into one session is one entry.
//!
//! # Local time
//! An entry means times of the clock on the wall, in its own zone or in that of each place.
//!
//! * **A time that does not exist**, when clocks leap forward, is the first instant after the gap.
//! * **A time that comes twice**, when clocks are set back, is the first of the two.
//! * **An item that crosses midnight** counts for the day on which it begins, whole: its session and its minutes.
//! * **A day that a month does not have** is passed over: BYMONTHDAY=31 sounds seven times a year, 29 February in leap
//!   years. BYMONTHDAY=-1 is the last day of each month.
//! * **Quiet hours** are kept by an item as a whole: it may not begin, end or go on in them.
//! * **An area that merged** refuses its entries from the day on which it is gone, and names its successors.
//! * **Leap seconds** have no number in Unix time, by which everything here counts: a minute has 60 seconds.
//! * **From and until** are days, as everywhere in this room: `until` is the first on which it is over.
//!
//! # What is bounded
//! Text, lists, entries, days of a plan, days looked back for items that cross midnight, days searched for a free slot:
//! each by a constant in the file that needs it.

pub mod airing;
mod calendar;
mod entry;
mod fields;
mod form;
mod free;
mod local;
mod plan;
mod policy;
mod rule;
mod settle;
mod show;
#[cfg(test)]
mod tests;

pub use entry::{Entry, MOST_LENGTH, Plays, When};
pub use local::instant;
pub use plan::{Airing, Item, Lengths, MOST_DAYS, MOST_ENTRIES, MOST_ITEMS, Place, Plan, Refused, plan, plan_of};
pub use policy::{Policies, Policy, Quiet, Quota, Rules};
pub use rule::Rule;
pub use show::ROW;
