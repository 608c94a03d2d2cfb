//! What a child says of itself and of those below: beats, and reports.
use super::super::exchange::Beat;
use super::super::{frame, wire};
use super::{Child, REPORTS_PER_FRAME};
use crate::proto;
use crate::proto::datagram::Body;
use crate::proto::to_parent;
use crate::time::Local;
use prost::Message;

impl Child {
    /// Sends reports of those below, at most 64 a frame.
    pub fn health(&mut self, reports: Vec<proto::Report>) {
        for reports in reports.chunks(REPORTS_PER_FRAME) {
            self.health_frame(reports);
        }
    }

    /// Says what became of orders, in one message: the caller keeps it to [`wire::MOST_RECEIPTS`] of each kind and within
    /// a frame.
    pub fn receipts(&mut self, receipts: proto::Receipts) {
        self.control(to_parent::Body::Receipts(receipts));
    }

    pub(super) fn send_beat(&mut self, now: Local, beat: Beat) {
        // At join the beats are for the clock: sixteen times the same report would be waste.
        let report = self.report.clone().filter(|_| self.fresh || beat == Beat::Regular);
        let expected = (self.came + self.lost).max(1);
        let loss = (self.lost as u64 * 1_000 / expected as u64) as u32;
        (self.came, self.lost, self.fresh) = (0, 0, false);
        let mut beat = proto::Beat { sent: now.0 as u64, report, loss };
        if beat.encoded_len() > wire::MAX_DATAGRAM - 8 {
            // Better alive without a report than silent.
            beat.report = None;
            self.counters.dropped += 1;
        }
        self.datagram(wire::datagram(Body::Beat(beat)));
    }

    fn health_frame(&mut self, reports: &[proto::Report]) {
        let health = proto::Health { reports: reports.to_vec() };
        if health.encoded_len() <= frame::MAX_FRAME - 16 {
            self.control(to_parent::Body::Health(health));
        } else if let (left, right @ [_, ..]) = reports.split_at(reports.len() / 2)
            && !left.is_empty()
        {
            self.health_frame(left);
            self.health_frame(right);
        } else {
            self.counters.dropped += reports.len() as u64;
        }
    }
}
