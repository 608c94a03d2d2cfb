//! Why an order is not acted on.

/// `code` is one of [`CODES`]; `text` names the thing, the place and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    pub code: &'static str,
    pub text: String,
}

/// Every code there is. They are stable: metrics carry them as labels, so the set is small and fixed.
pub const CODES: &[&str] = &[
    MALFORMED,
    SIGNATURE,
    GRANT_UNKNOWN,
    GRANT_EXPIRED,
    REVOKED,
    DEPTH,
    LOCKED,
    SECOND,
    SCOPE,
    NO_TIME,
    FUTURE,
    EXPIRED,
    REPEATED,
    REPLAYED,
    STALE,
    FULL,
];

/// A field is missing, out of range, or not what the wire format says.
pub(super) const MALFORMED: &str = "order.malformed";
/// A signature of a known key fails, or the authority's is missing.
pub(super) const SIGNATURE: &str = "order.signature";
/// No grant for the authority's key is known.
pub(super) const GRANT_UNKNOWN: &str = "order.grant_unknown";
/// No grant of the authority is valid at this time.
pub(super) const GRANT_EXPIRED: &str = "order.grant_expired";
/// The authority, or one above it, is revoked.
pub(super) const REVOKED: &str = "order.revoked";
/// The chain of grants would be too long.
pub(super) const DEPTH: &str = "order.depth";
/// The authority, or one above it, is locked, or was when it gave the order.
pub(super) const LOCKED: &str = "order.locked";
/// It takes a second signature, and none that counts is there.
pub(super) const SECOND: &str = "order.second";
/// Area, kind, priority or validity lies outside the grant.
pub(super) const SCOPE: &str = "order.scope";
/// This kind of order needs trusted time, and there is none yet.
pub(super) const NO_TIME: &str = "order.no_time";
/// Issued later than now, beyond what clocks may differ.
pub(super) const FUTURE: &str = "order.future";
/// It has expired, or what it announces is over.
pub(super) const EXPIRED: &str = "order.expired";
/// The very same bytes are known already: routine, since urgent orders go out three times.
pub(super) const REPEATED: &str = "order.repeated";
/// The id is known, and this is not a higher revision of it by its own authority.
pub(super) const REPLAYED: &str = "order.replayed";
/// Something newer, or stronger, of the same authority is in force.
pub(super) const STALE: &str = "order.stale";
/// A bound is reached.
pub(super) const FULL: &str = "order.full";

/// A refusal with `code` from this file.
pub(super) fn refuse(code: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { code, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the labels few: code outside this file names a code by its constant, and every constant
    /// is both listed and used.
    #[test]
    fn every_code_in_use_is_listed_and_every_listed_code_is_in_use() {
        let here = include_str!("refusal.rs");
        let others = [
            include_str!("area.rs"),
            include_str!("authority.rs"),
            include_str!("authority/lock.rs"),
            include_str!("authority/second.rs"),
            include_str!("book.rs"),
            include_str!("codec.rs"),
            include_str!("grant.rs"),
            include_str!("order.rs"),
            include_str!("tuner.rs"),
        ];
        for line in here.lines().filter(|line| line.starts_with("pub(super) const ")) {
            let (name, value) = line["pub(super) const ".len()..].split_once(": &str = ").unwrap();
            let value = value.trim_end_matches(';').trim_matches('"');
            assert!(CODES.contains(&value), "{value} is not listed");
            assert!(others.iter().any(|source| source.contains(name)), "{value} is never used");
        }
        for source in others {
            assert!(!source.contains(&["\"order", "."].concat()), "a code is spelled out: use its constant");
        }
        let unique: std::collections::BTreeSet<_> = CODES.iter().collect();
        assert_eq!(unique.len(), CODES.len());
    }
}
