//! Judges what a node does by what it was truly given, and by nothing that the node says.

use crate::country::{HERE, NOW, area};
use crate::programme::{Given, LENGTH, LOG, Programme, log_cipher};
use bytes::Bytes;
use loa::audio::{Content, Step};
use loa::broadcast::Priority;
use loa::node::branch::Command;
use loa::node::trunk::What;
use loa::playout::Player;
use loa::proto::{self, record};
use loa::time::{MILLISECOND, SECOND};
use loa::track::{Cipher, Packet};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a node may do at all, as of what has been given to it.
pub struct Oracle<'a> {
    programme: &'a Programme,
    /// Payloads of lies that are nobody's crime to pass on.
    lies: &'a BTreeSet<Bytes>,
    /// When each order was handed to the node (µs of the world).
    given: BTreeMap<Uuid, i64>,
    /// Logs that a parent named, with their ciphers: anybody may have one, what stands in it is signed.
    logs: BTreeMap<Uuid, Cipher>,
    /// Until then a node that has just started knows no time, and so no hush.
    timeless: i64,
    /// Steps of 10 ms in which something had to sound, and those in which it did.
    pub expected: u64,
    pub sounded: u64,
    /// Steps of true sound, and of tones.
    pub sound: u64,
    pub tones: u64,
    /// The first thing that must not be.
    pub wrong: Option<String>,
}

impl<'a> Oracle<'a> {
    pub fn new(programme: &'a Programme, lies: &'a BTreeSet<Bytes>) -> Self {
        Self {
            programme,
            lies,
            given: BTreeMap::new(),
            logs: BTreeMap::from([(LOG, log_cipher())]),
            timeless: 0,
            expected: 0,
            sounded: 0,
            sound: 0,
            tones: 0,
            wrong: None,
        }
    }

    pub fn handle_given(&mut self, now: i64, given: &Given) {
        if let Given::Order { id, .. } = given {
            self.given.entry(*id).or_insert(now);
        }
    }

    pub fn handle_log(&mut self, log: Uuid, cipher: Cipher) {
        self.logs.insert(log, cipher);
    }

    pub fn handle_restart(&mut self, now: i64) {
        self.timeless = now + SETTLES;
    }

    pub fn is_given(&self, order: Uuid) -> bool {
        self.given.contains_key(&order)
    }

    /// A step of the plan whose first sample is heard at `at` (µs of the world).
    pub fn handle_step(&mut self, at: f64, step: &Step) {
        let sounds = !matches!(step.content, Content::Silence);
        if self.must_sound(at) {
            self.expected += 1;
            self.sounded += u64::from(sounds);
        }
        let judged = match &step.content {
            Content::Silence => Ok(()),
            Content::Tone { from, .. } => self.judge_tone(at, *from),
            Content::Sound { track, sound, from } => {
                let made = self.programme.tracks.get(track).and_then(|track| track.records.get(sound.index as usize));
                match made {
                    Some(record) if sound.records == [record] => self.judge_sound(at, *track, sound.index, *from),
                    Some(_) => Err(format!("packet {} of track {track} sounds with other sound", sound.index)),
                    None => Err(format!("a track that nobody made sounds: {track}, packet {}", sound.index)),
                }
            }
            Content::Conceal { track, index, from } => self.judge_sound(at, *track, *index, *from),
        };
        match (&step.content, judged) {
            (_, Err(text)) => self.blame(format!("{text}, at {:.3} s", at / 1e6)),
            (Content::Sound { .. }, _) => self.sound += 1,
            (Content::Tone { .. }, _) => self.tones += 1,
            _ => {}
        }
    }

    /// What leaves the node towards those below it.
    pub fn handle_command(&mut self, command: &Command) {
        match command {
            Command::Packet { track, packet, .. } => match self.programme.tracks.get(track) {
                Some(made) if made.packets.get(packet.index as usize) == Some(packet) => {}
                Some(_) => self.blame(format!("packet {} of track {track} is passed on and false", packet.index)),
                None => self.judge_logged(*track, packet),
            },
            Command::Push(orders) => {
                orders.iter().for_each(|signed| self.judge_order(signed.payload.clone(), "pushed"))
            }
            Command::Carry(carry) if !carry.log => {
                let made = self.programme.tracks.get(&carry.track);
                if made.is_none_or(|made| made.secret != carry.secret) {
                    self.blame(format!("a track that nobody made is carried, or by another key: {}", carry.track));
                }
            }
            _ => {}
        }
    }

    /// What the node writes down, for after a restart.
    pub fn handle_record(&mut self, now: i64, record: &proto::Record) {
        match &record.body {
            Some(record::Body::Order(signed)) => self.judge_order(signed.payload.clone(), "written down"),
            Some(record::Body::Time(time)) if (time - NOW.0 - now).abs() > SECOND / 10 => {
                self.blame(format!("the time is taken for {} µs off what it is", time - NOW.0 - now));
            }
            Some(record::Body::Key(_)) => self.blame("a key is written down of what was never stored".into()),
            _ => {}
        }
    }

    pub fn handle_event(&mut self, what: &What) {
        let broadcast = match what {
            What::Began { broadcast, .. } => *broadcast,
            What::Order { id, kind, .. } if *kind == "broadcast" => *id,
            _ => return,
        };
        if !self.programme.broadcasts.contains_key(&broadcast) || !self.is_given(broadcast) {
            self.blame(format!("a broadcast is taken that nobody gave: {broadcast}"));
        }
    }

