//! The rule that picks, among the broadcasts now valid for an area, the one that sounds (DESIGN §7).
use super::{Area, Book};
use crate::time::Civil;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The broadcast that sounds at `now`, if any.
    pub broadcast: Option<Uuid>,
    /// Something would sound but for a hush.
    pub hushed: bool,
    /// The next instant at which the answer may differ without a new order.
    pub next: Option<Civil>,
}

/// What sounds at `now` in `area`, the node's own. A broadcast occupies `[from, until + delay)`, an
/// emergency with a tone from T0. Emergency > priority > normal; within a class the older (`issued`,
/// then id) goes on unless the newer supersedes it. Without trusted time (`now: None`): emergencies
/// only. Two nodes with the same orders choose the same.
pub fn choose(_book: &Book, _area: &Area, _now: Option<Civil>) -> Choice {
    todo!()
}
