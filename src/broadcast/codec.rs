//! Orders as bytes: encoded once, signed, and never re-encoded on their way.
//! Drawn in [`super`].
//!
//! Reading checks every field, so that the rest of the program need not.

use super::order::*;
use super::refusal::{MALFORMED, Refusal, refuse};
use super::{Address, Area, Grant, HourLimit, MOST_ADDRESSES, Mute, Settings, Stagger, Volume};
use crate::key::{KeyId, PublicKey};
use crate::proto;
use crate::time::{Civil, SECOND};
use crate::track;
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

impl Order {
    /// Reads the payload of a `Signed` and checks every field's range; no signature is checked here.
    pub fn decode(payload: &[u8]) -> Result<Self, Refusal> {
        read_order(payload).map_err(|text| refuse(MALFORMED, text))
    }

    /// The payload that is signed.
    pub fn encode(&self) -> Vec<u8> {
        use proto::order::Body as Wire;
        let body = match &self.body {
            Body::Broadcast(broadcast) => Wire::Broadcast(write_broadcast(broadcast)),
            Body::Cancel(cancel) => {
                Wire::Cancel(proto::Cancel { broadcast: write_id(cancel.broadcast), at: cancel.at.0 })
            }
            Body::Hush(hush) => Wire::Hush(proto::Hush {
                until: hush.until.0,
                up_to: write_priority(hush.up_to),
                exempt: write_areas(&hush.exempt),
            }),
            Body::Grant(grant) => Wire::Grant(proto::Grant {
                key: Bytes::copy_from_slice(&grant.key.0),
                areas: write_areas(&grant.areas),
                kinds: grant.kinds.iter().map(|&kind| write_kind(kind)).collect(),
                up_to: write_priority(grant.up_to),
                from: grant.from.0,
                until: grant.until.0,
                name: grant.name.clone(),
                alone_from: u32::from(grant.alone_from),
            }),
            Body::Revoke(revoke) => {
                Wire::Revoke(proto::Revoke { key: Bytes::copy_from_slice(&revoke.key.0), epoch: revoke.epoch })
            }
            Body::Placement(placement) => Wire::Placement(proto::Placement {
                node: write_id(placement.node),
                area: placement.area.to_string(),
                name: placement.name.clone(),
                parents: placement.parents.iter().map(Address::to_proto).collect(),
            }),
            Body::Tick(tick) => Wire::Tick(proto::Tick {
                time: tick.time.0,
                log: write_id(tick.log),
                head: tick.head,
                epoch: tick.epoch,
            }),
            Body::Invite(invite) => Wire::Invite(proto::Invite { count: invite.count, relay: invite.relay }),
            Body::Expel(expel) => Wire::Expel(proto::Expel { node: write_id(expel.node) }),
            Body::Settings(settings) => Wire::Settings(write_settings(settings)),
            Body::Lock(lock) => Wire::Lock(proto::Lock { key: Bytes::copy_from_slice(&lock.key.0) }),
            Body::Release(release) => Wire::Release(proto::Release { lock: write_id(release.lock) }),
            Body::Prefer(prefer) => {
                Wire::Prefer(proto::Prefer { broadcasts: prefer.broadcasts.iter().copied().map(write_id).collect() })
            }
        };
        let order = proto::Order {
            id: write_id(self.id),
            authority: Bytes::copy_from_slice(&self.authority.0),
            number: self.number,
            issued: self.issued.0,
            expires: self.expires.0,
            areas: write_areas(&self.areas),
            body: Some(body),
        };
        order.encode_to_vec()
    }
}

/// What is wrong, where, and how to mend it.
type Read<T> = Result<T, String>;

