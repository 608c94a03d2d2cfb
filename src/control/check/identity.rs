//! Who the node is: key, certificate, roots, authority; and whether the configuration fits.
use super::Report;
use crate::config::{Config, Enrol};
use crate::control::text::Failure;
use crate::control::when;
use crate::io::clock;
use crate::io::enrolment::{self, Ticket};
use crate::io::examine::{Verdict, examine};
use crate::io::identity::{Identity, load_authority, office_until};
use crate::node::Role;
use crate::time::{Civil, SECOND};
use chrono_tz::Tz;

/// The identity, if one can be read.
pub fn look(config: &Config, report: &mut Report) -> Option<Identity> {
    let data = &config.node.data;
    if let Some(sources) = &config.sources
        && let Err(error) = load_authority(data, &sources.authority)
    {
        report.failure(&Failure::from_room("node.authority", error.to_string()));
    }
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
    let (file, until) = (file.display(), day(found.until, config.node.zone));
    match &found.verdict {
        Verdict::Holds if found.until - now < SOON && now >= clock::EARLIEST => {
            report.warning("certificate.expires", [&file, &until]);
        }
        Verdict::Holds => report.ok("certificate.fine", [&identity.node, &identity.role.as_str(), &until]),
        Verdict::Expired => report.mistake("certificate.expired", [&file, &until]),
        Verdict::NotYet => {
            let from = day(found.from, config.node.zone);
            report.mistake("certificate.not_yet", [&file, &from, &day(now, config.node.zone)]);
        }
        Verdict::Foreign(why) => report.mistake("certificate.foreign", [&file, why]),
        Verdict::WrongKey => report.mistake("certificate.wrong_key", [&file]),
        Verdict::Unusable(why) => report.mistake("certificate.unusable", [&file, why]),
    }
    match office_until(data) {
        Ok(Some(until)) if until - now < ISSUER_SOON && now >= clock::EARLIEST => {
            report.warning("issuer.expires", [&data.join("issuer.crt").display(), &day(until, config.node.zone)]);
        }
        Ok(_) => {}
        Err(error) => report.failure(&Failure::from_room("node.identity", error.to_string())),
    }
    Some(identity)
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
        true => report.mistake("enrol.ended", [&day(ends, zone)]),
        false => report.ok("enrol.fine", [&day(ends, zone)]),
    }
    match enrolment::stranger(&ticket) {
        Ok(identity) => Some(identity),
        Err(error) => {
            report.mistake("enrol.ticket", [&error]);
            None
        }
    }
}

/// Year, month and day.
fn day(at: Civil, zone: Tz) -> String {
    when::show(at, zone).chars().take(10).collect()
}

/// µs before its end at which a certificate is told of, as a running node does.
const SOON: i64 = 14 * 86_400 * SECOND;
const ISSUER_SOON: i64 = 90 * 86_400 * SECOND;
