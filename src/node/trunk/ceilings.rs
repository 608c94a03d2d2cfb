//! However a parent behaves, a trunk holds no more for it than its ceiling (the page of `node` has the table).
use super::hostile::{NOW, id, relay, signed, synchronise};
use super::keys::Brought;
use super::*;
use crate::broadcast::{self, Body, Hush, Priority};
use crate::key::SigningKey;
use crate::time::SECOND;
use crate::track::Cipher;
use prost::Message;

impl Trunk {
    /// Bytes that what parents say has filled: orders that wait for their grant, keys that wait for their order, logs
    /// with the packets remembered of each, urgent packets to be sent again, jobs under way.
    fn held_for_parents(&self) -> usize {
        let signed = |signed: &proto::Signed| signed.encoded_len() + size_of::<proto::Signed>();
        let parked: usize = self.parked.iter().map(|(order, _)| signed(order) + size_of::<From>()).sum();
        let early = self.early.len() * (size_of::<(Uuid, (Secret, Brought))>() + size_of::<Uuid>());
        let logs: usize = self.logs.values().map(|log| size_of::<LogTrack>() + log.memory()).sum();
        let repeats = self.repeats.len() * size_of::<((Local, u64, Uuid), Packet)>();
        let jobs = self.jobs.len() * size_of::<Pending>();
        parked + early + logs + repeats + jobs
    }
}

/// What the world does: jobs are done, all else is carried away.
fn carry_out(trunk: &mut Trunk, now: Local) {
    while let Some(output) = trunk.poll_output() {
        if let Output::Job { job, .. } = output {
            trunk.handle_input(now, Input::Done { job, done: Done::Ok });
        }
    }
}

#[test]
fn a_parent_that_fills_all_it_can_makes_a_trunk_hold_no_more_than_its_ceiling() {
    let mut trunk = relay();
    synchronise(&mut trunk);
    carry_out(&mut trunk, Local(SECOND));
    let empty = trunk.held_for_parents();
    let stranger = SigningKey::from_seed(&[9; 32]);
    let hush = |until: i64| Body::Hush(Hush { until: NOW + until, up_to: Priority::Normal, exempt: Vec::new() });
    let genuine = signed(40, "vn", hush(60 * SECOND));
    let mut most = 0;
    for number in 0..3_000u64 {
        let now = Local(SECOND + number as i64 * 1_000);
        // Orders of nobody's, as long as an order may be.
        let areas: Vec<Area> =
            (0..64).map(|at| format!("vn/{at:02}/{}", "x".repeat(30)).parse().expect("an area")).collect();
        let order = Order::new(id(1_000 + number), stranger.id(), number, NOW, areas, hush(SECOND));
        trunk.handle_order(now, broadcast::sign(&order, &stranger), From::Push);
        trunk.handle_key(now, id(5_000 + number), Secret { key: [1; 16], salt: [2; 12] }, Brought::Link);
        // Logs without number, each packed with one true order at as many places as may be.
        let (log, secret) = (id(9_000 + number / 40), Secret { key: [3; 16], salt: [4; 12] });
        trunk.handle_log(0, log, number as u32 / 40, secret.clone(), 0);
        for at in 0..8 {
            let index = number % 40 * 8 + at;
            let cipher = Cipher::new(&secret, number as u32 / 40);
            let bytes = cipher.protect(index, index as u32, 97, &genuine.encode_to_vec());
            let _ = trunk.handle_log_packet(now, Packet { index, bytes }, log);
        }
        most = most.max(trunk.held_for_parents());
        carry_out(&mut trunk, now);
    }
    assert!(
        trunk.parked.len() <= 512 && trunk.early.len() <= 2_048 && trunk.logs.len() <= 64 && trunk.repeats.len() <= 512
    );
    assert!(most > empty + CEILING / 8, "{most} bytes: the parent did not try hard");
    assert!(most <= CEILING, "{most} bytes are held for a parent, {CEILING} are the ceiling");
}

/// 64 logs, of each 256 packets of at most 1,200 bytes: all else is small beside them.
const CEILING: usize = 24 << 20;