    fn judge_order(&mut self, payload: Bytes, what: &str) {
        if !self.programme.payloads.contains(&payload) && !self.lies.contains(&payload) {
            self.blame(format!("a false order is {what}"));
        }
    }

    /// A log's packet may be packed again by anybody who listens; the order in it may not be made.
    fn judge_logged(&mut self, log: Uuid, packet: &Packet) {
        let Some(cipher) = self.logs.get(&log) else {
            return self.blame(format!("a packet of a track that nobody made is passed on: {log}"));
        };
        let payload = cipher.unprotect(packet.index, &packet.bytes).ok();
        match payload.and_then(|payload| proto::Logged::decode(payload).ok()) {
            Some(logged) => self.judge_order(logged.payload, "passed on in a log"),
            None => self.blame("a packet of a log is passed on that cannot be read".into()),
        }
    }

    fn judge_tone(&self, at: f64, from: u64) -> Result<(), String> {
        let begins = at - from as f64 * MICROS_PER_SAMPLE;
        let tones = self.programme.broadcasts.iter().filter_map(|(id, truth)| Some((id, truth, truth.tone?)));
        let mut reason = "a tone sounds that belongs to no emergency".to_owned();
        for (id, truth, (tone, lasts)) in tones {
            if (begins - tone as f64).abs() > APART || at > (tone + lasts) as f64 + APART {
                continue;
            }
            match self.in_force(at, *id, truth.priority, truth.begins, truth.ends) {
                Ok(()) => return Ok(()),
                Err(text) => reason = text,
            }
        }
        Err(reason)
    }

    fn judge_sound(&self, at: f64, track: Uuid, index: u64, from: u32) -> Result<(), String> {
        let (id, truth) = self
            .programme
            .broadcasts
            .iter()
            .find(|(_, truth)| truth.track == track)
            .ok_or_else(|| format!("a track that nobody made sounds: {track}"))?;
        let info = &self.programme.tracks[&track].info;
        let sample = index as f64 * f64::from(info.duration) + f64::from(from);
        let due = truth.speech as f64 + sample * MICROS_PER_SAMPLE;
        if (at - due).abs() > APART {
            return Err(format!("packet {index} of broadcast {id} sounds {:.0} µs off its time", at - due));
        }
        self.in_force(at, *id, truth.priority, truth.begins, truth.ends)
    }

    /// Whether a broadcast may be heard at that instant.
    fn in_force(&self, at: f64, id: Uuid, priority: Priority, begins: i64, ends: i64) -> Result<(), String> {
        let Some(given) = self.given.get(&id) else { return Err(format!("broadcast {id} sounds and was never given")) };
        if at < (*given).max(begins) as f64 - APART || at > ends as f64 + FADE {
            return Err(format!("broadcast {id}, given at {given}, sounds out of its time, {begins} to {ends}"));
        }
        for stop in self.programme.stops.iter().filter(|stop| stop.broadcast == id) {
            let Some(given) = self.given.get(&stop.id) else { continue };
            let silent = stop.at.max(*given) + FADES;
            // What has come to its own end by then fades there as it always does.
            if at > silent as f64 && ends > silent {
                return Err(format!(
                    "broadcast {id} sounds after it was cancelled for {}, at {given}; its own end is {ends}",
                    stop.at
                ));
            }
        }
        for quiet in self.programme.hushes.iter().filter(|quiet| priority <= quiet.up_to) {
            let silent = |given: &i64| (quiet.from.max(*given).max(self.timeless) + FADES) as f64;
            let known = self.given.get(&quiet.id);
            if known.is_some_and(|given| at > silent(given) && at < (quiet.until - Player::LEAD) as f64) {
                return Err(format!(
                    "broadcast {id} sounds while it is hushed, {} to {}, by {known:?}",
                    quiet.from, quiet.until
                ));
            }
        }
        Ok(())
    }

    /// The bulletin of the whole minute sounds wherever nothing takes its place: what means harm may not silence it.
    fn must_sound(&self, at: f64) -> bool {
        let hushed = |quiet: &crate::programme::Quiet| {
            let (from, until) = ((quiet.from - SECOND) as f64, (quiet.until + SECOND) as f64);
            (from..until).contains(&at)
        };
        let here = area(HERE);
        let others = self.programme.broadcasts.values().filter(|truth| truth.priority > Priority::Normal);
        let other = |truth: &crate::programme::Truth| {
            let (from, until) = ((truth.begins - SECOND) as f64, (truth.ends + SECOND) as f64);
            truth.areas.iter().any(|area| area.contains(&here)) && (from..until).contains(&at)
        };
        let (from, until) = ((4 * SECOND).max(self.timeless + 2 * SECOND) as f64, (LENGTH - 4 * SECOND) as f64);
        (from..until).contains(&at) && !self.programme.hushes.iter().any(hushed) && !others.into_iter().any(other)
    }

    fn blame(&mut self, text: String) {
        self.wrong.get_or_insert(text);
    }
}

const MICROS_PER_SAMPLE: f64 = 1e6 / 48_000.0;
/// How far a sample may be from its instant, µs: a restart in step begins beyond 20 ms.
const APART: f64 = 25_000.0;
/// What comes to its own end without a last packet fades within this, µs.
const FADE: f64 = 100_000.0;
/// Steps stand ready for 120 ms, and what ends fades for 50.
const FADES: i64 = 400 * MILLISECOND;
/// Clock exchanges and a tick after a start.
const SETTLES: i64 = 1_500 * MILLISECOND;
