//! The one form of a stored record, in the journal and in track files.
//!
//! ```text
//!  0               4               8                      8 + length
//!  ├── length ─────┼── check ──────┼── bytes ─────────────┤
//!     u32, big-endian  SHA-256(length ‖ bytes), first 4 bytes
//! ```
use aws_lc_rs::digest;

/// Bytes before the content.
pub const HEADER: usize = 8;
/// A longer record is damage: orders are at most 64 KiB, packets 1,200 bytes.
pub const LONGEST: usize = 1 << 17;

/// Appends one record. `bytes` must be at most [`LONGEST`].
pub fn write(bytes: &[u8], out: &mut Vec<u8>) {
    debug_assert!(bytes.len() <= LONGEST);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(&check(bytes));
    out.extend_from_slice(bytes);
}

/// The length that a header states; `None` if it cannot be one.
pub fn length(header: &[u8; HEADER]) -> Option<usize> {
    let [a, b, c, d, ..] = *header;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).ok().filter(|length| *length <= LONGEST)
}

/// Whether `bytes` are those that the header was written for.
pub fn holds(header: &[u8; HEADER], bytes: &[u8]) -> bool {
    header.ends_with(&check(bytes))
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(bytes.len() as u32).to_be_bytes());
    context.update(bytes);
    let mut check = [0; 4];
    check.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    check
}
