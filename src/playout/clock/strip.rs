//! The line between two envelopes.
//!
//! For a slope `b` the edges are `above(b) = min(yᵢ − b·xᵢ)` over requests and
//! `below(b) = max(yⱼ − b·xⱼ)` over answers: shortest delays. How likely a slope is depends on the
//! law of the delay beyond the shortest. The likelier of these is taken:
//!
//! - *tail* (exponential): likelihood `exp(n · (above − below) / scale)`: the widest strip.
//! - *band* (uniform, what a bounded queue or a paced radio link makes): `(W₁ · W₂)⁻ⁿ` with the
//!   widths `W` of the bands that hold all requests and all answers, so that the longest delays tell
//!   of the slope too;
//! - *twin* bands: `max(W₁, W₂)⁻²ⁿ`, where the widths differ by no more than chance makes them.
//!
//! The offset is halfway between the shortest delays; with twin bands, halfway between their middles,
//! which is twice as sure, and wrong by a quarter of any true difference that chance could hide. The mean over all slopes by likelihood
//! errs less than the likeliest one, and a prior on the slope keeps 16 exchanges in 0.3 s, which say
//! nothing of skew, from inventing one.
use crate::time::Local;

/// One exchange: bounds on `civil − local`, µs relative to the clock's base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub sent: Local,
    pub received: Local,
    /// The offset at `sent` is at most this,
    pub above: f64,
    /// at `received` at least this.
    pub below: f64,
    /// µs by which both are looser: what the parent did not know of its own time.
    pub slack: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// µs at the moment of the fit.
    pub offset: f64,
    /// ppm.
    pub skew: f64,
    /// Standard deviation of `offset`, µs.
    pub deviation: f64,
    /// Width of the strip, µs; negative if no line satisfies all samples.
    pub gap: f64,
}

/// Fits at `now`. `prior`: the slope expected, ppm, with its standard deviation. Needs one sample.
pub(super) fn fit<'a>(
    samples: impl Iterator<Item = &'a Sample> + Clone,
    now: Local,
    prior: f64,
    deviation: f64,
) -> Fit {
    let mut strip = Strip {
        above: Envelope::new(samples.clone().map(|sample| (sample.sent, sample.above, sample.slack)), now, 1.0),
        below: Envelope::new(samples.map(|sample| (sample.received, -sample.below, sample.slack)), now, -1.0),
        law: Law::Tail { scale: TYPICAL },
        prior,
        precision: 1.0 / (deviation * deviation),
    };
    // The scale depends on the slope and the slope, a little, on the scale: twice is enough.
    let slope = strip.best();
    strip.law = Law::Tail { scale: strip.scale(slope) };
    let slope = strip.best();
    let tail = strip.evidence(slope);
    let tail_law = std::mem::replace(&mut strip.law, Law::Band);
    let band_slope = strip.best();
    let slope = if strip.evidence(band_slope) > tail {
        if !strip.twins(band_slope) {
            band_slope
        } else {
            strip.law = Law::Twin;
            strip.best()
        }
    } else {
        strip.law = tail_law;
        slope
    };
    strip.mean(slope)
}

#[derive(Clone, Copy, Debug)]
enum Law {
    /// `scale`: µs.
    Tail {
        scale: f64,
    },
    Band,
    Twin,
}

/// One direction, with y so that shorter delays are lower: `y = base delay ± offset + excess`.
struct Envelope {
    points: Vec<(f64, f64)>,
    /// Corners of the shortest and of the longest delays.
    near: Vec<(f64, f64)>,
    far: Vec<(f64, f64)>,
    /// 1 if y grows with the offset, −1 if it falls.
    side: f64,
}

