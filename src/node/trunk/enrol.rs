//! Certificates: who may have one by a token, whose is renewed, and the way of both up to whoever certifies and back.
//!
//! ```text
//!  board (new) ── Enrol {token, key, proof} ──▶ its parent ──▶ … ──▶ the node that gave the token: counts, certifies
//!              ◀── Enrolled {chain}         ── its parent ◀── … ◀──
//!  node ──────── Enrol {node, key, proof, chain} ──▶ … ──▶ the next above that may certify
//! ```
//! Each hop gives the question a number of its own and keeps whose it was for [`PATIENCE`].

use super::requests::Refused;
use super::{Command, Link, Output, Peer, Pending, Trunk, What};
use crate::broadcast::{Body, Invite, Vouched};
use crate::key::{Domain, KeyId, PublicKey};
use crate::node::{Certify, Job, id_of};
use crate::proto::{self, record};
use crate::time::{Civil, Local, SECOND};
use bytes::Bytes;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Enrolments {
    /// What was asked above, by this node's number.
    asked: BTreeMap<u64, Asked>,
    next: u64,
    /// Whom this node has admitted, by token and key.
    admitted: BTreeMap<Uuid, Token>,
}

struct Asked {
    asker: Asker,
    until: Local,
    /// Which of two parents may answer.
    slot: usize,
}

struct Token {
    until: Civil,
    /// And whether it is on disk that they were counted.
    nodes: BTreeMap<KeyId, (Uuid, bool)>,
}

/// Who waits for a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Asker {
    Child { branch: usize, link: Link, id: u64 },
    Own,
}

/// Somebody who holds a key and a token.
pub(super) struct Admission {
    asker: Asker,
    token: Uuid,
    node: Uuid,
    relay: bool,
    key: PublicKey,
}

impl Trunk {
    pub(super) fn handle_enrol(&mut self, now: Local, branch: usize, link: Link, peer: Peer, enrol: proto::Enrol) {
        let asker = Asker::Child { branch, link, id: enrol.id };
        if let Err((code, text)) = self.enrol(now, asker, enrol) {
            let text = format!("node {}: {text}", peer.node);
            self.answer(now, asker, Err((code.to_owned(), text)));
        }
    }

    /// This node's own certificate is past half of its life.
    pub(super) fn handle_renew(&mut self, now: Local, key: PublicKey, proof: Bytes, chain: Vec<Bytes>) {
        let node = Bytes::copy_from_slice(self.options.node.as_bytes());
        let key = Bytes::copy_from_slice(&key.0);
        let enrol = proto::Enrol { key, proof, node, chain, ..Default::default() };
        if let Err((code, text)) = self.enrol(now, Asker::Own, enrol) {
            self.answer(now, Asker::Own, Err((code.to_owned(), text)));
        }
    }

    fn enrol(&mut self, now: Local, asker: Asker, enrol: proto::Enrol) -> Result<(), Refused> {
        let key = PublicKey::from_slice(&enrol.key);
        let key =
            key.ok_or_else(|| ("enrol.malformed", "a key has 32 bytes; send an Ed25519 public key".to_owned()))?;
        let about = enrol.token.as_ref().map_or(&enrol.node, |token| &token.payload);
        if !key.verify(Domain::Enrol, &[&enrol.key[..], about].concat(), &enrol.proof) {
            return Err(("enrol.proof", "the proof is not by the key that is to be certified".to_owned()));
        }
        let Some(token) = &enrol.token else {
            if !self.options.issuer {
                return self.ask_above(now, asker, enrol);
            }
            let node = Uuid::from_slice(&enrol.node).map_err(|_| ("enrol.malformed", "a node has 16 bytes".into()))?;
            if self.roster.expelled.is_known(node) {
                return Err(expelled(node));
            }
            let work = Job::Certify(Certify::Again { node, key, chain: enrol.chain.clone() });
            self.may_certify()?;
            self.job(Pending::Certificate { asker, again: Some(Box::new(enrol)) }, work);
            return Ok(());
        };
        let civil = self.now_or_refuse(now)?;
        self.admit_grants(now, &enrol.grants);
        let order = self.authorities.check(token, Some(civil)).map_err(|refusal| (refusal.code, refusal.text))?;
        let Body::Invite(invite) = order.body else {
            return Err((
                "enrol.malformed",
                "this is no token; copy the file anew that `loa enrol --count` made".into(),
            ));
        };
        let own = self.options.authority.as_ref().is_some_and(|key| key.id() == order.authority);
        match own && self.options.issuer {
            true => self.admit(now, asker, &order, invite, key),
            false => self.ask_above(now, asker, enrol),
        }
    }

