//! What this node pulls, airs from its store and sounds, now: worked out anew at every order, key and
//! instant at which the answer may change (DESIGN §3 "Who gets what", §7).

use super::super::instants::{
    COMES_BACK, COMES_BACK_SPREAD, INSIST, INSIST_SPREAD, LEAD, LEAVES, LEAVES_SPREAD, STARTS_SPREAD, spread,
};
use super::tracks::{Fetch, Track};
use super::{Command, Trunk, What};
use crate::broadcast::{Entry, Purpose, State, Tone, choose_late};
use crate::playout::{Player, Program};
use crate::session::child::Wish;
use crate::time::{Civil, Local, MILLISECOND, SECOND};
use crate::track::Info;
use uuid::Uuid;

impl Trunk {
    pub(super) fn tune(&mut self, now: Local) {
        let civil = self.time.civil(now);
        if let Some(civil) = civil {
            self.authorities.expire(civil);
            self.roster.expelled.expire(civil);
            // What still sounds here, since it sounds later here, is not over.
            for broadcast in self.book.expire(civil - self.late()) {
                self.end_broadcast(now, broadcast);
            }
            self.end_orphans(now, civil);
        }
        let next_choice = self.choose(now, civil);
        let next_coming = self.look_ahead(civil);
        let next_pull = civil.and_then(|civil| self.pull(now, civil));
        let next = [next_choice, next_coming, next_pull].into_iter().flatten().min();
        let leave = self.tracks.values().filter_map(|track| track.leave_at).min();
        let longest = leave.map_or(now + LOOK_AGAIN, |leave| leave.clamp(now + MILLISECOND, now + LOOK_AGAIN));
        self.tune_at = Some(match (next, self.time.phase(now)) {
            // One µs on: at the instant itself, rounded down, the answer may still be the old one.
            (Some(at), Some(phase)) => (phase.local(at) + 1).clamp(now + MILLISECOND, longest),
            _ => longest,
        });
    }

    /// What sounds once an emergency or a hush is over is listened to a moment before, each node at an instant of its
    /// own: tens of thousands of siblings come back for it. Returns when the answer may change.
    fn look_ahead(&mut self, civil: Option<Civil>) -> Option<Civil> {
        self.coming = None;
        let (place, civil) = (self.place.as_ref()?, civil.filter(|_| self.player.is_some())?);
        let ahead = self.comes_back();
        let choice = choose_late(&self.book, &place.area, Some(civil + ahead), self.late());
        self.coming = choice.broadcast;
        choice.next.map(|next| next - ahead)
    }

    /// So long before it sounds again it is asked for, µs.
    fn comes_back(&self) -> i64 {
        COMES_BACK + spread(self.options.node, COMES_BACK_SPREAD)
    }

    fn end_broadcast(&mut self, now: Local, broadcast: Uuid) {
        let of = |track: &Track| track.broadcast == broadcast;
        let tracks: Vec<Uuid> = self.tracks.iter().filter(|(_, track)| of(track)).map(|(id, _)| *id).collect();
        for track in tracks {
            self.end_track(now, track);
        }
        if self.player.is_none() {
            let at = self.time.civil(now).unwrap_or_default();
            self.event(now, What::Ended { broadcast, at, whole: None });
        }
    }

