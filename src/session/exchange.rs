//! One clock exchange: four timestamps (RFC 5905 §8, without its filters).
use crate::time::{Civil, Local};

/// What a child learns from one `Beat` and its `Echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the child sent (its oscillator).
    pub sent: Local,
    /// When the parent received and answered (its phase time).
    pub parent_received: Civil,
    pub parent_sent: Civil,
    /// When the answer arrived (child's oscillator).
    pub received: Local,
    /// µs, the parent's own.
    pub parent_uncertainty: u64,
}