    /// This node gave the token: it counts.
    fn admit(
        &mut self,
        now: Local,
        asker: Asker,
        order: &Vouched,
        invite: Invite,
        key: PublicKey,
    ) -> Result<(), Refused> {
        let node = id_of(&key);
        if self.roster.expelled.is_known(node) {
            return Err(expelled(node));
        }
        self.may_certify()?;
        let known = self.enrolments.admitted.get(&order.id).and_then(|token| token.nodes.get(&key.id())).copied();
        if let Some((node, written)) = known {
            // Its answer was lost, or it has lost its certificate: it is not counted again.
            if !written {
                return Err((
                    "enrol.busy",
                    "the last question of this key is being written down; ask again in a moment".into(),
                ));
            }
            self.certify(Admission { asker, token: order.id, node, relay: invite.relay, key });
            return Ok(());
        }
        let used = self.enrolments.admitted.get(&order.id).map_or(0, |token| token.nodes.len());
        if used >= invite.count as usize {
            let area = order.areas.first().map(ToString::to_string).unwrap_or_default();
            let text = format!(
                "the token for {area} has admitted its {} nodes already; somebody may have copied it: see `loa nodes` for who \
                 waits, and make a new file with `loa enrol --count`",
                invite.count
            );
            self.trouble(now, "token.used_up", text.clone());
            return Err(("token.used_up", text));
        }
        let token = self.enrolments.admitted.entry(order.id);
        token
            .or_insert_with(|| Token { until: order.expires, nodes: BTreeMap::new() })
            .nodes
            .insert(key.id(), (node, false));
        let admitted = proto::Admitted {
            token: Bytes::copy_from_slice(order.id.as_bytes()),
            key: Bytes::copy_from_slice(&key.id().0),
            node: Bytes::copy_from_slice(node.as_bytes()),
            until: order.expires.0,
        };
        let admission = Admission { asker, token: order.id, node, relay: invite.relay, key };
        let record = proto::Record { body: Some(record::Body::Admitted(admitted)) };
        self.journal(now, vec![record], Pending::Admission(Box::new(admission)));
        Ok(())
    }

    /// The count is on disk, or cannot be.
    pub(super) fn handle_admitted(&mut self, now: Local, admission: Admission, written: Result<(), String>) {
        match written {
            Ok(()) => {
                if let Some(token) = self.enrolments.admitted.get_mut(&admission.token) {
                    token.nodes.insert(admission.key.id(), (admission.node, true));
                }
                self.event(now, What::Enrolled { node: admission.node });
                self.certify(admission);
            }
            Err(text) => {
                if let Some(token) = self.enrolments.admitted.get_mut(&admission.token) {
                    token.nodes.remove(&admission.key.id());
                }
                let text = format!("the certificate could not be written down and was not given: {text}");
                self.answer(now, admission.asker, Err(("store.failed".into(), text)));
            }
        }
    }

    fn certify(&mut self, admission: Admission) {
        let Admission { asker, node, relay, key, .. } = admission;
        self.job(Pending::Certificate { asker, again: None }, Job::Certify(Certify::New { node, relay, key }));
    }

    /// Orders wait for the same thread: few certificates may stand before them.
    fn may_certify(&mut self) -> Result<(), Refused> {
        let counts = |pending: &&Pending| matches!(pending, Pending::Certificate { .. } | Pending::Admission(_));
        if self.jobs.values().filter(counts).count() < CERTIFIED {
            return Ok(());
        }
        self.dropped("enrolments");
        Err(("enrol.busy", "this node certifies as many as it may at once; ask again in a moment".into()))
    }

    /// This node could not renew a certificate: the next one above may.
    pub(super) fn handle_not_certified(
        &mut self,
        now: Local,
        asker: Asker,
        again: Option<Box<proto::Enrol>>,
        text: String,
    ) {
        let refused = || Err(("enrol.failed".to_owned(), text.clone()));
        let answer = match again {
            Some(enrol) if !self.options.parents.is_empty() => match self.ask_above(now, asker, *enrol) {
                Ok(()) => return,
                Err(_) => refused(),
            },
            _ => refused(),
        };
        self.answer(now, asker, answer);
    }

