//! Listeners that misbehave, once they have joined: bounded, counted and cut by their parent, or so it is hoped.
use crate::plan::{Cohort, Kind};
use crate::sockets;
use crate::speaker::{Hot, Speaker};
use crate::world::World;
use loa::io::clock::Now;
use loa::io::identity::new_id;
use loa::io::socket::Socket;
use loa::proto;
use loa::session::Departure;
use loa::time::{Local, MILLISECOND, SECOND};
use prost::Message;
use std::sync::Arc;

/// What a speaker does wrong, and when next.
pub struct Mischief {
    pub kind: Kind,
    next: Local,
    round: u32,
}

impl Mischief {
    pub fn new(kind: Kind, now: Local) -> Self {
        Self { kind, next: now, round: 0 }
    }

    pub fn poll_timeout(&self) -> Option<Local> {
        (!matches!(self.kind, Kind::Stalled | Kind::Deaf)).then_some(self.next)
    }
}

impl Speaker {
    pub fn turn_hostile(&mut self, now: Now, hot: &mut Hot, kind: Kind) {
        hot.cohort = Cohort::Hostile;
        self.mischief = Some(Mischief::new(kind, now.local));
    }

    pub fn kind(&self) -> Option<Kind> {
        self.mischief.as_ref().map(|mischief| mischief.kind)
    }

    /// What is due of it now.
    pub fn misbehave(&mut self, now: Now, hot: &mut Hot, world: &World) {
        let Some(mischief) = self.mischief.as_mut().filter(|mischief| mischief.next <= now.local) else { return };
        mischief.round += 1;
        let (kind, round) = (mischief.kind, mischief.round);
        mischief.next = now.local + if kind == Kind::Nacks { NACKS } else { OTHERWISE };
        let Some(link) = self.link.filter(|_| self.joined) else { return };
        match kind {
            Kind::Stalled | Kind::Deaf => {}
            Kind::Nacks => {
                for ear in hot.ears.iter().filter(|ear| ear.asked) {
                    let track = bytes::Bytes::copy_from_slice(world.tracks[ear.track].info.id.as_bytes());
                    let range = proto::Range { first: ear.next().saturating_sub(INDICES), count: INDICES };
                    let nack = proto::Nack { track, ranges: vec![range], round };
                    let body = Some(proto::datagram::Body::Nack(nack));
                    let datagram = proto::Datagram { body }.encode_to_vec().into();
                    self.driver.send(now.instant, link, Departure::Datagram(datagram));
                }
            }
            Kind::Lies => {
                let lie = proto::Report {
                    node: bytes::Bytes::copy_from_slice(new_id(loa::io::clock::wall()).as_bytes()),
                    area: "vn/99/99999".into(),
                    name: "x".repeat(400),
                    state: "sounding".into(),
                    received: u64::MAX,
                    lost: u64::MAX,
                    at: i64::MAX,
                    ..proto::Report::default()
                };
                if let Some(session) = &mut self.session {
                    session.report(now.local, lie, true);
                }
            }
            Kind::Wanders => {
                let Ok(from) = self.driver.socket().local_address() else { return };
                let Ok(socket) = Socket::bind((from.ip(), 0).into(), world.plan.receive_buffer) else { return };
                let descriptor = socket.descriptor();
                sockets::set_gro(descriptor, world.plan.gro);
                if sockets::connect(descriptor, self.parent()).is_ok() {
                    hot.socket = descriptor;
                    self.driver.rebind(Arc::new(socket));
                    // The parent learns of the new address by what comes from it.
                    if let Some(session) = &mut self.session {
                        session.handle_late(now.local);
                    }
                }
            }
            Kind::Hydra => {
                for _ in 0..HEADS {
                    let _ = self.driver.dial(now.instant, self.parent());
                }
            }
        }
    }
}

/// 2,000 indices a second: four times what a child may ask for.
const NACKS: i64 = 100 * MILLISECOND;
const INDICES: u64 = 200;
const OTHERWISE: i64 = SECOND;
/// Sessions that one identity opens beside its own, each second anew.
const HEADS: usize = 15;
