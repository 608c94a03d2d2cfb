//! Orders that wait for a second signature: for an emergency wider than this node's authority may give alone, and to
//! release a lock. The node signs first and hands the order out; whoever has the other key signs these very bytes.
//!
//! A draft is for a moment: an emergency's instants stand in what was signed.

use super::requests::{Airing, Refused, check_length, no_authority};
use super::{Job, Output, Pending, Reply, Trunk};
use crate::broadcast::{Area, Body, Lock, Order, Prefer, Release};
use crate::key::KeyId;
use crate::proto;
use crate::time::{Civil, Local, SECOND};
use prost::Message;
use std::collections::BTreeMap;
use uuid::Uuid;

/// By the order's id.
pub(super) type Drafts = BTreeMap<Uuid, Draft>;

pub(super) struct Draft {
    signed: proto::Signed,
    waits: Waits,
    until: Local,
}

enum Waits {
    Airing(Box<Airing>),
    Release,
}

impl Trunk {
    /// Keeps a broadcast until it is signed again.
    pub(super) fn hold_airing(&mut self, now: Local, id: u64, airing: Airing) -> Result<(), Refused> {
        let signed = airing.signed.clone();
        self.hold(now, id, airing.order.id, signed, Waits::Airing(Box::new(airing)))
    }

    /// Takes from `key` what it may do in `areas`.
    pub(super) fn request_lock(&mut self, now: Local, id: u64, key: KeyId, areas: Vec<Area>) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let body = Body::Lock(Lock { key });
        let (_, signed) = self.make(now, areas, civil + LOCKED, body).ok_or_else(no_authority)?;
        let order = self.authorities.check(&signed, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        if !self.authorities.would_lock(&order, key) {
            let text = format!(
                "no living grant of key {key} lies within these areas and beneath this node's authority; `loa revoke` lists \
                 who may speak where. Name its areas, or lock it further up"
            );
            return Err(("lock.nobody", text));
        }
        self.give_signed(now, id, signed)
    }

    pub(super) fn request_release(&mut self, now: Local, id: u64, lock: Uuid) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let held = self.authorities.locks().find(|held| held.0 == lock).map(|(_, _, areas)| areas.to_vec());
        let unknown =
            || ("lock.unknown", format!("no lock {lock} is in force here; `loa revoke` lists those that are"));
        let areas = held.ok_or_else(unknown)?;
        if areas.is_empty() {
            let text = "a root gave this lock, so a root lifts it: add --root FILE";
            return Err(("lock.root", text.to_owned()));
        }
        let body = Body::Release(Release { lock });
        let (order, signed) = self.make(now, areas, civil + LOCKED, body).ok_or_else(no_authority)?;
        self.hold(now, id, order.id, signed, Waits::Release)
    }

    pub(super) fn request_prefer(
        &mut self,
        now: Local,
        id: u64,
        areas: Vec<Area>,
        broadcasts: Vec<Uuid>,
        lasting: i64,
    ) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        if let Some(unknown) = broadcasts.iter().find(|id| self.book.get(**id).is_none()) {
            let text = format!("this node knows no broadcast {unknown}; `loa status` lists those on air and to come");
            return Err(("broadcast.unknown", text));
        }
        if !(SECOND..=PREFERRED_LONGEST).contains(&lasting) {
            return Err(("prefer.minutes", "a preference lasts from a second to 31 days; give its minutes".into()));
        }
        let body = Body::Prefer(Prefer { broadcasts });
        let (_, signed) = self.make(now, areas, civil + lasting, body).ok_or_else(no_authority)?;
        self.give_signed(now, id, signed)
    }

    /// A draft with another signature under the same bytes.
    pub(super) fn request_countersign(&mut self, now: Local, id: u64, signed: proto::Signed) -> Result<(), Refused> {
        let civil = self.now_or_refuse(now)?;
        let order = Order::decode(&signed.payload).map_err(|refusal| (refusal.code, refusal.text))?;
        let unknown = || {
            let text = "this draft is unknown or its time is over; give the order anew and sign it at once";
            ("draft.unknown", text.to_owned())
        };
        let draft =
            self.drafts.get(&order.id).filter(|draft| draft.signed.payload == signed.payload && now < draft.until);
        let draft = draft.ok_or_else(unknown)?;
        let mut both = draft.signed.clone();
        both.signatures.extend(signed.signatures.into_iter().filter(|other| !draft.signed.signatures.contains(other)));
        // One that does not count leaves the draft to one that does.
        self.authorities.check(&both, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        check_length(&both)?;
        match self.drafts.remove(&order.id).map(|draft| draft.waits) {
            Some(Waits::Airing(airing)) if airing.begins() < civil => {
                self.drop_airing(&airing);
                Err(unknown())
            }
            Some(Waits::Airing(mut airing)) => {
                airing.signed = both;
                self.put_on_air(now, id, *airing)
            }
            Some(Waits::Release) => self.give_signed(now, id, both),
            None => Err(unknown()),
        }
    }

    /// Forgets drafts that nobody signed in time.
    pub(super) fn rest_drafts(&mut self, now: Local) {
        let over = |(_, draft): &(&Uuid, &Draft)| draft.until <= now;
        let over: Vec<Uuid> = self.drafts.iter().filter(over).map(|(id, _)| *id).collect();
        for draft in over.iter().filter_map(|id| self.drafts.remove(id)).collect::<Vec<_>>() {
            if let Waits::Airing(airing) = &draft.waits {
                self.drop_airing(airing);
            }
        }
    }

    fn hold(&mut self, now: Local, id: u64, order: Uuid, signed: proto::Signed, waits: Waits) -> Result<(), Refused> {
        if signed.encoded_len() + SIGNATURE > super::logs::MAX_ORDER {
            check_length(&signed)?;
            let text = "the order has no room for a second signature; name fewer areas or a shorter title";
            return Err(("order.too_long", text.to_owned()));
        }
        self.rest_drafts(now);
        if self.drafts.len() >= DRAFTS {
            let text = "eight orders wait for their second signature already; wait a minute, or sign them";
            return Err(("draft.full", text.to_owned()));
        }
        self.drafts.insert(order, Draft { signed: signed.clone(), waits, until: now + WAITS });
        self.outputs.push_back(Output::Reply { id, reply: Reply::Draft { order, signed } });
        Ok(())
    }

    /// Nobody will ever play its packets.
    fn drop_airing(&mut self, airing: &Airing) {
        for (info, _) in airing.tracks.iter().filter(|_| !airing.live) {
            self.job(Pending::Record, Job::Forget { track: info.id });
        }
    }
}

/// Beside what was said at most a minute ago: nobody signs more at once.
const DRAFTS: usize = 8;
const WAITS: i64 = 60 * SECOND;
/// Bytes: key id, Ed25519 and the tags of `loa.proto`.
const SIGNATURE: usize = 86;
/// µs: as long as its kind may live. A lock ends with what its key was granted, which is sooner.
const LOCKED: i64 = 31 * 86_400 * SECOND;
const PREFERRED_LONGEST: i64 = 31 * 86_400 * SECOND;
/// From a draft to when an emergency may begin: whoever signs it has the key open already.
pub(super) const SIGNED_WITHIN: i64 = 3 * SECOND;

impl Airing {
    /// What must not have passed when it is put on the air.
    fn begins(&self) -> Civil {
        self.sounds - super::requests::T0
    }
}