fn read_order(payload: &[u8]) -> Read<Order> {
    if payload.len() > MAX_PAYLOAD {
        return Err(format!("an order is at most {MAX_PAYLOAD} bytes, this has {}: name fewer areas", payload.len()));
    }
    let wire = proto::Order::decode(payload).map_err(|error| format!("not an encoded order: {error}"))?;
    let issued = read_time(wire.issued, "issued")?;
    let expires = read_time(wire.expires, "expires")?;
    let body = match wire.body.ok_or("the order has no body: give one that this version knows")? {
        proto::order::Body::Broadcast(body) => Body::Broadcast(read_broadcast(&body)?),
        proto::order::Body::Cancel(body) => Body::Cancel(Cancel {
            broadcast: read_id(&body.broadcast, "cancel.broadcast")?,
            at: read_time(body.at, "cancel.at")?,
        }),
        proto::order::Body::Hush(body) => Body::Hush(Hush {
            until: read_time(body.until, "hush.until")?,
            up_to: read_priority(body.up_to, "hush.up_to")?,
            exempt: read_areas(&body.exempt, "hush.exempt", 0)?,
        }),
        proto::order::Body::Grant(body) => Body::Grant(read_grant(body)?),
        proto::order::Body::Revoke(body) => {
            Body::Revoke(Revoke { key: read_key_id(&body.key, "revoke.key")?, epoch: body.epoch })
        }
        proto::order::Body::Placement(body) => Body::Placement(Placement {
            node: read_id(&body.node, "placement.node")?,
            area: read_area(&body.area, "placement.area")?,
            name: read_text(body.name, "placement.name", MAX_NAME)?,
            parents: read_addresses(&body.parents)?,
        }),
        proto::order::Body::Tick(body) => Body::Tick(Tick {
            time: read_time(body.time, "tick.time")?,
            log: read_id(&body.log, "tick.log")?,
            head: body.head,
            epoch: body.epoch,
        }),
        proto::order::Body::Invite(body) => {
            ensure((1..=MAX_INVITED).contains(&body.count), "invite.count: invite 1 to 10,000 nodes")?;
            ensure(wire.areas.len() == 1, "an invitation names one area: where its nodes will stand")?;
            Body::Invite(Invite { count: body.count, relay: body.relay })
        }
        proto::order::Body::Expel(body) => Body::Expel(Expel { node: read_id(&body.node, "expel.node")? }),
        proto::order::Body::Settings(body) => {
            ensure(wire.areas.len() == 1, "settings name one area: where their node stands")?;
            Body::Settings(read_settings(&body)?)
        }
        proto::order::Body::Lock(body) => Body::Lock(Lock { key: read_key_id(&body.key, "lock.key")? }),
        proto::order::Body::Release(body) => Body::Release(Release { lock: read_id(&body.lock, "release.lock")? }),
        proto::order::Body::Prefer(body) => {
            let count = body.broadcasts.len();
            ensure((1..=MAX_PREFERRED).contains(&count), "prefer.broadcasts: name one to eight")?;
            let read = |id| read_id(id, "prefer.broadcasts");
            Body::Prefer(Prefer { broadcasts: body.broadcasts.iter().map(|id| read(id)).collect::<Read<_>>()? })
        }
    };
    // A tick concerns whoever hears its log, wherever that is.
    let least_areas = if body.kind() == Kind::Tick { 0 } else { 1 };
    let order = Order {
        id: read_id(&wire.id, "id")?,
        authority: read_key_id(&wire.authority, "authority")?,
        number: wire.number,
        issued,
        expires,
        areas: read_areas(&wire.areas, "areas", least_areas)?,
        body,
    };
    check_life(&order)?;
    Ok(order)
}

fn read_addresses(wire: &[proto::Address]) -> Read<Vec<Address>> {
    ensure(wire.len() <= MOST_ADDRESSES, "placement.parents: name at most eight")?;
    let read = |address| Address::from_proto(address).map_err(|error| format!("placement.parents: {error}"));
    wire.iter().map(read).collect()
}

