//! People and programs: HTTP/JSON, the command line, and the demonstration tree (DESIGN §8, §9).
//!
//! `serve` runs a node with its listeners; `api` answers what people ask of it; `client` asks. What the
//! trunk must decide goes to it as a `Request`; this room only reads files, forms and times, and says
//! what came of it in the reader's language.

mod admin;
mod answer;
mod api;
pub mod cli;
pub mod client;
mod demo;
mod enrol;
mod forms;
mod live;
pub mod lossy;
mod media;
mod outcome;
mod packets;
mod passphrase;
mod reach;
mod report;
pub mod serve;
mod speak;
pub mod sync;
mod table;
pub mod text;
mod token;
mod transcode;
mod tree;
mod up;
pub mod when;