    /// The tuner's choice to the player. It is asked a moment ahead, since steps are planned ahead, so
    /// that a change is heard at its instant. Returns when to ask again.
    fn choose(&mut self, now: Local, civil: Option<Civil>) -> Option<Civil> {
        if self.place.is_none() && !self.options.parents.is_empty() {
            self.call(now, civil);
        }
        let place = self.place.as_ref()?;
        let ahead = if self.player.is_some() { Player::LEAD } else { 0 };
        let late = self.late();
        let choice = choose_late(&self.book, &place.area, civil.map(|civil| civil + ahead), late);
        let next = choice.next.map(|next| next - ahead);
        self.tuned = Some(choice);
        let chosen = choice.broadcast.and_then(|id| self.book.get(id));
        self.said = chosen.and_then(|entry| said(self.said, entry, civil? + ahead - late));
        let program = chosen.and_then(|entry| {
            let broadcast = &entry.broadcast;
            Some(Program {
                broadcast: entry.id,
                priority: broadcast.priority,
                purpose: broadcast.purpose,
                track: broadcast.renditions.first()?.clone(),
                delay: broadcast.delay + late,
                until: broadcast.until,
                tone: self
                    .said
                    .map(|(_, tone)| tone)
                    .or(broadcast.tone)
                    .map(|tone| Tone { at: tone.at + late, ..tone }),
            })
        });
        if let Some(player) = &mut self.player {
            player.handle_program(now, program);
        }
        next
    }

    /// Listens, airs and fetches as the broadcasts in the book ask. Returns the next instant of interest.
    fn pull(&mut self, now: Local, civil: Civil) -> Option<Civil> {
        let ahead =
            LEAD + if self.options.branches > 0 { STARTS_SPREAD } else { spread(self.options.node, STARTS_SPREAD) };
        let own = self.late();
        self.open_shelf();
        let mut next: Option<Civil> = None;
        let mut note = |at: Civil| next = Some(next.map_or(at, |next| next.min(at)));
        for id in self.tracks.keys().copied().collect::<Vec<_>>() {
            if self.tracks.get(&id).is_some_and(|track| track.shared) {
                self.hand_over(now, id);
            }
            let Some(track) = self.tracks.get(&id) else { continue };
            let Some(entry) = self.book.get(track.broadcast) else {
                self.end_track(now, id);
                continue;
            };
            let over = entry.cancelled_at.unwrap_or(entry.broadcast.ends() + own);
            let starts = track.info.anchor - ahead;
            if civil >= over {
                if matches!(entry.state, State::Cancelled) || entry.cancelled_at.is_some() {
                    self.end_track(now, id);
                }
                continue;
            }
            note(over);
            let complete = track.complete();
            if entry.broadcast.prepared {
                if !complete && track.key.is_some() {
                    self.plan_fetch(now, civil, id);
                }
                self.stop_listening(now, id);
                continue;
            }
            if track.made_here || complete {
                if complete && track.info.packets.is_some() {
                    if civil + READ_LEAD >= track.info.anchor {
                        self.start_source(now, id);
                    } else {
                        note(track.info.anchor - READ_LEAD);
                    }
                }
                self.stop_listening(now, id);
                continue;
            }
            if track.key.is_none() {
                if let Some(at) = self.ask_for_key(now, civil, id) {
                    note(at);
                }
                continue;
            }
            if civil < starts {
                note(starts);
                // An emergency that waited for its key listened to ask for it.
                self.stop_listening(now, id);
                self.plan_fetch(now, civil, id);
            } else if self.wanted(id) {
                self.start_listening(now, civil, id);
                if let Some(at) = self.insist(civil, id) {
                    note(at);
                }
            } else if !self.lingers(now, id) {
                self.stop_listening(now, id);
            }
        }
        next
    }

    fn start_listening(&mut self, now: Local, civil: Civil, id: Uuid) {
        let (own, ahead) = (spread(self.options.node, INSIST_SPREAD), self.comes_back());
        let (silenced, late) = (self.is_silenced(civil, id), self.late());
        let Some(track) = self.tracks.get_mut(&id) else { return };
        track.leave_at = None;
        if track.listening {
            return;
        }
        (track.listening, track.flowing) = (true, false);
        track.fetch = None;
        let wish = wish(track, late, if silenced { civil + ahead } else { civil });
        let first = track.info.instant(u64::from(track.info.packets.is_none()));
        let counted = track.emergency && track.first && !track.asks && civil < first;
        track.insist_at = counted.then_some(first + INSIST + own);
        let wish = Wish { from: self.first_missing(id, wish.from), counted, ..wish };
        let due = self.due(now, id, wish.from);
        self.parents.listen(now, wish, due);
    }

