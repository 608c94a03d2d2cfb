//! Phase: this node's estimate of the origin's time, from four timestamps per exchange.
//!
//! Each exchange bounds the parent's time from both sides: a request that left at `sent` can't have
//! been received before it left, an answer that arrived at `received` can't have been sent after.
//! Written as offset = civil − local, every request is a point above the true line and every answer
//! a point below it:
//!
//! ```text
//!  offset
//!    │   ×    ×         ×     requests   parent_received − sent
//!    │ ×  ˍˍ×ˍˍˍˍˍ×ˍˍˍˍ×ˍˍ    upper edge (lower hull of ×)   ┐ the gap: twice the
//!    │ ------------------     the line taken, halfway        │ delay that no
//!    │ ‾‾o‾‾‾‾‾o‾‾‾‾o‾‾‾‾o    lower edge (upper hull of o)   ┘ exchange went below
//!    │  o    o       o        answers    parent_sent − received
//!    └──────────────────────▶ local
//! ```
mod strip;
#[cfg(test)]
mod tests;

use crate::session::{Exchange, Line, Told};
use crate::time::{Civil, Local};
use std::collections::VecDeque;
use strip::{Fit, Sample};

/// A line from local to civil time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    pub at: Local,
    pub civil: Civil,
    /// Civil µs per local µs, minus one.
    pub skew: f64,
    /// µs; the parent's included.
    pub uncertainty: u64,
}

impl Phase {
    /// An origin's: its own wall clock.
    pub fn of_origin(at: Local, civil: Civil, uncertainty: u64) -> Self {
        Self { at, civil, skew: 0.0, uncertainty }
    }

    pub fn civil(&self, local: Local) -> Civil {
        let elapsed = local - self.at;
        self.civil + elapsed.saturating_add((elapsed as f64 * self.skew).round() as i64)
    }

    /// What a parent tells its children at `now`.
    pub fn told(&self, now: Local) -> Told {
        let civil = self.civil(now);
        Told {
            civil,
            uncertainty: self.uncertainty,
            line: Line { offset: civil.0.saturating_sub(now.0), skew: self.skew },
        }
    }

    pub fn local(&self, civil: Civil) -> Local {
        self.at + ((civil - self.civil) as f64 / (1.0 + self.skew)).round() as i64
    }
}

/// Both envelopes with a common skew, over the newest [`WINDOW`] exchanges. While the first
/// [`SETTLED`] exchanges come the phase may step; after that it never
/// jumps: it slews at ≤ 500 ppm towards the fit, unless it is more than 50 ms off, where slewing
/// would take minutes and playout restarts anyway.
///
/// `Phase::uncertainty` is twice the standard deviation of the fit, plus what is left to slew, plus
/// the parent's. It takes the shortest delays for equal both ways; no exchange can show otherwise.
#[derive(Debug, Default)]
pub struct Clock {
    samples: VecDeque<Sample>,
    exchanges: u64,
    /// Exchanges with the present parent.
    of_parent: u64,
    /// `civil − local` in whole µs at the first exchange: offsets are kept relative to it, so that
    /// f64 holds them to far below 1 µs.
    base: i64,
    /// The parent's newest line, and the base of the samples, which are `parent's oscillator − local`.
    line: Line,
    line_at: Local,
    sample_base: i64,
    /// Skew to expect, ppm, and how sure that is.
    prior: Prior,
    given: Option<Given>,
    /// Least uncertainty that the parent claimed since it last rose, and the newest.
    level: f64,
    claimed: f64,
}

#[derive(Clone, Copy, Debug)]
struct Prior {
    skew: f64,
    deviation: f64,
}

impl Default for Prior {
    fn default() -> Self {
        Self { skew: 0.0, deviation: OSCILLATOR }
    }
}

/// The line given out: the fit's slope from `at`, plus a slew that ends after [`SLEW_TIME`].
#[derive(Clone, Copy, Debug)]
struct Given {
    at: Local,
    /// µs above `Clock::base`.
    offset: f64,
    /// ppm.
    slope: f64,
    slew: f64,
    uncertainty: f64,
    /// What is left to slew at `at` (more than `slew` reaches when that is at its limit).
    rest: f64,
}

impl Given {
    fn offset(&self, at: Local) -> f64 {
        let elapsed = seconds(at - self.at);
        self.offset + self.slope * elapsed + self.slew * elapsed.clamp(0.0, SLEW_TIME)
    }

    fn slewed(&self, at: Local) -> f64 {
        self.slew * seconds(at - self.at).clamp(0.0, SLEW_TIME)
    }
}

