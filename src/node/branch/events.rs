//! What children's sessions say.

use super::guard::Ignored;
use super::{Branch, Cut, Notice, Output, REPORTS, REPORTS_APART, Standing, Told};
use crate::broadcast::Area;
use crate::node::{Link, Role};
use crate::proto;
use crate::session::{self, is_sane_report};
use crate::time::Local;

impl Branch {
    /// Whether sound that left this branch waits behind sound. Then none is sent again to single children: each
    /// answer costs twice what its packet costs among all others, and would make all of them later. They ask again.
    pub fn set_behind(&mut self, behind: bool) {
        self.behind = behind;
    }

    /// The first report goes up at once, those of the next moment together.
    pub(super) fn flush_reports(&mut self, now: Local) {
        let (waiting, longest) =
            (self.reports.len() + self.receipts.len(), self.reports.len().max(self.receipts.len()));
        if waiting > 0 && (self.reports_due <= now || longest >= REPORTS) {
            self.reports_due = now + REPORTS_APART;
            self.give_reports();
        }
    }

    pub(super) fn give_reports(&mut self) {
        if !self.reports.is_empty() {
            self.outputs.push_back(Output::Notice(Notice::Reports(std::mem::take(&mut self.reports))));
        }
        if !self.receipts.is_empty() {
            self.outputs.push_back(Output::Notice(Notice::Receipts(std::mem::take(&mut self.receipts))));
        }
    }

    pub(super) fn handle_event(&mut self, now: Local, link: Link, event: session::parent::Event) {
        use session::parent::Event;
        let Some(child) = self.children.get_mut(&link) else { return };
        match event {
            Event::Hello { .. }
            | Event::Listen { .. }
            | Event::Fetch { .. }
            | Event::Report(_)
            | Event::Health(_)
            | Event::Receipts(_)
                if child.peer.role == Role::New =>
            {
                let text = "a node without a certificate asks for one by Enrol, and says Hello when it has it";
                self.cut(link, Cut::Protocol, "hello.new", text);
            }
            Event::Enrol(enrol) => {
                let peer = child.peer;
                // Each question costs signatures. Whoever has no certificate asks for it; who has one renews it.
                let may = match (peer.role, &child.standing) {
                    (Role::New, _) => enrol.token.is_some() && child.questions.newcomers(),
                    (_, Standing::Waiting) => false,
                    (Role::Relay, Standing::Member { .. }) => child.questions.relays(now),
                    (_, Standing::Unplaced | Standing::Member { .. }) => {
                        enrol.token.is_none() && child.questions.own(now)
                    }
                };
                match may {
                    true => self.outputs.push_back(Output::Notice(Notice::Enrol { link, peer, enrol })),
                    false => self.counters.ignored(Ignored::Wish, 1),
                }
            }
            Event::Hello { node, placement, grants } => {
                let peer = child.peer;
                if node != peer.node {
                    self.counters.violations += 1;
                    let text = format!("Hello names node {node}, the certificate {}; use one identity", peer.node);
                    self.cut(link, Cut::HelloNode, "hello.node", &text);
                } else {
                    self.outputs.push_back(Output::Notice(Notice::Hello { link, peer, placement, grants }));
                }
            }
            Event::Listen { track, from } => self.listen(now, link, track, from, true),
            Event::Unlisten { track } => self.unlisten(now, link, track),
            Event::Fetch { track, from, until } => self.fetch(now, link, track, from, until),
            Event::Nack { track, index } => {
                let Some(carried) = self.tracks.get(&track) else { return };
                let log = carried.carry.log && matches!(child.standing, Standing::Member { .. });
                if !log && !child.listens.contains(&track) {
                    return;
                }
                let bytes = carried.ring.get(index).cloned();
                if self.behind && bytes.is_some() && !log && !carried.carry.emergency {
                    self.counters.ignored(Ignored::NackBehind, 1);
                } else {
                    child.session.answer(now, track, index, bytes);
                }
            }
            Event::Report(mut report) => {
                if !is_sane_report(&report) {
                    self.counters.ignored(Ignored::Report, 1);
                } else if matches!(child.standing, Standing::Member { .. } | Standing::Unplaced) {
                    report.node = child.peer.node.as_bytes().to_vec().into();
                    report.role = child.peer.role.as_str().into();
                    report.parent = Default::default();
                    self.reports.push(report);
                }
            }
            Event::Health(reports) => {
                if let Standing::Member { area, .. } = &child.standing
                    && child.peer.role == Role::Relay
                {
                    let own = child.peer.node;
                    let inside = |report: &proto::Report| {
                        report.area.parse::<Area>().is_ok_and(|place| area.contains(&place))
                            && report.node.len() == 16
                            && report.node.as_ref() != own.as_bytes()
                            && report.parent.len() == 16
                            && is_sane_report(report)
                    };
                    let all = reports.len();
                    let before = self.reports.len();
                    self.reports.extend(reports.into_iter().filter(inside));
                    self.counters.ignored(Ignored::Report, (all + before - self.reports.len()) as u64);
                } else {
                    self.counters.ignored(Ignored::Report, reports.len() as u64);
                }
            }
            Event::Receipts(receipts) => match &child.standing {
                // Sums are a relay's, and of where it stands.
                Standing::Member { area, .. } if is_within(&receipts, child.peer.role, area) => {
                    self.receipts.push(Told { link, node: child.peer.node, receipts: *receipts });
                }
                _ => self.counters.ignored(Ignored::Receipts, 1),
            },
            Event::Hearing { group } => self.hear(link, group),
            Event::Standby { standby } => self.stand_by(now, link, standby),
            Event::Breaker { open } => {
                if std::mem::replace(&mut child.broken, open) != open {
                    match open {
                        true => self.counters.paused += 1,
                        false => self.counters.paused -= 1,
                    }
                }
                let hears = child.hears;
                for track in child.listens.clone().into_iter().filter(|_| !hears) {
                    self.outputs.push_back(match open {
                        true => Output::Unlisten { link, track },
                        false => Output::Listen { link, track },
                    });
                }
            }
            Event::PathEchoed { .. } => {}
            Event::Silent => {
                self.cut(link, Cut::Silent, "session.silent", "nothing was heard from this child for too long");
            }
            Event::Goodbye { code, text } => self.cut(link, Cut::Goodbye, &code, &text),
        }
    }
}

/// A child speaks for itself, a relay also for those that stand within its area.
fn is_within(receipts: &proto::Receipts, role: Role, area: &Area) -> bool {
    let inside = |sum: &proto::AreaSum| sum.area.parse::<Area>().is_ok_and(|place| area.contains(&place));
    match role {
        Role::Relay => receipts.sums.iter().flat_map(|sum| &sum.areas).all(inside),
        Role::Speaker | Role::New => receipts.sums.is_empty(),
    }
}
