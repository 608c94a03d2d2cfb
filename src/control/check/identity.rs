//! Who the node is: key, certificate, roots, authority; and whether the configuration fits.
use super::Report;
use crate::broadcast::Standing;
use crate::config::{Config, Enrol};
use crate::control::text::Failure;
use crate::control::when;
use crate::io::clock;
use crate::io::enrolment::{self, Ticket};
use crate::io::examine::{Verdict, examine};
use crate::io::identity::{Identity, load_authority, office_until};
use crate::io::rights;
use crate::key::KeyId;
use crate::node::Role;
use crate::time::SECOND;
use chrono_tz::Tz;

/// The identity, if one can be read.
pub fn look(config: &Config, report: &mut Report) -> Option<Identity> {
    let data = &config.node.data;
    let authority = config.sources.as_ref().and_then(|sources| match load_authority(data, &sources.authority) {
        Ok(key) => Some((sources.authority.as_str(), key.public().id())),
        Err(error) => {
            report.failure(&Failure::from_room("node.authority", error.to_string()));
            None
        }
    });
    let identity = match Identity::load(data) {
        Ok(identity) => identity,
        Err(error) => {
            report.failure(&Failure::from_room("node.identity", error.to_string()));
            return None;
        }
    };
    if identity.role == Role::Speaker && config.children.is_some() {
        report.mistake("config.role", [&data.join("node.crt").display()]);
    }
    let now = clock::wall();
    let found = examine(&identity, now);
    let file = data.join("node.crt");
    let (file, until) = (file.display(), when::day(found.until, config.node.zone, report.language));
    match &found.verdict {
        Verdict::Holds if found.until - now < SOON && now >= clock::EARLIEST => {
            report.warning("certificate.expires", [&file, &until]);
        }
        Verdict::Holds => report.ok("certificate.fine", [&identity.node, &identity.role.as_str(), &until]),
        Verdict::Expired => report.mistake("certificate.expired", [&file, &until]),
        Verdict::NotYet => {
            let from = when::day(found.from, config.node.zone, report.language);
            report.mistake("certificate.not_yet", [&file, &from, &when::day(now, config.node.zone, report.language)]);
        }
        Verdict::Foreign(why) => report.mistake("certificate.foreign", [&file, why]),
        Verdict::WrongKey => report.mistake("certificate.wrong_key", [&file]),
        Verdict::Unusable(why) => report.mistake("certificate.unusable", [&file, why]),
    }
    match office_until(data) {
        Ok(Some(until)) if until - now < ISSUER_SOON && now >= clock::EARLIEST => {
            report.warning(
                "issuer.expires",
                [&data.join("issuer.crt").display(), &when::day(until, config.node.zone, report.language)],
            );
        }
        Ok(_) => {}
        Err(error) => report.failure(&Failure::from_room("node.identity", error.to_string())),
    }
    if let Some((name, key)) = authority {
        right(config, &identity, name, key, report);
    }
    Some(identity)
}

/// Until when the node may speak, or why it may not.
fn right(config: &Config, identity: &Identity, name: &str, key: KeyId, report: &mut Report) {
    let (data, language) = (&config.node.data, report.language);
    let standing = match rights::standing(data, identity, key) {
        Ok(standing) => standing,
        // Its first start makes the journal.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return report.failure(&Failure::from_room("node.store", error.to_string())),
    };
    let (now, folder) = (clock::wall(), data.display());
    let soon = standing.trouble((now >= clock::EARLIEST).then_some(now)).is_some();
    match standing {
        Standing::Until(until) | Standing::Expired(until) => {
            let until_shown = when::date(until, config.node.zone, language);
            match standing {
                Standing::Expired(_) => report.mistake("authority.expired", [&name, &until_shown, &folder]),
                _ if soon => report.warning("authority.expires", [&name, &until_shown, &folder]),
                _ => report.ok("authority.fine", [&name, &until_shown]),
            }
        }
        Standing::Locked => report.mistake("authority.locked", [&name]),
        Standing::Revoked => report.mistake("authority.revoked", [&name]),
        Standing::Ungranted => report.mistake("authority.ungranted", [&name, &folder]),
    }
}

/// Of a board that will ask for its certificate: the ticket, and an identity for trying its parents as it will.
pub fn newcomer(enrol: &Enrol, zone: Tz, report: &mut Report) -> Option<Identity> {
    let ticket = match Ticket::read(&enrol.ticket) {
        Ok(ticket) => ticket,
        Err(error) => {
            report.mistake("enrol.ticket", [&error]);
            return None;
        }
    };
    let ends = ticket.ends();
    match ends < clock::wall() {
        true => report.mistake("enrol.ended", [&when::day(ends, zone, report.language)]),
        false => report.ok("enrol.fine", [&when::day(ends, zone, report.language)]),
    }
    match enrolment::stranger(&ticket) {
        Ok(identity) => Some(identity),
        Err(error) => {
            report.mistake("enrol.ticket", [&error]);
            None
        }
    }
}

/// µs before its end at which a certificate is told of, as a running node does.
const SOON: i64 = 14 * 86_400 * SECOND;
const ISSUER_SOON: i64 = 90 * 86_400 * SECOND;