impl Clock {
    pub fn new() -> Self {
        Self::default()
    }

    /// Ignores an exchange whose round trip is negative or over 10 s.
    pub fn handle_exchange(&mut self, now: Local, exchange: Exchange) {
        self.handle(now, exchange, None);
    }

    /// The same from a parent that also tells its line at `parent_sent`.
    pub fn handle_exchange_with_line(&mut self, now: Local, exchange: Exchange, line: Line) {
        // A lying parent: a skew beyond any clock's would only be clamped later.
        let skew = if line.skew.is_finite() { line.skew.clamp(-MOST_SKEW, MOST_SKEW) } else { 0.0 };
        self.handle(now, exchange, Some(Line { skew, ..line }));
    }

    /// What this node may tell its own children.
    pub fn line(&self, now: Local) -> Option<Line> {
        self.phase(now).map(|phase| Line { offset: phase.civil.0.saturating_sub(now.0), skew: phase.skew })
    }

    fn handle(&mut self, now: Local, exchange: Exchange, line: Option<Line>) {
        let away = exchange.received - exchange.sent;
        let held = exchange.parent_sent - exchange.parent_received;
        if held < 0 || away < held || away > LONGEST_ROUND_TRIP {
            return;
        }
        let uncertainty = (exchange.parent_uncertainty as f64).min(LONGEST_ROUND_TRIP as f64);
        self.claimed = uncertainty;
        let told = line.is_some();
        let line = line.unwrap_or_default();
        let above = exchange.parent_received.0.saturating_sub(exchange.sent.0).saturating_sub(line.offset);
        let below = exchange.parent_sent.0.saturating_sub(exchange.received.0).saturating_sub(line.offset);
        if self.exchanges == 0 {
            self.base = above.saturating_add(line.offset);
        }
        if self.of_parent == 0 {
            self.sample_base = above;
        }
        self.exchanges += 1;
        self.of_parent += 1;
        if exchange.received >= self.line_at || self.of_parent == 1 {
            (self.line, self.line_at) = (line, exchange.received);
        }
        if !told {
            self.handle_level(uncertainty);
        }
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            sent: exchange.sent,
            received: exchange.received,
            above: above.saturating_sub(self.sample_base) as f64,
            below: below.saturating_sub(self.sample_base) as f64,
            slack: if told { 0.0 } else { slack(uncertainty) },
        });
        self.update(now, uncertainty);
    }

    /// Another parent: forgets the samples, keeps the phase given out and slews from it (steps only
    /// when more than 50 ms off). The old line goes on until the new parent's join is complete
    /// ([`ACQUISITION`] exchanges), since fewer say less than it does.
    pub fn handle_new_parent(&mut self, now: Local) {
        self.samples.clear();
        self.of_parent = 0;
        self.level = 0.0;
        if let Some(given) = &mut self.given {
            self.prior = Prior { skew: given.slope, deviation: OSCILLATOR };
            // The line goes on by itself: no slew towards a fit that is no more.
            *given = Given { at: now, offset: given.offset(now), slew: 0.0, rest: 0.0, ..*given };
        }
    }

    /// Another parent, with which `other` has had its exchanges all along: they count from now on, and `other` keeps
    /// those of the parent before. The line given out goes on and slews towards them; where they are fewer than a
    /// join's, it goes on until they are enough.
    pub fn exchange_samples(&mut self, now: Local, other: &mut Clock) {
        std::mem::swap(self, other);
        let Some(given) = other.given else { return };
        if self.exchanges == 0 {
            self.base = other.base;
        }
        let offset = given.offset(now) + other.base.saturating_sub(self.base) as f64;
        self.given = Some(Given { at: now, offset, slew: 0.0, rest: 0.0, ..given });
        self.prior = Prior { skew: given.slope, deviation: OSCILLATOR };
        self.exchanges = self.exchanges.max(other.exchanges);
        self.update(now, self.claimed);
    }

    /// `None` until acquired. The same line for equal `now`; continuous in `now`.
    pub fn phase(&self, now: Local) -> Option<Phase> {
        let given = self.given?;
        let elapsed = seconds(now - given.at);
        let slewing = (0.0..SLEW_TIME).contains(&elapsed);
        let skew = given.slope + if slewing { given.slew } else { 0.0 };
        let rest = (given.rest - given.slewed(now)).abs();
        let aged = given.uncertainty + rest + elapsed.max(0.0) * strip::WANDER;
        Some(Phase {
            at: now,
            civil: Civil(now.0.saturating_add(self.base)) + given.offset(now).round() as i64,
            skew: skew * 1e-6,
            uncertainty: aged.round() as u64,
        })
    }

    pub fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// A parent whose claimed uncertainty rises is moving its own line: what it said before counts
    /// for less by as much.
    fn handle_level(&mut self, uncertainty: f64) {
        let rise = uncertainty - self.level;
        if self.of_parent > 1 && rise > PARENT_MOVES {
            for sample in &mut self.samples {
                sample.slack += rise;
            }
            self.level = uncertainty;
        } else if self.of_parent <= 1 || rise < 0.0 {
            self.level = uncertainty;
        }
    }

    fn update(&mut self, now: Local, parent: f64) {
        if self.samples.len() < LEAST {
            return;
        }
        let acquired = self.exchanges > ACQUISITION;
        if self.given.is_some() && acquired && self.of_parent < ACQUISITION {
            return;
        }
        let fit = self.fit(now);
        let uncertainty = 2.0 * fit.deviation + parent;
        let settled = self.exchanges > SETTLED;
        let Some(given) = self.given.filter(|given| settled && (fit.offset - given.offset(now)).abs() <= STEP) else {
            self.given =
                Some(Given { at: now, offset: fit.offset, slope: fit.skew, slew: 0.0, uncertainty, rest: 0.0 });
            return;
        };
        let offset = given.offset(now);
        let rest = fit.offset - offset;
        let slew = (rest / SLEW_TIME).clamp(-SLEW_LIMIT, SLEW_LIMIT);
        self.given = Some(Given { at: now, offset, slope: fit.skew, slew, uncertainty, rest });
    }

    /// Samples that contradict each other come from a parent that moved: the older half goes until
    /// the rest agrees.
    fn fit(&mut self, now: Local) -> Fit {
        loop {
            let fit = strip::fit(self.samples.iter(), now, self.prior.skew, self.prior.deviation);
            if fit.gap >= 0.0 || self.samples.len() <= LEAST {
                return self.with_line(fit, now);
            }
            let keep = (self.samples.len() / 2).max(LEAST);
            self.samples.drain(..self.samples.len() - keep);
        }
    }

    /// From the parent's oscillator to civil time.
    fn with_line(&self, fit: Fit, now: Local) -> Fit {
        let base = self.sample_base.saturating_add(self.line.offset).saturating_sub(self.base) as f64;
        let since = seconds(now - self.line_at) * self.line.skew * 1e6;
        Fit { offset: fit.offset + base + since, skew: fit.skew + self.line.skew * 1e6, ..fit }
    }
}

