//! How nodes come in: by an operator's hands, and forty boards at once by one file on their cards.
mod boards;
mod hands;
#[path = "../ports/mod.rs"]
mod ports;
mod tree;
mod two;
