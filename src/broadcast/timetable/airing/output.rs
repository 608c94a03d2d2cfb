//! What the machine says to whoever carries it out, and what it is told of the book.

#[cfg(doc)]
use super::Airings;
use super::record::{Fault, Part};
use uuid::Uuid;

/// What the owner is to do. It says what came of it before it asks for more; of [`Output::Open`] and
/// [`Output::Close`] it says so at the end of what was opened.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Read the node's book: [`Airings::handle_listed`].
    List,
    /// Write [`Airings::records`] to disk: [`Airings::handle_kept`].
    Keep,
    /// Give this broadcast by this id: [`Airings::handle_given`].
    Give {
        id: Uuid,
        part: Part,
    },
    /// [`Airings::handle_cancelled`].
    Cancel {
        id: Uuid,
    },
    /// Put a live source on the air until the end of its slot: [`Airings::handle_over`].
    Open {
        id: Uuid,
        part: Part,
    },
    Close {
        id: Uuid,
    },
}

/// What people are to learn.
#[derive(Clone, Debug, PartialEq)]
pub enum Tell {
    /// It could not be given, or its source failed. Each fault of a part is told once.
    Fault { part: Part, fault: Fault },
    /// It will not sound: nobody could be told in time.
    Missed { part: Part },
    /// It was taken back, because it no longer stands.
    Cancelled { part: Part },
}

/// Of a broadcast, as the node's book has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// To come, or on the air.
    Known,
    Ended,
    Cancelled,
    /// Its authority was locked or revoked.
    Withdrawn,
}