/// µs by which an exchange is loosened for what its parent did not know.
fn slack(uncertainty: f64) -> f64 {
    SLACK * uncertainty.min(PARENT_MOVES) + (uncertainty - PARENT_MOVES).max(0.0)
}

fn seconds(micros: i64) -> f64 {
    micros as f64 * 1e-6
}

/// Exchanges kept: all of the join and its three minutes at 1 Hz, then 43 minutes of keep-alives.
/// Fewer would let the envelope rise again once the quick ones have gone; more would outlast the
/// straight line that an oscillator draws.
const WINDOW: usize = 512;
/// Exchanges until the first phase.
const LEAST: usize = 4;
/// Exchanges of a join: fewer say less than the line of an earlier parent.
const ACQUISITION: u64 = 16;
/// Exchanges during which the phase may step: some ten seconds. At the end of the join alone it may
/// still be 10 ms off on a bad path, which would take 20 s to slew; playout follows a step by
/// resampling, so that it is not heard as a jump.
const SETTLED: u64 = 64;
/// ppm; beyond what the fit's own slope asks.
const SLEW_LIMIT: f64 = 500.0;
/// Seconds over which an error is slewed away: long enough to average over some exchanges.
const SLEW_TIME: f64 = 8.0;
/// µs beyond which the phase steps even after acquisition.
const STEP: f64 = 50_000.0;
/// µs; an answer later than that says nothing.
const LONGEST_ROUND_TRIP: i64 = 10_000_000;
/// ppm, one standard deviation: what a cheap oscillator errs by before anything is known.
const OSCILLATOR: f64 = 100.0;
/// Steeper than any line given out.
const MOST_SKEW: f64 = 1_500e-6;
/// Of the parent's uncertainty (two standard deviations), how much counts as slack: more would waste
/// exchanges that siblings need to agree, less would trust its first guesses. What is above
/// [`PARENT_MOVES`] counts in full.
const SLACK: f64 = 0.5;
/// µs; a smaller rise of the parent's uncertainty is noise.
const PARENT_MOVES: f64 = 2_000.0;