/// What the times and ids of an order must be to one another.
fn check_life(order: &Order) -> Read<()> {
    let life = order.expires - order.issued;
    ensure(life > 0, "expires is not after issued: set it later")?;
    if life > order.max_life() {
        return Err(format!(
            "expires is {} days after issued: {:?} orders live at most {}",
            life / (86_400 * SECOND),
            order.kind(),
            order.max_life() / (86_400 * SECOND)
        ));
    }
    // The newest of these counts: a number that nothing is newer than would stand for ever.
    let latest = (order.issued + SKEW).0.unsigned_abs();
    let lasts = matches!(order.body, Body::Placement(_) | Body::Settings(_));
    ensure(!lasts || order.number <= latest, "number is beyond the µs since 1970 at which it was issued: take those")?;
    match &order.body {
        Body::Broadcast(body) => {
            ensure(body.until <= order.expires, "broadcast.until is after expires: let the order live longer")?;
            ensure(body.supersedes != Some(order.id), "broadcast.supersedes names itself: leave it empty")
        }
        Body::Cancel(body) => ensure(body.at <= order.expires, "cancel.at is after expires: let the order live longer"),
        Body::Hush(body) => {
            ensure(body.until >= order.issued, "hush.until is before issued: set it to issued to lift a hush")?;
            ensure(body.until <= order.expires, "hush.until is after expires: let the order live longer")
        }
        Body::Grant(body) => {
            ensure(body.key.id() != order.authority, "grant.key is the granter's own: grant to another key")?;
            ensure(body.until <= order.expires, "grant.until is after expires: let the order live longer")
        }
        Body::Tick(body) => {
            ensure((body.time - order.issued).abs() <= SKEW, "tick.time is not the time of issue: sign a fresh tick")
        }
        Body::Settings(body) => match body.mute {
            Some(Mute::Until(until)) => ensure(
                until <= order.issued + Settings::MUTE,
                "settings.muted_until is over 30 minutes after issued: a longer silence is a hush",
            ),
            Some(Mute::Off) | None => Ok(()),
        },
        Body::Revoke(_) | Body::Placement(_) | Body::Invite(_) | Body::Expel(_) => Ok(()),
        Body::Lock(_) | Body::Release(_) | Body::Prefer(_) => Ok(()),
    }
}

fn read_broadcast(wire: &proto::Broadcast) -> Read<Broadcast> {
    ensure(
        (1..=MAX_RENDITIONS).contains(&wire.renditions.len()),
        "broadcast.renditions: name one to four tracks of the same sound",
    )?;
    let renditions = wire
        .renditions
        .iter()
        .map(|rendition| track::Info::from_proto(rendition).map_err(|error| format!("broadcast.renditions: {error}")))
        .collect::<Read<Vec<_>>>()?;
    for (index, rendition) in renditions.iter().enumerate() {
        let first = &renditions[0];
        ensure(
            rendition.duration == first.duration && rendition.anchor == first.anchor,
            "broadcast.renditions differ in duration or anchor: cut all alike, so that a session may switch",
        )?;
        ensure(
            renditions[..index].iter().all(|other| other.id != rendition.id && other.ssrc != rendition.ssrc),
            "broadcast.renditions share a track id or SSRC: give each its own",
        )?;
    }
    let broadcast = Broadcast {
        priority: read_priority(wire.priority, "broadcast.priority")?,
        purpose: read_purpose(wire.purpose)?,
        from: read_time(wire.from, "broadcast.from")?,
        until: read_time(wire.until, "broadcast.until")?,
        delay: wire.delay,
        tone: wire.tone.as_ref().map(read_tone).transpose()?,
        title: read_text(wire.title.clone(), "broadcast.title", MAX_TITLE)?,
        revision: wire.revision,
        supersedes: match wire.supersedes.is_empty() {
            true => None,
            false => Some(read_id(&wire.supersedes, "broadcast.supersedes")?),
        },
        stored: wire.stored,
        resume: wire.resume,
        prepared: wire.prepared,
        renditions,
    };
    ensure(broadcast.from < broadcast.until, "broadcast.until is not after broadcast.from: set it later")?;
    ensure((1..=MAX_DELAY).contains(&broadcast.delay), "broadcast.delay: set it above 0 and to at most 60 s")?;
    ensure(
        !broadcast.stored || broadcast.renditions.iter().all(|rendition| rendition.packets.is_some()),
        "broadcast.stored, but renditions do not say how many packets: count them",
    )?;
    ensure(
        !broadcast.prepared || broadcast.stored && broadcast.tone.is_none() && broadcast.purpose == Purpose::Real,
        "broadcast.prepared is for stored sound without a tone or another purpose: those who name it say these",
    )?;
    if let Some(which) = broadcast.purpose.said_by() {
        ensure(
            broadcast.tone.is_some_and(|tone| tone.which == which && tone.duration >= Tone::SAID),
            "broadcast.purpose is exercise or test: name the stored words that say so as its tone, for at least 2 s",
        )?;
    } else if let Some(tone) = broadcast.tone {
        ensure(broadcast.priority == Priority::Emergency, "broadcast.tone is for emergencies: leave it out")?;
        ensure(
            ![Tone::EXERCISE, Tone::TEST].contains(&tone.which),
            "broadcast.tone says that this is an exercise or test, and its purpose is real: let them agree",
        )?;
    }
    if let Some(tone) = broadcast.tone {
        let silent = tone.at + tone.duration;
        ensure(silent <= broadcast.ends(), "broadcast.tone outlasts the broadcast: set until later")?;
        ensure(
            broadcast.renditions.iter().all(|rendition| rendition.anchor + broadcast.delay >= silent),
            "broadcast.tone covers the first words: set the anchor to T0 + tone − delay or later",
        )?;
    }
    Ok(broadcast)
}