    pub(super) fn restore_admitted(&mut self, admitted: &proto::Admitted) {
        let ids =
            (Uuid::from_slice(&admitted.token), KeyId::from_slice(&admitted.key), Uuid::from_slice(&admitted.node));
        let (Ok(token), Some(key), Ok(node)) = ids else { return };
        let token = self.enrolments.admitted.entry(token);
        let token = token.or_insert_with(|| Token { until: Civil(admitted.until), nodes: BTreeMap::new() });
        token.nodes.insert(key, (node, true));
    }

    fn ask_above(&mut self, now: Local, asker: Asker, mut enrol: proto::Enrol) -> Result<(), Refused> {
        if self.enrolments.asked.len() >= ASKED {
            self.dropped("enrolments");
            return Err((
                "enrol.busy",
                "this parent passes on as many questions as it may; ask again in a moment".into(),
            ));
        }
        let of_one = |asked: &&Asked| match (asked.asker, asker) {
            (Asker::Child { branch, link, .. }, Asker::Child { branch: other, link: same, .. }) => {
                (branch, link) == (other, same)
            }
            _ => false,
        };
        if self.enrolments.asked.values().filter(of_one).count() >= ASKED_BY_ONE {
            return Err((
                "enrol.busy",
                "as many of your questions wait for an answer as may; ask again in a moment".into(),
            ));
        }
        let slot = self.parents.leader();
        let Some(child) = self.parents.session() else {
            return Err(match self.options.parents.is_empty() {
                true => {
                    ("token.foreign", "nobody here, nor above, may certify it; ask whoever made the file".to_owned())
                }
                false => ("enrol.no_way", "this parent has no way up at the moment; ask again in a moment".to_owned()),
            });
        };
        let id = self.enrolments.next;
        self.enrolments.next += 1;
        enrol.id = id;
        child.enrol(enrol);
        self.enrolments.asked.insert(id, Asked { asker, until: now + PATIENCE, slot });
        Ok(())
    }

    /// What was asked above is answered.
    pub(super) fn handle_enrolled(&mut self, now: Local, slot: usize, enrolled: proto::Enrolled) {
        if self.enrolments.asked.get(&enrolled.id).is_none_or(|asked| asked.slot != slot) {
            return;
        }
        let Some(asked) = self.enrolments.asked.remove(&enrolled.id) else { return };
        let proto::Enrolled { chain, code, text, .. } = enrolled;
        let answer = if chain.is_empty() { Err((code, text)) } else { Ok(chain) };
        self.answer(now, asked.asker, answer);
    }

    pub(super) fn answer(&mut self, now: Local, asker: Asker, answer: Result<Vec<Bytes>, (String, String)>) {
        match (asker, answer) {
            (Asker::Child { branch, link, id }, answer) => {
                let enrolled = match answer {
                    Ok(chain) => proto::Enrolled { id, chain, ..Default::default() },
                    Err((code, text)) => {
                        self.event(now, What::Refused { code: code.clone(), text: text.clone() });
                        proto::Enrolled { id, code, text, ..Default::default() }
                    }
                };
                let command = Command::Enrolled { link, enrolled: Box::new(enrolled) };
                self.outputs.push_back(Output::Branch { branch: Some(branch), command });
            }
            (Asker::Own, Ok(chain)) => self.outputs.push_back(Output::Certified { chain }),
            // It is asked for again, long before the certificate ends.
            (Asker::Own, Err((code, text))) => self.event(now, What::Refused { code, text }),
        }
    }

    /// Forgets what nobody answers, and tokens that are over.
    pub(super) fn rest_enrolments(&mut self, now: Local) {
        self.enrolments.asked.retain(|_, asked| asked.until > now);
        if let Some(civil) = self.time.civil(now) {
            self.enrolments.admitted.retain(|_, token| token.until > civil);
        }
    }
}

pub(super) fn expelled(node: Uuid) -> Refused {
    ("node.expelled", format!("node {node} was expelled; a new board needs a key of its own: delete its data folder"))
}

/// Questions on their way up at once, and of one child.
const ASKED: usize = 1_024;
const ASKED_BY_ONE: usize = 128;
/// Certificates under way at once.
const CERTIFIED: usize = 64;
/// µs that one may take: a country's length and a disk's turn, many times over.
const PATIENCE: i64 = 20 * SECOND;
