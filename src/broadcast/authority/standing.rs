//! How a key stands: until when it may give orders, or why it may not.
use super::Authorities;
use crate::key::KeyId;
use crate::time::{Civil, SECOND};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may until then; a root for ever ([`i64::MAX`]).
    Until(Civil),
    /// Its grant has ended.
    Expired(Civil),
    /// It, or one above it, is locked, until two administrators release it.
    Locked,
    /// It, or one above it, is revoked.
    Revoked,
    /// No grant is known for it.
    Ungranted,
}

impl Standing {
    /// Code of what is wrong with it, if anything is. Without trusted time dates are not asked.
    pub fn trouble(self, now: Option<Civil>) -> Option<&'static str> {
        match self {
            Self::Until(until) if now.is_some_and(|now| until.0.saturating_sub(now.0) < SOON) => {
                Some("authority.expires")
            }
            Self::Until(_) => None,
            Self::Expired(_) => Some("authority.expired"),
            Self::Locked => Some("authority.locked"),
            Self::Revoked => Some("authority.revoked"),
            Self::Ungranted => Some("authority.ungranted"),
        }
    }
}

impl Authorities {
    /// As far as grants and revocations are known here.
    pub fn standing(&self, key: KeyId, now: Option<Civil>) -> Standing {
        match self.until(key) {
            Some(until) if now.is_some_and(|now| until <= now) => Standing::Expired(until),
            Some(until) => Standing::Until(until),
            None => match self.grants.get(&key) {
                Some(held) if held.iter().any(|held| self.is_locked(held)) => Standing::Locked,
                Some(_) => Standing::Revoked,
                None => Standing::Ungranted,
            },
        }
    }
}

/// µs before its end at which a grant is told of: a root lies in a safe, and a weekend may come between.
const SOON: i64 = 3 * 24 * 3600 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_told_of_before_it_ends_when_it_has_and_when_it_was_taken() {
        let end = Civil(SOON * 10);
        let told = |standing: Standing, now: i64| standing.trouble(Some(Civil(now)));
        assert_eq!(told(Standing::Until(end), end.0 - SOON), None);
        assert_eq!(told(Standing::Until(end), end.0 - SOON + 1), Some("authority.expires"));
        assert_eq!(told(Standing::Until(Civil(i64::MAX)), end.0), None, "a root's");
        assert_eq!(Standing::Until(end).trouble(None), None, "nobody knows the day");
        assert_eq!(told(Standing::Expired(end), end.0), Some("authority.expired"));
        assert_eq!(told(Standing::Locked, 0), Some("authority.locked"));
        assert_eq!(told(Standing::Revoked, 0), Some("authority.revoked"));
        assert_eq!(told(Standing::Ungranted, 0), Some("authority.ungranted"));
    }
}
