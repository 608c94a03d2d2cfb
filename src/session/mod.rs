//! The protocol that a child and a parent speak over one link (DESIGN §3, §4).
//!
//! A link gives: an ordered control stream of frames, unidirectional bulk streams of frames from
//! parent to child, unreliable QUIC datagrams, and bare SRTP packets ("media"). `io` and `sim` carry
//! them; this room decides what they say. Contract: pure; `handle_*`, then drain `poll_departure` and
//! `poll_event`, then wait until `poll_timeout` and call `handle_timeout`.
//!
//! # The wire protocol, version 1
//!
//! `loa.proto` (package `loa.v1`) fixes the messages; this page says how they travel and when. With
//! the page of `track`, it is enough to build a child or a parent that Loa understands.
//!
//! ## Carriers
//!
//! The child dials; QUIC v1 with mutual TLS 1.3, ALPN `loa/1`. Media shares its UDP 5-tuple: a first
//! byte of 128–191 is RTP (RFC 9443 §2), everything else QUIC.
//!
//! | carrier | direction | what |
//! |---|---|---|
//! | control: the first bidirectional stream, opened by the child | both | frames, each one `ToParent` or `ToChild` |
//! | bulk: unidirectional streams, at most 8 at once | to the child | a frame `Bulk`, then frames of one SRTP packet each |
//! | QUIC datagrams (RFC 9221), at most 1,100 bytes | both | one `Datagram` each, no length before it |
//! | bare UDP | to the child | one SRTP packet each, at most 1,200 bytes |
//! | multicast UDP | to a group | the same packets, from the same address and port |
//!
//! ```text
//! frame      ┌─ varint (RFC 9000 §16), at most 65,536 ─┬─ so many bytes ─┐
//!            │ 1, 2, 4 or 8 bytes: length              │ one message     │
//!            └─────────────────────────────────────────┴─────────────────┘
//! control    │ length │ ToParent / ToChild │ length │ ToParent / ToChild │ …
//! bulk       │ length │ Bulk {track, first} │ length │ packet `first` │ length │ packet `first + 1` │ … FIN
//! datagram   │ Datagram │
//! media      │ 0x80 │ 96 or 97 │ sequence │ timestamp │ SSRC │ encrypted … │ tag │
//! ```
//!
//! For example `Bulk {track = 16 × 0x07, first = 300}` as the first frame of a stream:
//!
//! ```text
//!  15                      21 bytes follow
//!  0a 10 07 07 … 07        field 1, 16 bytes
//!  10 ac 02                field 2, 300
//! ```
//!
//! And what newer parents add, which an older child skips. `Listening {track = 16 × 0x07, next = 300,
//! together = 4}` as a frame of the control stream, then the ends of a `Welcome` and of an `Echo`:
//!
//! ```text
//!  19                      25 bytes follow
//!  2a 17                   ToChild.listening, 23 bytes
//!  0a 10 07 07 … 07        track
//!  10 ac 02                next: 300
//!  18 04                   together: indices 300–303 leave as one, since 300 / 4 = 303 / 4
//!
//!  3a 09                   Welcome.group, 9 bytes
//!  0a 04 e8 07 04 3c       address: 232.7.4.60
//!  10 ae 3a                port: 7470
//!
//!  40 d0 a5 4c             Echo.every: 1,250,000 µs, as one of 5,000 children is asked
//! ```
//! Once the group brings it sound, the child says `Hearing {group: true}`: the frame 04 42 02 08 01.
//!
//! ## Flow
//!
//! ```text
//!  child                                                            parent
//!    │ control  Hello {version, node, placement, grants} ──────────────▶ │ within 5 s of the handshake
//!    │ datagram Beat {sent} × 16, 20 ms apart ─────────────────────────▶ │
//!    │ ◀──────────────── datagram Echo {origin, received, sent} × 16     │ may overtake Welcome
//!    │ ◀──── control  Welcome {version, node, placement, …, logs, group} │ or Goodbye
//!    │ ◀──── control  Push {orders} … Push {orders, last}                │ what is in force
//!    │ ◀──── control  Key {track, secret} …                              │ of each track for the area
//!    │ ◀════ media    of every log, from its `next` on                   │ needs no Listen
//!    │ control  Listen {track, from} ──────────────────────────────────▶ │ needless of an emergency
//!    │ ◀──── control  Listening {track, next, together} / Unavailable    │ that a log has brought
//!    │ ◀──── bulk     Bulk, packets `from` … `next − 1`                  │ those it still has
//!    │ ◀════ media    packets from `next` on                             │ and to the group, if there is one
//!    │ control  Hearing {group: true} ─────────────────────────────────▶ │ no more of it by unicast
//!    │              ✕ packet n lost                                      │
//!    │ datagram Nack {track, [n], round}, twice ───────────────────────▶ │
//!    │ ◀════ media    packet n, the same bytes, twice                    │ or datagram Missing
//!    │ control  Fetch {track, from, until} ────────────────────────────▶ │
//!    │ ◀──── bulk     Bulk, packets `from` … `until − 1`, FIN            │ or Unavailable
//!    │ datagram Beat {sent, report, loss} ─────────────────────────────▶ │ 5 a second for 72 s, then ever
//!    │ ◀──────────── datagram Echo {origin, received, sent, line, every} │ fewer, down to 1 in ten seconds
//!    │ control  Health {reports of those below} ───────────────────────▶ │ at most 64 a frame
//!    │ ◀──── control  Log {…} / Log {track, ended}                       │ logs that come and go
//!    │ control  Unlisten {track} ──────────────────────────────────────▶ │
//!    │ control  Standby {standby} ─────────────────────────────────────▶ │ another session brings sound
//!    │ control  Enrol {id, key, proof, token | node, chain} ───────────▶ │ also in Hello's place
//!    │ ◀──── control  Enrolled {id, chain} / {id, code, text}            │
//!    │ ◀──── control  Deliver {node, order, grants}                      │ for it or one below
//!    │ control  Receipts {batch, own | sums} ──────────────────────────▶ │ within 3 s, to the one that leads
//!    │ ◀──── control  Receipted {batch} / {lacking}                      │ once they are on disk
//!    │ ◀──── datagram PathNonce {nonce};  path_echo {nonce} ───────────▶ │ before media moves
//!    │ ◀──── control  Goodbye {code, text} ────────────────────────────▶ │ either side, then close
//! ```
//!
//! ## Rules
//!
//! - **Order.** Hello and Welcome come first and once on their control stream (a parent may say
//!   Goodbye instead). Versions of neighbours differ by one at most. Messages and fields that a
//!   receiver does not know are ignored.
//! - **Index of a bare packet.** The 16 bits of its sequence extend to the value nearest the newest
//!   verified one that came live; before there is one, nearest `next`. A packet that fails its
//!   verification changes nothing.
//! - **Emergency.** The log packet of its order brings the key of its first rendition (`Logged.keys`), proven by the
//!   hash in the order, and from then on the parent counts every child in its areas as listening, from index 0, without
//!   a Listen or Listening: 20,000 children would otherwise each want a key, a wish and two answers in the very second
//!   in which the order must reach them. Who is admitted later gets Key and Listening at its welcome. A child that
//!   hears nothing for 300 ms, and up to a second of its own, beyond the first packet's instant sends Listen; one that
//!   lacks the key does so 500 ms and as much after the order. The answer brings the key. An order too
//!   long for a key beside it, and one that the parent itself learnt at a join, are followed by Key and Listening as
//!   any track's is. What an emergency or a hush silences a child leaves one to five seconds later, at an instant of its
//!   own, and asks for it again one to nine seconds before the known end (`node::instants`). Of a track that is over it
//!   says nothing.
//! - **Gaps in bulk.** Within a stream indices rise by one. A sender that lacks one ends the stream
//!   and begins another; a transfer without packets is one stream of `Bulk` alone. A child reads 8
//!   streams at once, reads over 56 more, and hangs up beyond.
//! - **Together.** `Listening.together` over 1: the parent holds packets whose index divided by it is the
//!   same, and sends them at once when the last of them is there, or as soon as it knows that one is
//!   missing or none follows. What comes of a bunch that has left, repairs above all, is not held. Such
//!   packets are due with the last of their bunch, and worth asking for as long as if they were alone.
//!   At most 4 today; a child believes up to 16. Logs and emergencies go one by one.
//! - **What is missing.** An index below one that came (10 ms allowed for reordering), or one whose
//!   due time has passed. Due: the lower envelope of (arrival − index × duration) over the last 64
//!   packets that came of themselves; a margin of 15–150 ms, by their jitter. A log has no due times:
//!   its ticks name its head.
//! - **Nack.** Ranges of one track, each datagram twice, 20 ms apart and with the same `round`; rounds
//!   rise by one per request of the track. A round lasts a round trip and 25 ms, twice that for packets
//!   that leave together, at least 60 ms; as the deadline nears, half of the time left, and none begins less
//!   than a round trip before it. An order has no deadline: rounds grow to 2 s and end after 60.
//! - **Answer.** A parent ignores a round it has seen of an index, or an older one. It sends the packet
//!   now and 20 ms later, out of a bucket that holds 40 % of the media of 10 s and refills as fast: once
//!   only below half, not at all when empty. Losses then cost neighbours nothing.
//! - **Missing.** What a parent lacks it says; a child asks again after half of the time left, at most
//!   1 s, since the packet that the parent then sends may be lost too.
//! - **Beat.** `sent` is any number of the child's; `Echo.origin` returns it. Every 200 ms for the first
//!   72 s after the sixteen of the join, then at intervals in proportion to the age of the session, up to
//!   10 s. Without `synced` the echo says nothing about time, and the sixteen begin anew. Unanswered, a beat
//!   is repeated after 250 ms or two round trips; a child also sends one when a packet is 200 ms beyond its
//!   due time (at most one a second). Nothing from the parent for three beats' time, a beat's taken as a
//!   second at least: silent. No beat for as long and half a second: the parent stops media until the next
//!   (RFC 8083 §4.2); it hangs up after 35 s.
//! - **Report.** A beat carries the child's own, at join only a changed one; those of nodes below go in
//!   Health, at most 64 a frame and 1,024 a second. A report with a text of over 256 bytes, an id that is not
//!   of 16 bytes, or of a node that is not below the child is ignored; counts and times beyond reason are cut to it.
//!   `bitrate` names the rendition that sounds: renditions share indices, so a child changes at any packet, by
//!   Listen to the one and Unlisten of the other. Of an emergency all get the first.
//! - **Every.** A parent with many children asks in each echo for `every` µs between beats at least, 10 s at
//!   most; both sides count missed beats by it. A child that is asked for so much sends the first four of
//!   the join as ever, then one each quarter of it; it repeats a beat after a quarter of it, pings at most once in
//!   it, and spreads pings and urgent reports over half of it, since its siblings send theirs too.
//!   What such a parent drops or sends late all its children miss in one instant, so each waits a time of its own
//!   before it asks, up to a 64th of `every` and 100 ms; for what no later packet has overtaken 40 ms more,
//!   and the first request goes once. From 3 s of `every` on each goes once, and rounds double from the second on. No wait
//!   is longer than a third of the time for which the packet is of use.
//! - **Group.** `Welcome.group` names a source-specific multicast group (RFC 4607: 232.0.0.0/8, ff3x::/32);
//!   its source is the address that the child has dialled. The parent sends it each packet, the same bytes, of
//!   a track that a child listens to whom it told of the group. A child that can joins it and, once a packet of
//!   sound that came by it is verified, says `Hearing {group: true}`; the parent then sends that child no sound
//!   by unicast, but logs and answers to NACKs. No such packet for 300 ms beyond the next one's due time (with
//!   `together`, the next bunch's): `Hearing {group: false}`, and unicast goes on; likewise at a track's end,
//!   so that each begins both ways. A child that can't or won't join says nothing and is sent all by unicast.
//! - **Limits in a second**, to a parent: 200 control messages, 1,000 datagrams, 100 beats, 2,048 reports,
//!   500 indices asked for and 2,000 asked for again, of one Nack the first 512; what is beyond is counted
//!   and, unless it is control, ignored. Ten times as much ends the session, and so do ten seconds in a row
//!   beyond a limit. Listen and Fetch: 256 at once, then twenty a second; beyond, Unavailable. What Listen
//!   brought in bulk is charged to the repair budget if the child leaves and comes back within ten seconds.
//! - **Two parents.** A child keeps a session with each of two parents. Logs, orders and keys come by both, sound by the
//!   one that leads; at the other it says Standby {true}, right after Hello: that parent does not count it in when an
//!   emergency begins, and reports neither it nor those below it. The other leads once the leader's link is gone, a
//!   packet of sound is 300 ms beyond its due time (600 where the leader lacks it itself, and up to 150 more of each
//!   child's own), or no order or tick has come by it for 25 s while they came by the other: Standby {false}, and Listen
//!   for what is listened to; Standby {true} and Unlisten to the one that led, if it is there. After a change for
//!   lateness none follows for 2 s, then 4, … 60; a parent that comes first in the child's list leads again after it has
//!   been back for two to five minutes. A child that takes sound from both stands by all the same, and sends Listen to
//!   both; a packet that came by one it does not ask for at the other. `Placement.parents` names whom a child dials,
//!   before its own configuration; `Welcome.parents` others, after it.
//! - **Receipts.** Of broadcasts, cancels and hushes. A child without children of its own sends what has changed at an
//!   instant that hash(id) spreads over three seconds, in one message of at most 64; a relay sends sums, of each order at
//!   most once in two seconds, of at most 256 names each. `batch` rises within a session; the parent returns it when it
//!   holds the receipts through a restart. What is not answered within 15 s goes again; to another parent, and to the same
//!   in a new session, goes all of the last 24 hours and all that was never answered. The higher revision counts, and
//!   never takes back what was said. In `lacking` the parent names orders that are over and of which it has no word of
//!   this child: whoever does not know one checks its signatures and answers that it missed it.
//! - **Enrolment.** A node without a certificate dials with one that its own Ed25519 key signed, whose URI SAN is
//!   `urn:loa:new`, checks the parent's chain against the roots of its ticket, and says `Enrol` in Hello's place, once;
//!   what else it says ends the session. `proof` signs `"loa/1 enrol\0" ‖ key ‖ token.payload` (of a renewal
//!   `… ‖ key ‖ node`). Each hop checks key and token and passes the question up under an `id` of its own, to the node
//!   whose authority signed the token: it counts keys, not questions, so that a board may ask again. `Enrolled.chain`
//!   holds leaf and issuer, which the node goes on showing from then on; or `code` and `text` say why not. The name in a
//!   leaf that an issuer signed is its key's: the first 16 bytes of SHA-256(key), with the version and variant bits of
//!   a UUIDv7; another one is refused in the handshake. An answer takes up to 20 s, and the link ends with it, after 30 s
//!   without. A node asks once a minute at most, a relay for those below it 128 times at once and then twenty times a second.
//! - **Waiting.** Who says Hello with a certificate and without a placement gets Welcome without logs, and a Push of
//!   grants and the newest tick: enough to know the time and to believe a placement. It beats and reports
//!   (state `waiting`), and gets no key, log or sound.
//! - **Deliver.** An order for one node goes down along the reports that came up: to the child that is the node, or the
//!   one that it was reported by, each of which checks it first. A placement of its own a node takes as if it had been
//!   pushed, and says Hello anew.
//! - **Expelled.** An order Expel closes the sessions of its node (`node.expelled`) where it stands within the order's
//!   areas, as a child and as a parent, and none is taken again. Relays get those that
//!   touch their area at their join, others none.
//! - **Instance.** A random number of each process in its reports: if one speaks again after another had taken its
//!   place, judged by the reports' times, two nodes hold one key.
//! - **Sessions.** A node has two with one parent; a third ends the oldest. It joins at most 60 times in two
//!   minutes.
//!
//! ## What ends a session
//!
//! | code | why |
//! |---|---|
//! | `hello.expected` `hello.repeated` `welcome.expected` `welcome.repeated` | out of order |
//! | `version.unsupported` | more than one release apart |
//! | `control.malformed` | not a message of loa.v1, or a field out of its range: the text names it |
//! | `frame.too_long` | a frame of over 65,536 bytes |
//! | `bulk.unexpected` `bulk.too_many` | a child opened one; more than 64 at once |
//! | `log.too_many` | more than 64 tracks with the logs |
//! | `peer.flood` | ten times a limit, or beyond it for ten seconds |
//! | `hello.node` | Hello names another node than the certificate |
//! | `session.silent` | no Hello within 5 s, no beat for 35 s |
//! | `session.replaced` | the node has two newer sessions with this parent |
//! | `session.often` | over 60 joins in two minutes |
//! | `link.slow` | does not take what is said to it: 8 MiB of control wait, or all links hold 128 MiB and it the most |
//! | `branch.full` `node.stopping` | no room; dial again, or another parent |
//!
//! A datagram or media packet that can't be read is counted and dropped: anybody can send one.