impl Envelope {
    fn new(samples: impl Iterator<Item = (Local, f64, f64)>, now: Local, side: f64) -> Self {
        let mut points: Vec<(f64, f64, f64)> = samples
            .map(|(at, y, slack)| {
                let x = (at - now) as f64 * 1e-6;
                (x, y, slack + x.abs() * WANDER)
            })
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let near = hull(points.iter().map(|&(x, y, slack)| (x, y + slack)), 1.0);
        let far = hull(points.iter().map(|&(x, y, slack)| (x, y - slack)), -1.0);
        Self { points: points.into_iter().map(|(x, y, slack)| (x, y + slack)).collect(), near, far, side }
    }

    fn shortest(&self, slope: f64) -> f64 {
        self.near.iter().map(|&(x, y)| y - self.side * slope * x).fold(f64::INFINITY, f64::min)
    }

    fn longest(&self, slope: f64) -> f64 {
        self.far.iter().map(|&(x, y)| y - self.side * slope * x).fold(f64::NEG_INFINITY, f64::max)
    }

    fn width(&self, slope: f64) -> f64 {
        (self.longest(slope) - self.shortest(slope)).max(FINEST)
    }

    fn count(&self) -> f64 {
        self.points.len() as f64
    }
}

struct Strip {
    above: Envelope,
    below: Envelope,
    law: Law,
    prior: f64,
    precision: f64,
}

impl Strip {
    /// Logarithm of the likelihood, up to a constant of the law.
    fn likelihood(&self, slope: f64) -> f64 {
        let count = self.above.count();
        let of_law = match self.law {
            Law::Tail { scale } => count / scale * (self.above.shortest(slope) + self.below.shortest(slope)),
            Law::Band => -count * (self.above.width(slope) * self.below.width(slope)).ln(),
            Law::Twin => -2.0 * count * self.above.width(slope).max(self.below.width(slope)).ln(),
        };
        of_law - 0.5 * self.precision * (slope - self.prior).powi(2)
    }

    /// Logarithm of the likelihood of all samples under the law at `slope`, comparable between laws:
    /// here the exponential has the scale that suits all samples best.
    fn evidence(&self, slope: f64) -> f64 {
        match self.law {
            Law::Band | Law::Twin => self.likelihood(slope),
            Law::Tail { .. } => {
                let excess = |envelope: &Envelope| -> f64 {
                    let shortest = envelope.shortest(slope);
                    envelope.points.iter().map(|&(x, y)| y - envelope.side * slope * x - shortest).sum()
                };
                let sum = excess(&self.above) + excess(&self.below);
                let scale = (sum / (2.0 * self.above.count())).max(FINEST);
                -2.0 * self.above.count() * (scale.ln() + 1.0) - 0.5 * self.precision * (slope - self.prior).powi(2)
            }
        }
    }

    /// Whether n samples each way can't tell the widths apart (Bayesian information criterion: one
    /// width less to know is worth `ln n`).
    fn twins(&self, slope: f64) -> bool {
        let count = self.above.count();
        count * (self.above.width(slope) / self.below.width(slope)).ln().abs() < count.ln() + 1.0
    }

    /// The offset at a given slope.
    fn offset(&self, slope: f64) -> f64 {
        let shortest = (self.above.shortest(slope) - self.below.shortest(slope)) / 2.0;
        match self.law {
            Law::Tail { .. } | Law::Band => shortest,
            Law::Twin => (shortest + (self.above.longest(slope) - self.below.longest(slope)) / 2.0) / 2.0,
        }
    }

    /// The likeliest slope, by golden section.
    fn best(&self) -> f64 {
        const RATIO: f64 = 0.618_033_988_749_894_9;
        let (mut low, mut high) = (-LIMIT, LIMIT);
        let (mut left, mut right) = (high - RATIO * (high - low), low + RATIO * (high - low));
        let (mut at_left, mut at_right) = (self.likelihood(left), self.likelihood(right));
        // 1,200 ppm × 0.618^30 = 0.0006 ppm
        for _ in 0..30 {
            if at_left < at_right {
                (low, left, at_left) = (left, right, at_right);
                right = low + RATIO * (high - low);
                at_right = self.likelihood(right);
            } else {
                (high, right, at_right) = (right, left, at_left);
                left = high - RATIO * (high - low);
                at_left = self.likelihood(left);
            }
        }
        (low + high) / 2.0
    }

