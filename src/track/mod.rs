//! A track: a numbered run of immutable packets, the same bytes at every hop (DESIGN §1, §3).
//!
//! Contract: pure. The index of a packet is always an argument, never state. Nothing is accepted
//! before its GCM tag holds, nothing sounds before its seal holds.
//!
//! # The wire format
//!
//! This page is enough to build a sender or a speaker that Loa understands; `tests/vectors/track.json`
//! holds whole packets with every step between, and packets that must be refused. All integers are
//! big-endian; `‖` joins bytes.
//!
//! ## What a receiver knows of a track beforehand
//!
//! | from | what |
//! |---|---|
//! | `Rendition` in the signed broadcast | track id (UUIDv7, 16 bytes), Ed25519 public key of the seals (32), SSRC (32 bits), `duration` in samples at 48 kHz, anchor, hash of the secret, number of packets |
//! | `Key` on the control stream | the secret: SRTP master key (16 bytes) and master salt (12) |
//!
//! It takes the secret only if SHA-256(key ‖ salt) is the hash. Of a log, SSRC and secret come in
//! `Log`; a log has no seals, since every order in it is signed by itself.
//!
//! ## Packet
//!
//! An SRTP packet (RFC 3711) under AEAD_AES_128_GCM (RFC 7714), without MKI, at most 1,200 bytes.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ─┐
//! |V=2|0|0| CC=0  |0|  96 or 97   |   sequence = index mod 2^16   |  │ header, clear,
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  │ 12 bytes: the
//! |           timestamp = index × duration mod 2^32               |  │ associated data
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  │ of GCM
//! |                             SSRC                              |  │
//! +=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+ ─┘
//! |                                                               |
//! :                 payload, encrypted, of any length             :
//! |                                                               |
//! +=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
//! |                     GCM tag, 16 bytes                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! - **Index**: 48 bits, from 0, one by one; RFC 3711's ROC ‖ SEQ. Bulk streams, files and repair
//!   requests name it whole. A bare packet carries its low 16 bits: of the indices that end so, it
//!   is the one nearest to the newest that was verified ([`extend`]); before the first, nearest to
//!   `next` of `Listening` or `Log`. No index is used for two payloads; an origin that restarts
//!   makes a new track.
//! - **Payload type**: 96 sound, 97 log. The timestamp of a log is its index (duration 1).
//! - **First byte** `0x80`, second `0x60` or `0x61`. Padding, extension, CSRC and marker are never
//!   set; a packet that has one is refused. The first byte also tells it from QUIC on the same port
//!   (RFC 9443 §2).
//!
//! ## Keys and nonce
//!
//! Session key and salt come from the secret by RFC 3711 §4.3 with the AES_CM function, key
//! derivation rate 0, once per track. The 12-byte salt is first made 14 bytes long by two zero
//! bytes behind it (RFC 7714 §11, erratum 4938):
//!
//! ```text
//! byte      0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
//!         +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//!         |       master salt, 12 bytes       |00 00|00 00|   AES-128(master key, this block)
//!         +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//!                               ^^ XOR label
//! ```
//!
//! Label 0 gives the session key, all 16 bytes; label 2 the session salt, the first 12. (The last
//! two bytes number the blocks of a longer output, which is not needed here.)
//!
//! The nonce of a packet (RFC 7714 §8.1):
//!
//! ```text
//! byte      0  1  2  3  4  5  6  7  8  9 10 11
//!         +--+--+--+--+--+--+--+--+--+--+--+--+
//!         |00 00|   SSRC    | index, 48 bits  |
//!         +--+--+--+--+--+--+--+--+--+--+--+--+
//!         |       session salt, 12 bytes      |   XOR
//!         +--+--+--+--+--+--+--+--+--+--+--+--+
//! ```
//!
//! Encrypted payload ‖ tag = AES-128-GCM(session key, nonce, associated data: header, payload).
//!
//! ## Payload of a log
//!
//! One `Signed` (`src/session/loa.proto`), with an emergency the SRTP key of its sound behind it (`Logged`): at most
//! 1,100 bytes, a longer one travels by bulk stream.
//!
//! ## Payload of sound
//!
//! ```text
//! +--------+----------------+--------+-----------+-- … --+- … -+-----------------+- … -+
//! | length |     record     | length |  record   |       | 0 0 | origin time, 8  | seal|
//! | u16    |  Opus packet   | u16    |           |       |     | i64, µs Unix UTC|  64 |
//! +--------+----------------+--------+-----------+-- … --+- … -+-----------------+- … -+
//! |<- room: the same in each packet of the track, so that all have one length ->|
//! ```
//!
//! - **Record**: an Opus packet (RFC 6716 §3), 1 byte or longer, of at most 120 ms: 20 ms frames
//!   joined as long as their TOC stays the same, coded at 48 kHz, mono, hard CBR. 1 to 24 records,
//!   together exactly `duration` samples, in the order of sound.
//! - **Fill**: zeros to the end of the room. A length of 0 ends the records, as does the end of the
//!   room or a single byte left; all that follows is zero. What is not is refused, so that nothing
//!   hides there.
//! - **Origin time**: when the origin made the packet; a lower bound of civil time.
//! - **Seal**: the Ed25519 signature (RFC 8032) of the track's signing key over
//!
//! ```text
//! +---------------------------+---------------+------------+--------------------------------+
//! | "loa/1 seal" 00, 11 bytes | track id, 16  | index, u64 | records, fill and origin time  |
//! +---------------------------+---------------+------------+--------------------------------+
//! ```
//!
//! A packet of sound is [`OVERHEAD`] = 12 + 8 + 64 + 16 = 100 bytes longer than its room.
//!
//! ## What a receiver checks, in this order
//!
//! | check | counted as |
//! |---|---|
//! | 12 bytes of header with the fixed bits as drawn | `malformed` |
//! | SSRC is that of the track | `unknown_ssrc` |
//! | sequence = index mod 2^16, index below 2^48 | `wrong_index` |
//! | sound: 103 to 1,200 bytes, payload type 96 | `malformed` |
//! | sound: timestamp = index × duration mod 2^32 | `wrong_index` |
//! | sound: index below the track's number of packets, if that is known | `out_of_window` |
//! | GCM tag | `tag` (shorter than header and tag: `malformed`) |
//! | sound: seal | `seal` |
//! | sound: framing of the records, zero fill | `malformed` |
//!
//! Every listener holds the secret and could make packets whose tag holds. So the tag proves no
//! more than "someone who listens", and the header of sound is compared with the only one its
//! index can have. A relay makes all these checks before it forwards, stores or repairs; a
//! speaker, before a packet sounds. Nothing a packet says changes any state before.

mod bunch;
mod cipher;
mod info;
mod packet;
mod print;
mod ring;
mod seal;
mod writer;

pub use bunch::{MOST_TOGETHER, last_of_bunch, together};
pub use cipher::{Cipher, Reject, Secret};
pub use info::{Info, Invalid};
pub use packet::{Header, LAST_INDEX, MAX_PACKET, Packet, extend, is_rtp};
pub use print::Print;
pub use ring::Ring;
pub use seal::{MAX_RECORDS, OVERHEAD, Reader, Sound};
pub use writer::{WriteError, Writer};
