//! Loa carries a country's public loudspeakers: live and scheduled speech, from the centre and the provinces
//! to every commune, on time, in step, and only from those who may speak.
//!
//! # Three ideas
//!
//! 1. **A track is a numbered run of immutable packets, and a packet is the same bytes at every hop.** Where
//!    sound enters, it is encoded, packetized, sealed and encrypted once. So fan-out is one buffer sent to many
//!    addresses, repair is "packet 1207 of track t again", and a late joiner, a store and a second path are each
//!    a range of indices. Orders are a track too: the log of the node that gave them.
//! 2. **There is one node.** What it is follows from the sections of its configuration: a parent, children,
//!    sources, a playout. Any depth; cut off from above, a node still speaks to all below it. Orders and packets
//!    go down, reports go up.
//! 3. **Time is an argument.** Every rule is a plain state machine: `handle_*(now, input)`, `poll_*() -> output`,
//!    `poll_timeout()`. Sockets, files, threads, clocks and randomness live in [`io`] and [`control`] alone, so a
//!    whole tree runs in virtual time from a seed ([`sim`]).
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | area | a path in the tree of administrative units: `vn`, `vn/01`, `vn/01/00004` |
//! | authority | an Ed25519 key with a chain of grants from a root, each link narrower |
//! | order | anything a node is told to do, signed by an authority |
//! | broadcast | an order: which tracks, to which areas, how urgent, from when, until when, with what delay |
//! | track | numbered packets of one rendition of one broadcast: one SSRC, one SRTP key, one signing key |
//! | log | the track of a node's own orders |
//! | seal | the Ed25519 signature inside every packet of sound |
//! | tick | the signed heartbeat of an origin: civil time, head of its log |
//! | link | ordered messages, bulk streams and unreliable packets between two nodes |
//! | session | the protocol that a child and a parent speak over a link |
//! | trunk, branch | a node's one half that owns tracks and rules; its n halves that own child sessions |
//! | rendition | a broadcast's sound at one bitrate, a track of its own; all share indices, so a child may change |
//! | together | packets of a track that leave in one send, where its delay can spare the wait |
//! | group | the multicast address by which a parent sends sound once for a LAN |
//! | receipt | what became of an order at a node: received, cached, played from when to when, missed, failed |
//! | as-run | what an area actually sounded, with the hash of the sound |
//! | tuner | picks, among the broadcasts now valid for an area, the one that sounds |
//! | playout | decides when a packet becomes sound |
//!
//! # The map
//!
//! ```text
//!   file ─▶ audio ─▶ track ─▶ node ═▶ io ═▶ … ═▶ io ═▶ node ─▶ playout ─▶ audio ─▶ device
//!                              │ broadcast: may it? when? where?
//!                              │ session: joined, listening, repaired, in step
//!                              ▼
//!                           control: HTTP, command line
//! ```
//!
//! | room | |
//! |---|---|
//! | [`audio`] | whatever stations send, loudness, Opus; renders a plan of playout |
//! | [`track`] | numbered, sealed, encrypted packets; documents them byte by byte |
//! | [`broadcast`] | who may say what, where and when; documents orders on the wire |
//! | [`session`] | what a child and a parent say over a link: joining, listening, repair, clock |
//! | [`playout`] | when a packet becomes sound: jitter buffer, clock and drift, plan |
//! | [`node`] | one node but for the world: a trunk and its branches |
//! | [`sim`] | whole trees on a virtual network in virtual time |
//! | [`io`] | the world: sockets, QUIC, threads, files, sound devices, TLS, metrics, clocks |
//! | [`control`] | people and programs: HTTP, the command line, the demonstration tree |
//! | [`config`] | the one typed configuration file |
//! | [`time`], [`key`], [`address`], [`proto`] | leaves: the two clocks, Ed25519 keys and their domains, where a parent is dialled, the wire messages |
//!
//! Imports point one way; `tests/tidy.rs` enforces the arrows, and that no room above the line touches the world:
//!
//! ```text
//!   time, key, address, proto   leaves: anybody may name them
//!   track                     ← audio, broadcast
//!   track, broadcast          ← session
//!   all of these              ← playout ← node ← sim
//!   ───────────────────────────────────────────── pure above, the world below
//!   config, io                ← control ← main
//! ```
//!
//! Only [`io`], [`control`] and `main` see [`config`]; a room takes its own `Options`. Only `io::quic` names the QUIC
//! library. `unsafe` stands in [`io`] alone.

pub mod address;
pub mod audio;
pub mod broadcast;
pub mod config;
pub mod control;
pub mod io;
pub mod key;
pub mod node;
pub mod playout;
pub mod session;
pub mod sim;
pub mod time;
pub mod track;

/// Leaf: the wire and stored messages, generated from `session/loa.proto`.
#[allow(clippy::large_enum_variant, reason = "generated; read and dropped one at a time")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/loa.v1.rs"));
}
