//! What an operator must know goes into the log too, as much of it as one can read: refusals are made by whoever likes,
//! and a lossy link brings an old order again and again.
use crate::node::trunk::{TROUBLES, What};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Told {
    /// In this second, and those beyond them.
    told: u32,
    held: u64,
    /// Refusals by code: when the last one was told, and how many came since.
    refused: BTreeMap<String, (Instant, u64)>,
}

impl Told {
    pub fn tell(&mut self, now: Instant, what: &What) {
        if let Some((good, code, text)) = self.judge(now, what) {
            match good {
                true => tracing::info!(code, "{text}"),
                false => tracing::warn!(code, "{text}"),
            }
        }
    }

    /// Once a second.
    pub fn rest(&mut self, now: Instant) {
        for (code, count) in self.more(now) {
            tracing::warn!(code, "{count} more refusals of this kind in the last minute");
        }
        if self.held > 0 {
            tracing::warn!(code = "log.held", "{} more refusals and troubles in this second", self.held);
        }
        (self.told, self.held) = (0, 0);
    }

    /// Whether it is good news, with code and text; `None` for what is not to be told, or is counted.
    fn judge<'a>(&mut self, now: Instant, what: &'a What) -> Option<(bool, &'a str, &'a str)> {
        let (code, text) = match what {
            // Said where they arise: by the threads of the device, the disk and the look-out.
            What::Trouble { code, .. } if TROUBLES.contains(code) && !FOUND_HERE.contains(code) => return None,
            What::Mended { code, .. } if !FOUND_HERE.contains(code) && *code != "store.failed" => return None,
            What::Trouble { code, text } | What::Mended { code, text } => (*code, text.as_str()),
            What::Refused { code, text } => (code.as_str(), text.as_str()),
            _ => return None,
        };
        if matches!(what, What::Refused { .. }) && !self.is_news(now, code) {
            return None;
        }
        if self.told >= IN_A_SECOND {
            self.held += 1;
            return None;
        }
        self.told += 1;
        Some((matches!(what, What::Mended { .. }), code, text))
    }

    /// The first of its code in a minute. Codes beyond those that are kept go by the second alone.
    fn is_news(&mut self, now: Instant, code: &str) -> bool {
        if let Some((_, more)) = self.refused.get_mut(code) {
            *more += 1;
            return false;
        }
        if self.refused.len() < CODES {
            self.refused.insert(code.to_owned(), (now, 0));
        }
        true
    }

    /// Codes whose minute is over, and how many of them were not told; each such begins another minute.
    fn more(&mut self, now: Instant) -> Vec<(String, u64)> {
        let mut more = Vec::new();
        self.refused.retain(|code, (told, count)| {
            if now.saturating_duration_since(*told) < AGAIN {
                return true;
            }
            if *count == 0 {
                return false;
            }
            more.push((code.clone(), std::mem::take(count)));
            *told = now;
            true
        });
        more
    }
}

/// Troubles that the trunk finds itself.
const FOUND_HERE: [&str; 9] = [
    "authority.expired",
    "authority.expires",
    "authority.locked",
    "authority.revoked",
    "authority.ungranted",
    "disk.budget",
    "clock.stepped",
    "node.expelled",
    "node.waits",
];
/// Refusals and troubles told in a second; the others are counted, and stand among the numbered events.
const IN_A_SECOND: u32 = 5;
/// How soon refusals of one code are told again, with their number.
const AGAIN: Duration = Duration::from_secs(60);
/// Codes that are told apart: more than there are; some come from other nodes.
const CODES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> What {
        What::Refused { code: code.into(), text: "an order".into() }
    }

    #[test]
    fn a_refusal_that_comes_again_and_again_is_told_once_a_minute_with_its_number() {
        let (mut told, began) = (Told::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut lines = Vec::new();
        for second in 0..300 {
            // A link that brings an old order twice a second for two minutes.
            for _ in 0..if second < 120 { 2 } else { 0 } {
                lines.extend(told.judge(after(second), &refused("order.replayed")).map(|_| (second, 1)));
            }
            lines.extend(told.more(after(second)).into_iter().map(|(_, count)| (second, count)));
            told.rest(after(second));
        }
        assert_eq!(lines, [(0, 1), (60, 121), (120, 118)]);
        assert!(told.refused.is_empty(), "and is forgotten");
        assert!(told.judge(after(300), &refused("order.replayed")).is_some());
    }

    #[test]
    fn codes_are_told_apart_and_bounded_and_five_lines_a_second_are_the_most() {
        let (mut told, now) = (Told::default(), Instant::now());
        for number in 0..3 * CODES {
            let said = told.judge(now, &refused(&format!("made.up{number}"))).is_some();
            assert_eq!(said, number < IN_A_SECOND as usize, "{number}");
        }
        assert_eq!((told.refused.len(), told.held), (CODES, 3 * CODES as u64 - 5));
    }

    #[test]
    fn what_the_trunk_finds_itself_is_told_here_and_the_rest_where_it_arises() {
        let mut told = Told::default();
        let mut says = |code| told.judge(Instant::now(), &What::Trouble { code, text: "so".into() }).is_some();
        assert!(says("authority.revoked") && says("node.waits") && says("token.used_up"));
        assert!(!says("disk.full") && !says("sound.silent"));
        assert!(FOUND_HERE.iter().all(|code| TROUBLES.contains(code)));
    }
}