mod arrivals;
mod bulk;
pub mod child;
mod exchange;
mod flood;
pub mod frame;
mod held;
pub mod parent;
mod ration;
mod repair;
mod wire;

#[cfg(test)]
mod ceilings;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lossy;

pub use child::Child;
pub use exchange::{Exchange, Line, Told};
pub use parent::Parent;
pub use wire::{MOST_LACKING, MOST_RECEIPTS, is_sane_report};

use bytes::Bytes;

/// Version of the wire protocol in `Hello` and `Welcome`.
pub const VERSION: u32 = 1;
/// ALPN of the QUIC connection.
pub const ALPN: &[u8] = b"loa/1";
/// Bulk streams that a child reads at once: `io` gives the parent as many in QUIC's stream limit.
pub const MAX_BULK_STREAMS: usize = 8;

/// What came over a link. Frames are whole, without their length prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    Control(Bytes),
    Bulk {
        stream: u64,
        frame: Bytes,
    },
    /// The stream was finished or reset.
    BulkEnd {
        stream: u64,
    },
    Datagram(Bytes),
    Media(Bytes),
    /// Media that came by the parent's multicast group.
    Group(Bytes),
}

/// What shall go over a link. Bulk streams are numbered by the sender from 0 per link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    Control(Bytes),
    Bulk { stream: u64, frame: Bytes },
    BulkEnd { stream: u64 },
    Datagram(Bytes),
    Media(Bytes),
}

/// The peer broke the protocol; the link must be closed with this code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Violation {
    pub code: &'static str,
    pub text: String,
}