fn read_tone(wire: &proto::Tone) -> Read<Tone> {
    ensure(wire.which != 0, "broadcast.tone.which: name one, from 1")?;
    ensure(wire.which < Tone::LOCAL, "broadcast.tone.which: speakers alone say what it names: name one below 2^24")?;
    ensure((1..=MAX_TONE).contains(&wire.duration), "broadcast.tone.duration: set it above 0 and to at most 60 s")?;
    Ok(Tone { at: read_time(wire.at, "broadcast.tone.at")?, which: wire.which, duration: wire.duration })
}

fn read_grant(wire: proto::Grant) -> Read<Grant> {
    ensure((1..=MAX_KINDS).contains(&wire.kinds.len()), "grant.kinds: name each kind of order once, at least one")?;
    let grant = Grant {
        key: PublicKey::from_slice(&wire.key).ok_or("grant.key is not 32 bytes: give an Ed25519 public key")?,
        areas: read_areas(&wire.areas, "grant.areas", 1)?,
        kinds: wire.kinds.iter().map(|&kind| read_kind(kind)).collect::<Read<_>>()?,
        up_to: read_priority(wire.up_to, "grant.up_to")?,
        from: read_time(wire.from, "grant.from")?,
        until: read_time(wire.until, "grant.until")?,
        name: read_text(wire.name, "grant.name", MAX_NAME)?,
        alone_from: u8::try_from(wire.alone_from).unwrap_or(u8::MAX),
    };
    ensure(
        grant.alone_from <= Grant::NEVER_ALONE,
        "grant.alone_from: areas have at most 8 segments; 9 is never alone",
    )?;
    ensure(grant.from < grant.until, "grant.until is not after grant.from: set it later")?;
    ensure(
        grant.until - grant.from <= MAX_LONG_LIFE,
        "grant.until is over 400 days after grant.from: renew it instead",
    )?;
    Ok(grant)
}

fn read_settings(wire: &proto::Settings) -> Read<Settings> {
    let volume = |tenths: Option<i32>, field| tenths.map(|tenths| read_volume(tenths, field)).transpose();
    let zone = wire.hours.as_ref().map(|hours| hours.zone.as_str()).filter(|zone| !zone.is_empty());
    let settings = Settings {
        node: read_id(&wire.node, "settings.node")?,
        normal: volume(wire.normal, "settings.normal")?,
        priority: volume(wire.priority, "settings.priority")?,
        emergency: volume(wire.emergency, "settings.emergency")?,
        hours: wire.hours.as_ref().map(read_hours).transpose()?,
        zone: zone.map(str::parse).transpose().map_err(|_| {
            "settings.hours.zone is not a zone that is known here: name one like Asia/Ho_Chi_Minh".to_owned()
        })?,
        delay: wire.delay,
        stagger: wire.stagger.as_ref().map(read_stagger).transpose()?,
        mute: match wire.muted_until {
            None => None,
            Some(0) => Some(Mute::Off),
            Some(until) => Some(Mute::Until(read_time(until, "settings.muted_until")?)),
        },
    };
    ensure((0..=Settings::DELAY).contains(&settings.delay), "settings.delay: set it to 0 to 500 ms")?;
    Ok(settings)
}

fn read_volume(tenths: i32, field: &str) -> Read<Volume> {
    Volume::new(tenths).ok_or_else(|| format!("{field} is {tenths} tenths of a decibel: give -300 to 0"))
}