    /// When the packet should be here, if it is made in time.
    fn due(&self, now: Local, id: Uuid, index: u64) -> Option<Local> {
        let info = &self.tracks.get(&id)?.info;
        // A live one is sent once its sound has been spoken; and as a rule this node has just asked.
        let sent = info.instant(index + u64::from(info.packets.is_none()));
        Some(self.line?.local(sent).max(now) + ON_THE_WAY)
    }

    /// It is on, something else sounds or nothing may, and it comes back: what would have sounded before is of no use.
    fn is_silenced(&self, civil: Civil, id: Uuid) -> bool {
        let Some(track) = self.tracks.get(&id).filter(|track| !track.listened_to()) else { return false };
        let begun = self.book.get(track.broadcast).is_some_and(|entry| entry.broadcast.from + self.late() <= civil);
        let chosen = self.tuned.and_then(|choice| choice.broadcast);
        begun && self.coming == Some(track.broadcast) && chosen != self.coming
    }

    /// An emergency whose key should have come with its order, or from a parent that thinks it has: Listen is answered
    /// with the key. Returns when to look again.
    fn ask_for_key(&mut self, now: Local, civil: Civil, id: Uuid) -> Option<Civil> {
        let wait = KEY_WAIT + spread(self.options.node, INSIST_SPREAD);
        let track = self.tracks.get_mut(&id).filter(|track| track.emergency && track.first && !track.listening)?;
        let at = *track.insist_at.get_or_insert(civil + wait);
        if civil < at {
            return Some(at);
        }
        track.asks = true;
        self.start_listening(now, civil, id);
        None
    }

    /// An emergency's packets should come without a word: asks for them once they are late. Returns when to look again.
    fn insist(&mut self, civil: Civil, id: Uuid) -> Option<Civil> {
        let track = self.tracks.get_mut(&id)?;
        let at = track.insist_at.filter(|_| !track.flowing)?;
        if civil < at {
            return Some(at);
        }
        (track.insist_at, track.asks) = (None, true);
        self.parents.insist(id);
        None
    }

    /// What an emergency or a hush silences is listened to a moment longer, each node for a time of its own: tens of
    /// thousands of siblings have the same to tell their parent, and the emergency comes first.
    fn lingers(&mut self, now: Local, id: Uuid) -> bool {
        let own = LEAVES + spread(self.options.node, LEAVES_SPREAD);
        let chosen = self.tuned.and_then(|choice| choice.broadcast);
        let Some(track) = self.tracks.get_mut(&id) else { return false };
        // Another rendition of what sounds is left at once: it was changed for its cost.
        let silenced = self.player.is_some() && chosen != Some(track.broadcast);
        track.listening && silenced && *track.leave_at.get_or_insert(now + own) > now
    }

    /// A newer revision of the same track: most often a live one whose last packet is now known.
    pub(super) fn revise_track(&mut self, now: Local, id: Uuid, info: Info, delay: i64) {
        let late = self.late();
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let ended = track.info.packets != info.packets;
        track.info = info;
        track.delay = delay;
        if track.listening
            && let Some(civil) = self.time.civil(now)
        {
            let wish = wish(track, late, civil);
            self.parents.listen(now, wish, None);
        }
        if ended {
            self.tell_branches(Command::Flush { track: id });
        }
    }

