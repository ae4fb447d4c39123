//! How unlikely a deviation is, from the largest deviations of the past (peaks over a threshold).
//!
//! The excesses over a high threshold follow a generalised Pareto distribution (Pickands, Balkema, de Haan), whose shape and
//! scale come from the probability-weighted moments of the largest excesses (Hosking and Wallis, 1987).

use crate::rules::math::ln;
use crate::rules::pack::{Reader, StateError, Writer};

/// How many deviations of each side are kept.
const KEPT: usize = 32;
/// The threshold is the deviation that this share of the values exceeds.
const EXCEEDING_SHARE: f64 = 0.02;
/// Values before the first score.
const LEARNING_VALUES: u32 = 100;
/// The scale of the excesses is at least this share of the threshold.
const LEAST_SCALE: f64 = 0.1;
/// A deviation is kept as at most this many scales beyond the largest one, so that one value does not end all judging; if
/// another as large follows later, it is kept as it is.
const CLIPPED_SCALES: f64 = 3.0;
/// Values that end a group of large deviations.
const GROUP_VALUES: u32 = 20;
/// Excesses that the estimated shape has to weigh as much as no shape.
const SHAPE_PRIOR: f64 = 5.0;
/// Greatest shape.
const SHAPE_MOST: f64 = 0.5;

/// The largest deviations on one side of the mean, descending, each with the hour that it came in.
#[derive(Clone, Debug, PartialEq)]
struct Side {
    largest: [f32; KEPT],
    hours: [u16; KEPT],
    /// The largest deviation of earlier groups, and of the present one.
    earlier: f32,
    present: f32,
    last_row: u32,
}

impl Side {
    const NEW: Self = Self { largest: [0.0; KEPT], hours: [0; KEPT], earlier: 0.0, present: 0.0, last_row: 0 };

    fn insert(&mut self, deviation: f32, hour: u16) {
        if self.largest[KEPT - 1] >= deviation {
            return;
        }
        let mut at = KEPT - 1;
        while at > 0 && self.largest[at - 1] < deviation {
            self.largest[at] = self.largest[at - 1];
            self.hours[at] = self.hours[at - 1];
            at -= 1;
        }
        self.largest[at] = deviation;
        self.hours[at] = hour;
    }

    fn forget_older_than(&mut self, now: u16, hours: u16) {
        let mut kept = 0;
        for i in 0..KEPT {
            if self.largest[i] > 0.0 && now.wrapping_sub(self.hours[i]) <= hours {
                self.largest[kept] = self.largest[i];
                self.hours[kept] = self.hours[i];
                kept += 1;
            }
        }
        self.largest[kept..].fill(0.0);
        self.hours[kept..].fill(0);
    }

    /// The largest deviation that a new one is kept as, from what the tail allows.
    fn limit(&mut self, row: u32, deviation: f32, tail_limit: f64) -> f64 {
        if row.wrapping_sub(self.last_row) > GROUP_VALUES {
            self.earlier = (self.earlier * 0.9).max(self.present);
            self.present = 0.0;
        }
        self.last_row = row;
        self.present = self.present.max(deviation);
        tail_limit.max(f64::from(self.earlier))
    }
}

/// (-ln of the share of excesses above `excess`, the mean excess) over the last of `largest`.
fn tail_score(largest: &[f32], deviation: f64, threshold: f64, least_scale: f64) -> (f64, f64) {
    let count = largest.len() as f64;
    let mean = largest.iter().map(|&v| f64::from(v) - threshold).sum::<f64>() / count;
    let scale = mean.max(least_scale).max(1e-30);
    let excess = deviation - threshold;
    if largest.len() < 5 {
        return (excess / scale, scale);
    }
    let excesses = count - 1.0;
    let mut weighted = 0.0;
    let mut rank = 0.65;
    for &value in &largest[..largest.len() - 1] {
        weighted += (f64::from(value) - threshold) * rank / excesses;
        rank += 1.0;
    }
    weighted /= excesses;
    let first = mean * count / excesses;
    let denominator = first - 2.0 * weighted;
    let estimate = if denominator > 0.0 { 2.0 - first / denominator } else { 0.0 };
    let shape = (estimate * excesses / (excesses + SHAPE_PRIOR)).clamp(0.0, SHAPE_MOST);
    let shaped = (first * (1.0 - shape)).max(least_scale).max(1e-30);
    let score = if shape < 0.01 { excess / shaped } else { ln(1.0 + shape * excess / shaped) / shape };
    (score, scale)
}

/// What a tail needs to know of the row that it judges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// How many values came before.
    pub row: u32,
    /// Hours since the epoch, the lowest 16 bits.
    pub hour: u16,
    /// How many values the kept deviations stand for, at most.
    pub memory_values: f64,
    /// How long deviations are kept, hours.
    pub memory_hours: u16,
    /// Weight of a value in the long-term mean.
    pub slowest_weight: f64,
}

/// The long-term mean of a statistic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    pub(super) mean: f64,
    /// Mean absolute deviation.
    pub(super) spread: f64,
    /// The smallest of the kept deviations of each side: what is not larger needs no look at them.
    least_kept: [f32; 2],
}

/// The largest deviations of a statistic from its long-term mean, above and below.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Largest([Side; 2]);