fn read_hours(wire: &proto::HourLimits) -> Read<Vec<HourLimit>> {
    ensure(wire.limits.len() <= Settings::HOURS, "settings.hours: name at most eight")?;
    let minute = |minute: u32| u16::try_from(minute).ok().filter(|minute| *minute < HourLimit::DAY);
    let limit = |limit: &proto::HourLimit| {
        let wrong = || "settings.hours: a minute of the day is 0 to 1439".to_owned();
        let (from, until) = (minute(limit.from).ok_or_else(wrong)?, minute(limit.until).ok_or_else(wrong)?);
        Ok(HourLimit { from, until, most: read_volume(limit.most, "settings.hours.most")? })
    };
    wire.limits.iter().map(limit).collect()
}

fn read_stagger(wire: &proto::Stagger) -> Read<Stagger> {
    let stagger = Stagger { group: wire.group, groups: wire.groups, step: wire.step };
    ensure(
        (1..=Stagger::GROUPS).contains(&stagger.groups) && (1..=stagger.groups).contains(&stagger.group),
        "settings.stagger: name one group of at most 16, from 1",
    )?;
    let last = Stagger { group: stagger.groups, ..stagger };
    ensure(
        stagger.step >= 0 && last.late() <= Stagger::LATEST,
        "settings.stagger.step: set it so that the last group is at most 10 s late",
    )?;
    Ok(stagger)
}

