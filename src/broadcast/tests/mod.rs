//! One file per rule book: bytes, authority, book, tuner, and all of it under attack.
mod attack;
mod authority;
mod book;
mod codec;
mod rules;
mod tuner;