impl Largest {
    pub(super) const NEW: Self = Self([Side::NEW; 2]);
}

impl Tail {
    pub(super) const NEW: Self = Self { mean: 0.0, spread: 0.0, least_kept: [0.0; 2] };

    /// -ln of the chance of a deviation like that of `x`, 0 where it is nothing unusual; then `x` becomes part of the past.
    pub(super) fn judge(&mut self, largest: &mut Largest, at: &Moment, x: f64) -> f64 {
        let row = at.row;
        if row == 0 {
            self.mean = x;
        }
        let difference = x - self.mean;
        let deviation = difference.abs();
        let weight = at.slowest_weight.max(1.0 / (f64::from(row) + 1.0));
        let least = self.spread.max(1e-9 * (self.mean.abs() + 1e-9));
        let mut score = 0.0;
        let mut step = deviation;
        if row >= 8 {
            if row.is_multiple_of(64) {
                for (side, least_kept) in largest.0.iter_mut().zip(&mut self.least_kept) {
                    side.forget_older_than(at.hour, at.memory_hours);
                    *least_kept = side.largest[KEPT - 1];
                }
            }
            let below = usize::from(difference <= 0.0);
            if deviation > f64::from(self.least_kept[below]) {
                score = Self::judge_large(&mut largest.0[below], at, deviation, least);
                self.least_kept[below] = largest.0[below].largest[KEPT - 1];
            }
            if row > 30 {
                step = deviation.min(6.0 * least);
            }
        }
        self.mean += weight * step.copysign(difference);
        self.spread += weight * (step - self.spread);
        score
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count, and rounding to f32
    fn judge_large(side: &mut Side, at: &Moment, deviation: f64, least: f64) -> f64 {
        let count = f64::from(at.row).min(at.memory_values);
        let exceeding = ((EXCEEDING_SHARE * count) as usize).clamp(3, KEPT);
        let threshold = f64::from(side.largest[exceeding - 1]);
        let (excess, scale) =
            tail_score(&side.largest[..exceeding], deviation, threshold, LEAST_SCALE * least.max(threshold));
        let score = if deviation > threshold && at.row >= LEARNING_VALUES {
            (ln(count / exceeding as f64) + excess).max(0.0)
        } else {
            0.0
        };
        let tail_limit = f64::from(side.largest[0]).max(threshold) + CLIPPED_SCALES * scale;
        let limit = side.limit(at.row, deviation as f32, tail_limit);
        let kept = if at.row > 60 { deviation.min(limit) } else { deviation };
        side.insert(kept as f32, at.hour);
        score
    }

    pub(super) fn write(&self, largest: &Largest, out: &mut Writer) {
        out.float(self.mean);
        out.float(self.spread);
        for side in &largest.0 {
            let kept = side.largest.iter().filter(|&&v| v > 0.0).count();
            out.unsigned(kept as u64);
            for i in 0..kept {
                out.single(side.largest[i]);
                out.half(side.hours[i]);
            }
            out.single(side.earlier);
            out.single(side.present);
            out.unsigned(u64::from(side.last_row));
        }
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<(Self, Largest), StateError> {
        let (mut tail, mut largest) = (Self::NEW, Largest::NEW);
        tail.mean = state.finite("mean")?;
        tail.spread = state.finite("spread")?;
        for (side, least_kept) in largest.0.iter_mut().zip(&mut tail.least_kept) {
            let kept = state.below(KEPT + 1, "count of deviations")?;
            for i in 0..kept {
                side.largest[i] = state.finite_single("deviation")?;
                side.hours[i] = state.half()?;
            }
            if side.largest[..kept].windows(2).any(|pair| pair[0] < pair[1]) {
                return Err(StateError::Impossible("order of deviations"));
            }
            *least_kept = side.largest[KEPT - 1];
            side.earlier = state.finite_single("deviation")?;
            side.present = state.finite_single("deviation")?;
            side.last_row = u32::try_from(state.unsigned()?).map_err(|_| StateError::Impossible("row"))?;
        }
        Ok((tail, largest))
    }
}

#[cfg(test)]
mod tests {
    use super::tail_score;

    #[test]
    fn the_share_above_the_threshold_is_that_of_the_distribution() {
        // Quantiles of an exponential and of a heavy-tailed (Pareto, index 3) distribution above their thresholds.
        let quantile = |i: usize| 1.0 - (i as f64 + 0.5) / 32.0;
        let exponential: Vec<f32> = (0..32).map(|i| (10.0 - (1.0 - quantile(i)).ln()) as f32).collect();
        let pareto: Vec<f32> = (0..32).map(|i| (1.0 - quantile(i)).powf(-1.0 / 3.0) as f32).collect();
        let (light, _) = tail_score(&exponential, 16.0, f64::from(exponential[31]), 0.0);
        assert!((4.5..=6.5).contains(&light), "{light}: of e^-6");
        // One in 1000 of the Pareto is above 10: -ln is 6.9. An exponential tail would say 20.
        let (heavy, _) = tail_score(&pareto, 10.0, f64::from(pareto[31]), 0.0);
        assert!((5.0..=10.0).contains(&heavy), "{heavy}");
    }
}