fn ensure(holds: bool, otherwise: &str) -> Read<()> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn read_id(bytes: &[u8], field: &str) -> Read<Uuid> {
    Uuid::from_slice(bytes)
        .ok()
        .filter(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        .ok_or_else(|| format!("{field} is not a UUIDv7 of 16 bytes: make one (RFC 9562 §5.7)"))
}

fn read_key_id(bytes: &[u8], field: &str) -> Read<KeyId> {
    KeyId::from_slice(bytes).ok_or_else(|| format!("{field} is not a key id of 16 bytes"))
}

fn read_time(micros: i64, field: &str) -> Read<Civil> {
    if (YEAR_2020..YEAR_2200).contains(&micros) {
        return Ok(Civil(micros));
    }
    Err(format!("{field} is {micros}, outside 2020 to 2200: give µs since 1970, UTC"))
}

fn read_area(text: &str, field: &str) -> Read<Area> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

fn read_areas(texts: &[String], field: &str, least: usize) -> Read<Vec<Area>> {
    if !(least..=MAX_AREAS).contains(&texts.len()) {
        return Err(format!("{field} has {} entries: name {least} to {MAX_AREAS}", texts.len()));
    }
    texts.iter().map(|text| read_area(text, field)).collect()
}

/// Titles and names are shown on consoles and written to line-based logs: what could break a line or
/// turn its direction is refused.
fn read_text(text: String, field: &str, most: usize) -> Read<String> {
    if text.len() > most {
        return Err(format!("{field} is at most {most} bytes, this has {}: shorten it", text.len()));
    }
    let disturbs = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(disturbs) {
        return Err(format!("{field} contains a control character: write it on one plain line"));
    }
    Ok(text)
}

fn read_priority(value: i32, field: &str) -> Read<Priority> {
    match proto::Priority::try_from(value) {
        Ok(proto::Priority::Normal) => Ok(Priority::Normal),
        Ok(proto::Priority::Priority) => Ok(Priority::Priority),
        Ok(proto::Priority::Emergency) => Ok(Priority::Emergency),
        Ok(proto::Priority::Unspecified) | Err(_) => Err(format!("{field} is {value}: name a priority")),
    }
}

fn read_purpose(value: i32) -> Read<Purpose> {
    match proto::Purpose::try_from(value) {
        Ok(proto::Purpose::Real) => Ok(Purpose::Real),
        Ok(proto::Purpose::Exercise) => Ok(Purpose::Exercise),
        Ok(proto::Purpose::Test) => Ok(Purpose::Test),
        Err(_) => Err(format!("broadcast.purpose is {value}: name real, exercise or test")),
    }
}

fn read_kind(value: i32) -> Read<Kind> {
    match proto::Kind::try_from(value) {
        Ok(proto::Kind::Broadcast) => Ok(Kind::Broadcast),
        Ok(proto::Kind::Cancel) => Ok(Kind::Cancel),
        Ok(proto::Kind::Hush) => Ok(Kind::Hush),
        Ok(proto::Kind::Grant) => Ok(Kind::Grant),
        Ok(proto::Kind::Revoke) => Ok(Kind::Revoke),
        Ok(proto::Kind::Placement) => Ok(Kind::Placement),
        Ok(proto::Kind::Tick) => Ok(Kind::Tick),
        Ok(proto::Kind::Unspecified) | Err(_) => Err(format!("grant.kinds has {value}: name kinds of order")),
    }
}

fn write_broadcast(broadcast: &Broadcast) -> proto::Broadcast {
    proto::Broadcast {
        priority: write_priority(broadcast.priority),
        purpose: match broadcast.purpose {
            Purpose::Real => proto::Purpose::Real,
            Purpose::Exercise => proto::Purpose::Exercise,
            Purpose::Test => proto::Purpose::Test,
        }
        .into(),
        from: broadcast.from.0,
        until: broadcast.until.0,
        delay: broadcast.delay,
        renditions: broadcast.renditions.iter().map(track::Info::to_proto).collect(),
        tone: broadcast.tone.map(|tone| proto::Tone { at: tone.at.0, which: tone.which, duration: tone.duration }),
        title: broadcast.title.clone(),
        revision: broadcast.revision,
        supersedes: broadcast.supersedes.map(write_id).unwrap_or_default(),
        stored: broadcast.stored,
        resume: broadcast.resume,
        prepared: broadcast.prepared,
    }
}

fn write_settings(settings: &Settings) -> proto::Settings {
    let volume = |volume: Option<Volume>| volume.map(|volume| i32::from(volume.tenths()));
    let limit = |limit: &HourLimit| proto::HourLimit {
        from: limit.from.into(),
        until: limit.until.into(),
        most: limit.most.tenths().into(),
    };
    proto::Settings {
        node: write_id(settings.node),
        normal: volume(settings.normal),
        priority: volume(settings.priority),
        emergency: volume(settings.emergency),
        hours: settings.hours.as_ref().map(|hours| proto::HourLimits {
            limits: hours.iter().map(limit).collect(),
            zone: settings.zone.map_or_else(String::new, |zone| zone.name().to_owned()),
        }),
        delay: settings.delay,
        stagger: settings.stagger.map(|stagger| proto::Stagger {
            group: stagger.group,
            groups: stagger.groups,
            step: stagger.step,
        }),
        muted_until: settings.mute.map(|mute| match mute {
            Mute::Until(until) => until.0,
            Mute::Off => 0,
        }),
    }
}

fn write_id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn write_areas(areas: &[Area]) -> Vec<String> {
    areas.iter().map(Area::to_string).collect()
}

fn write_priority(priority: Priority) -> i32 {
    let wire = match priority {
        Priority::Normal => proto::Priority::Normal,
        Priority::Priority => proto::Priority::Priority,
        Priority::Emergency => proto::Priority::Emergency,
    };
    wire.into()
}

fn write_kind(kind: Kind) -> i32 {
    let wire = match kind {
        Kind::Broadcast => proto::Kind::Broadcast,
        Kind::Cancel => proto::Kind::Cancel,
        Kind::Hush => proto::Kind::Hush,
        Kind::Grant => proto::Kind::Grant,
        Kind::Revoke => proto::Kind::Revoke,
        Kind::Placement => proto::Kind::Placement,
        Kind::Tick => proto::Kind::Tick,
    };
    wire.into()
}

/// A Push of one order fits a 64 KiB frame with room; 64 areas of the greatest length, twice, fit this.
const MAX_PAYLOAD: usize = 32 * 1024;
/// One order for every province (34), with room; more are several orders.
const MAX_AREAS: usize = 64;
/// Three bitrates and one spare (DESIGN §3).
const MAX_RENDITIONS: usize = 4;
/// Of one token: a province's loudspeakers, twice.
const MAX_INVITED: u32 = 10_000;
/// What wants to sound at once in one place, and more.
const MAX_PREFERRED: usize = 8;
/// There are seven kinds.
const MAX_KINDS: usize = 7;
/// Bytes; `session/loa.proto`.
const MAX_TITLE: usize = 200;
const MAX_NAME: usize = 100;
/// Beyond a minute, a listener hears yesterday's news; it also bounds a speaker's buffer.
const MAX_DELAY: i64 = 60 * SECOND;
/// An attention tone, not a programme.
const MAX_TONE: i64 = 60 * SECOND;
/// Times outside are a clock that was never set or a wrong unit; sums of two inside never overflow.
const YEAR_2020: i64 = 1_577_836_800 * SECOND;
const YEAR_2200: i64 = 7_258_118_400 * SECOND;