    /// Scale of the excess delay: from its median, so that neither a long tail nor the few samples
    /// that carry the strip decide it.
    fn scale(&self, slope: f64) -> f64 {
        let mut excess = Vec::with_capacity(self.above.points.len() + self.below.points.len());
        for envelope in [&self.above, &self.below] {
            let shortest = envelope.shortest(slope);
            excess.extend(envelope.points.iter().map(|&(x, y)| y - envelope.side * slope * x - shortest));
        }
        let middle = excess.len() / 2;
        let (_, median, _) = excess.select_nth_unstable_by(middle, f64::total_cmp);
        (*median / std::f64::consts::LN_2).max(FINEST)
    }

    /// Variance of the offset at a given slope.
    fn variance(&self, slope: f64) -> f64 {
        let scale = match self.law {
            Law::Tail { scale } => scale,
            Law::Band => self.above.width(slope).max(self.below.width(slope)),
            Law::Twin => self.above.width(slope).max(self.below.width(slope)) * std::f64::consts::FRAC_1_SQRT_2,
        };
        (scale / self.above.count()).powi(2) / 2.0
    }

    /// Mean over slopes by likelihood, around the likeliest.
    fn mean(&self, best: f64) -> Fit {
        let top = self.likelihood(best);
        let reach = |side: f64| {
            let (mut near, mut far) = (0.0, LIMIT - side * best);
            for _ in 0..20 {
                let middle = (near + far) / 2.0;
                if top - self.likelihood(best + side * middle) < NEGLIGIBLE {
                    near = middle;
                } else {
                    far = middle;
                }
            }
            far
        };
        let (low, high) = (best - reach(-1.0), best + reach(1.0));
        let step = (high - low) / POINTS as f64;
        let (gap, centre) = (self.above.shortest(best) + self.below.shortest(best), self.offset(best));
        let (mut total, mut slope, mut offset, mut square) = (0.0, 0.0, 0.0, 0.0);
        for point in 0..POINTS {
            let at = low + (point as f64 + 0.5) * step;
            let weight = (self.likelihood(at) - top).exp();
            let from_centre = self.offset(at) - centre;
            total += weight;
            slope += weight * (at - best);
            offset += weight * from_centre;
            square += weight * from_centre * from_centre;
        }
        let at_slope = self.variance(best);
        if total <= 0.0 || !total.is_finite() {
            return Fit { offset: centre, skew: best, deviation: at_slope.sqrt(), gap };
        }
        let (slope, offset, square) = (slope / total, offset / total, square / total);
        let variance = (square - offset * offset).max(0.0) + at_slope;
        Fit { offset: centre + offset, skew: best + slope, deviation: variance.sqrt(), gap }
    }
}

/// The points that some line touches from below (`side` 1) or from above (−1); `points` ascend in x.
fn hull(points: impl Iterator<Item = (f64, f64)>, side: f64) -> Vec<(f64, f64)> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., one, two] = hull[..] {
            let turn = (two.0 - one.0) * (point.1 - one.1) - (two.1 - one.1) * (point.0 - one.0);
            if side * turn > 0.0 {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// ppm: µs per second by which a sample loosens with age. An oscillator's rate follows temperature
/// by some tenths of a ppm within a quarter of an hour.
pub(super) const WANDER: f64 = 0.1;
/// ppm: two oscillators, each worse than any sold, and the parent's slew.
const LIMIT: f64 = 600.0;
/// µs: excess delay to begin with.
const TYPICAL: f64 = 10_000.0;
/// µs: no operating system stamps a packet more finely.
const FINEST: f64 = 20.0;
/// e^−12: slopes less likely than that don't count.
const NEGLIGIBLE: f64 = 12.0;
/// Slopes in the mean.
const POINTS: u32 = 64;