    pub(super) fn stop_listening(&mut self, now: Local, id: Uuid) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        // What it hears was said of this listening: one that begins later has heard nothing yet.
        (track.flowing, track.leave_at) = (false, None);
        if std::mem::take(&mut track.listening) {
            track.asks = true;
            self.parents.unlisten(now, id);
        }
    }

    /// Fetches a stored track at an instant that the node's id spreads over the time there is; what is wanted only
    /// because a child asks for it, at once: the child has spread it.
    fn plan_fetch(&mut self, now: Local, civil: Civil, id: Uuid) {
        let wanted = self.wanted_ahead(id);
        let (node, uncounted) = (self.options.node, self.is_uncounted(id));
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if !wanted {
            track.fetch = track.fetch.take().filter(|fetch| fetch.asked);
            return;
        }
        if !track.stored || track.fetch.is_some() || uncounted {
            return;
        }
        // What is here in part has its room.
        if track.have.is_empty() && !self.find_room(now, id) {
            return;
        }
        let Some(track) = self.tracks.get_mut(&id) else { return };
        // Half of the time left, so that the slow rate has the other half.
        let window = ((track.info.anchor - civil - LEAD) / 2).clamp(1, FETCH_SPREAD);
        let spread = if track.asked_ahead { 0 } else { spread(node, window) };
        track.fetch = Some(Fetch { at: now + spread, asked: false });
    }

    /// Says anew what this node wants, to a parent that has just welcomed it.
    pub(super) fn listen_again(&mut self, now: Local) {
        for track in self.tracks.values_mut() {
            (track.listening, track.flowing, track.asks, track.leave_at) = (false, false, false, None);
        }
        self.fetch_again(now);
        self.tune(now);
    }

    /// What was asked of another parent comes from this one.
    pub(super) fn fetch_again(&mut self, now: Local) {
        let fetches = self.tracks.values_mut().filter_map(|track| track.fetch.as_mut());
        fetches.filter(|fetch| fetch.asked).for_each(|fetch| fetch.at = now);
    }

    /// What the branches carry, for nodes whose branches were there before their tracks.
    pub(super) fn announce_self(&mut self, now: Local) {
        if let Some(phase) = self.time.phase(now) {
            self.tell_branches(Command::Phase(phase));
        }
    }

    pub(super) fn is_hushed(&self) -> bool {
        self.tuned.is_some_and(|choice| choice.hushed)
    }
}

/// The words with which an exercise or test begins here. A loudspeaker that comes to it late, or back to it, says them
/// then: nobody who begins to listen with it may take it for real. `before`: what it began with when it was chosen last.
fn said(before: Option<(Uuid, Tone)>, entry: &Entry, now: Civil) -> Option<(Uuid, Tone)> {
    let tone = entry.broadcast.tone.filter(|_| entry.broadcast.purpose != Purpose::Real)?;
    let again = || Tone { at: if now <= tone.at + ON_TIME { tone.at } else { now }, ..tone };
    Some(before.filter(|(id, _)| *id == entry.id).unwrap_or_else(|| (entry.id, again())))
}

/// What to ask a parent for, from the first packet on that can still sound; `own`: by how much all sounds later here.
fn wish(track: &Track, own: i64, civil: Civil) -> Wish {
    let packet = track.info.packet_micros().max(1);
    let late = (civil - (track.info.anchor + track.delay + own)).max(0);
    Wish {
        track: track.info.id,
        ssrc: track.info.ssrc,
        duration: packet,
        from: (late / packet).unsigned_abs(),
        useful: (track.delay - packet - USEFUL_MARGIN).max(packet / 2),
        packets: track.info.packets,
        counted: false,
    }
}

/// Of a choice that is handed in [`Player::LEAD`] ahead: so much later its first sample is still planned in time.
const ON_TIME: i64 = 100 * MILLISECOND;
/// The rule is asked at least this often: a guard, not a clock.
const LOOK_AGAIN: i64 = SECOND;
/// Beyond the order, at which its key is missed.
const KEY_WAIT: i64 = 500 * MILLISECOND;
/// A round trip and some: a packet that was asked for is not late before.
const ON_THE_WAY: i64 = 150 * MILLISECOND;
/// Before the first packet is due, by which it is read from the store.
const READ_LEAD: i64 = 500 * MILLISECOND;
/// A packet must be at the device's planner before its sound: horizon and decoding.
const USEFUL_MARGIN: i64 = 120 * MILLISECOND;
/// Fetches ahead spread over at most ten minutes.
const FETCH_SPREAD: i64 = 600 * SECOND;
