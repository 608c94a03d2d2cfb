//! What this node's own authority may still do: people are told before it ends, when it has, and when it was taken.

use super::Trunk;
use crate::broadcast::Standing;
use crate::time::{Civil, Local, SECOND};

impl Trunk {
    /// Once a second.
    pub(super) fn judge_rights(&mut self, now: Local) {
        let Some(key) = self.options.authority.as_ref().map(|key| key.id()) else { return };
        let civil = self.time.civil(now);
        let standing = self.authorities.standing(key, civil);
        self.counters.granted = Some(match standing {
            Standing::Until(until) | Standing::Expired(until) => until,
            Standing::Locked | Standing::Revoked | Standing::Ungranted => Civil::default(),
        });
        let found = standing.trouble(civil);
        for (code, text) in TOLD {
            self.stands(now, code, found == Some(*code), || match (found == Some(*code), standing) {
                (true, Standing::Until(until)) => {
                    let days = civil.map_or(0, |civil| until - civil) / (24 * 3600 * SECOND);
                    format!("this node's authority {key} may speak for {days} more days; {text}")
                }
                (true, _) => format!("this node's authority {key} {text}"),
                (false, _) => "its right to speak stands otherwise now".to_owned(),
            });
        }
    }
}

/// Each trouble, and its mend.
const TOLD: &[(&str, &str)] = &[
    (
        "authority.expired",
        "may speak no more, its grant has ended: renew it with `loa enrol --root FILE --renew FOLDER`",
    ),
    ("authority.expires", "renew its grant with `loa enrol --root FILE --renew FOLDER`"),
    (
        "authority.locked",
        "is locked, or one above it is: nobody acts on its orders until two administrators release it: \
         `loa release LOCK --second FILE`",
    ),
    (
        "authority.revoked",
        "is revoked, or one above it is: nobody acts on its orders; if it should speak, enrol the node anew with a root, \
         under a new authority",
    ),
    ("authority.ungranted", "was never granted anything: renew the node with `loa enrol --root FILE --renew FOLDER`"),
];
