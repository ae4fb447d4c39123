//! The mean of each hour against the same hour of other days and of other weeks: what finds a peak that did not come, a job
//! that did not run and a wrong weekday, which no single value gives away.

use crate::rules::math::ln;
use crate::rules::pack::{Reader, StateError, Writer};

/// Days before an hour is judged by its like.
const LEAST_DAYS: u8 = 5;
/// Days that the deviation of all hours counts for, in the deviation of one.
const COMMON_DAYS: f64 = 4.0;
/// Share of the values' own spread that a deviation is at least.
const LEAST_OF_SPREAD: f64 = 0.03;
/// A score up to this is within what hours do.
const USUAL_SCORE: f64 = 10.0;
/// Greatest score.
const MOST_SCORE: f64 = 40.0;
/// Least scale of the deviations' tail, in units of the usual deviation.
const LEAST_SCALE: f64 = 0.5;
const KEPT: usize = 10;
/// Hours before the first score, and for which a deviation is kept.
const LEARNING_HOURS: u32 = 90;
const MEMORY_HOURS: u16 = 2000;

/// The usual means of the hours of a day and of a week, and the largest deviations from them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HourProfile {
    hour: i64,
    sum: f64,
    values: f64,
    usual_values: f64,
    /// By the hour of the day: usual mean, usual deviation from it, over how many days.
    of_day: [f32; 24],
    deviations: [f32; 24],
    days: [u8; 24],
    /// By the hour of the week: usual mean, over how many weeks.
    of_week: [f32; 168],
    weeks: [u8; 168],
    /// Recent absolute error of the hour of the day and of the week as predictions.
    day_error: f64,
    week_error: f64,
    hours: u32,
    common_deviation: f64,
    largest: [[f32; KEPT]; 2],
    largest_at: [[u16; KEPT]; 2],
}

impl HourProfile {
    pub(super) const NEW: Self = Self {
        hour: i64::MIN,
        sum: 0.0,
        values: 0.0,
        usual_values: 0.0,
        of_day: [0.0; 24],
        deviations: [0.0; 24],
        days: [0; 24],
        of_week: [0.0; 168],
        weeks: [0; 168],
        day_error: 0.0,
        week_error: 0.0,
        hours: 0,
        common_deviation: 0.0,
        largest: [[0.0; KEPT]; 2],
        largest_at: [[0; KEPT]; 2],
    };

    /// Takes a value; where it is the first of another hour, how strange the one before it was.
    pub(super) fn judge(&mut self, hour: i64, x: f64, spread: f64) -> f64 {
        let mut score = 0.0;
        if hour != self.hour {
            if self.values > 0.0 {
                score = self.close(spread);
            }
            (self.hour, self.sum, self.values) = (hour, 0.0, 0.0);
        }
        self.sum += x;
        self.values += 1.0;
        score
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // remainders, and rounding to f32
    fn close(&mut self, spread: f64) -> f64 {
        let x = self.sum / self.values;
        let is_full = self.values >= 0.5 * self.usual_values;
        self.usual_values += (self.values - self.usual_values) / f64::from((self.hours + 1).min(20));
        if !is_full {
            return 0.0;
        }
        self.hours += 1;
        let week = self.hour.rem_euclid(168) as usize;
        let day = self.hour.rem_euclid(24) as usize;
        let days = self.days[day];
        let from_day = x - f64::from(self.of_day[day]);
        let from_week = x - f64::from(self.of_week[week]);
        let mut score = 0.0;
        if days > 0 {
            let knows_week = self.weeks[week] >= 2;
            let difference = if knows_week && self.week_error < self.day_error { from_week } else { from_day };
            let size = difference.abs();
            let common = if self.hours < 60 { size } else { size.min(6.0 * self.common_deviation.max(1e-30)) };
            self.common_deviation += (common - self.common_deviation) / f64::from(self.hours.min(400));
            let weight = f64::from(days).min(12.0);
            let own = f64::from(self.deviations[day]);
            let squares = weight * own * own + COMMON_DAYS * self.common_deviation * self.common_deviation;
            let usual = (squares / (weight + COMMON_DAYS)).sqrt() + LEAST_OF_SPREAD * spread + 1e-9 * x.abs() + 1e-30;
            if days >= LEAST_DAYS {
                score = (self.score(difference / usual) - USUAL_SCORE).clamp(0.0, MOST_SCORE);
            }
            let learned = if days >= 4 { size.min(4.0 * usual) } else { size };
            let weight = (1.0 / f64::from(days)).max(0.08);
            self.deviations[day] += (weight * (learned - own)) as f32;
            if knows_week {
                self.day_error += 0.03 * (from_day.abs() - self.day_error);
                self.week_error += 0.03 * (from_week.abs() - self.week_error);
            }
        }
        self.days[day] = (days + 1).min(200);
        self.of_day[day] += (from_day * (1.0 / f64::from(self.days[day])).max(0.12)) as f32;
        self.weeks[week] = (self.weeks[week] + 1).min(4);
        self.of_week[week] += (from_week * (1.0 / f64::from(self.weeks[week])).max(0.25)) as f32;
        score
    }

    /// -ln of the chance of an hour so many usual deviations off.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count, and rounding to f32
    fn score(&mut self, deviations: f64) -> f64 {
        let at = usize::from(deviations <= 0.0);
        let size = deviations.abs();
        let count = f64::from(self.hours);
        let exceeding = ((0.02 * count) as usize).clamp(3, KEPT);
        let largest = &mut self.largest[at];
        let threshold = f64::from(largest[exceeding - 1]);
        let mean = largest[..exceeding].iter().map(|&v| f64::from(v) - threshold).sum::<f64>() / exceeding as f64;
        let scale = mean.max(LEAST_SCALE).max(0.1 * threshold);
        let score = if size > threshold && self.hours >= LEARNING_HOURS {
            ln(count / exceeding as f64) + (size - threshold.max(1.5)) / scale
        } else {
            0.0
        };
        let limit = f64::from(largest[0]).max(threshold) + 3.0 * scale;
        self.keep(at, size.min(limit) as f32);
        score.max(0.0)
    }

    #[allow(clippy::cast_possible_truncation)] // hours modulo 65,536
    fn keep(&mut self, side: usize, size: f32) {
        let now = (self.hours & 0xFFFF) as u16;
        let (largest, ages) = (&mut self.largest[side], &mut self.largest_at[side]);
        if largest[KEPT - 1] < size {
            let mut at = KEPT - 1;
            while at > 0 && largest[at - 1] < size {
                largest[at] = largest[at - 1];
                ages[at] = ages[at - 1];
                at -= 1;
            }
            largest[at] = size;
            ages[at] = now;
        }
        if !self.hours.is_multiple_of(64) {
            return;
        }
        for (largest, ages) in self.largest.iter_mut().zip(&mut self.largest_at) {
            let mut kept = 0;
            for i in 0..KEPT {
                if largest[i] > 0.0 && now.wrapping_sub(ages[i]) <= MEMORY_HOURS {
                    largest[kept] = largest[i];
                    ages[kept] = ages[i];
                    kept += 1;
                }
            }
            largest[kept..].fill(0.0);
            ages[kept..].fill(0);
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.signed(self.hour);
        for x in [self.sum, self.values, self.usual_values, self.day_error, self.week_error, self.common_deviation] {
            out.float(x);
        }
        out.unsigned(u64::from(self.hours));
        for ((mean, deviation), days) in self.of_day.iter().zip(&self.deviations).zip(&self.days) {
            out.unsigned(u64::from(*days));
            if *days > 0 {
                out.single(*mean);
                out.single(*deviation);
            }
        }
        // Counts of 0 to 4, three to a byte.
        for weeks in self.weeks.chunks(3) {
            out.unsigned(weeks.iter().rev().fold(0, |all, &weeks| all * 5 + u64::from(weeks)));
        }
        for (mean, _) in self.of_week.iter().zip(&self.weeks).filter(|(_, weeks)| **weeks > 0) {
            out.single(*mean);
        }
        for (largest, ages) in self.largest.iter().zip(&self.largest_at) {
            let kept = largest.iter().filter(|&&v| v > 0.0).count();
            out.unsigned(kept as u64);
            for i in 0..kept {
                out.single(largest[i]);
                out.half(ages[i]);
            }
        }
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut new = Self::NEW;
        new.hour = state.signed()?;
        for x in [
            &mut new.sum,
            &mut new.values,
            &mut new.usual_values,
            &mut new.day_error,
            &mut new.week_error,
            &mut new.common_deviation,
        ] {
            *x = state.finite("number of an hour")?;
        }
        new.hours = u32::try_from(state.unsigned()?).map_err(|_| StateError::Impossible("count of hours"))?;
        for ((mean, deviation), days) in new.of_day.iter_mut().zip(&mut new.deviations).zip(&mut new.days) {
            *days = u8::try_from(state.below(201, "count of days")?).unwrap_or(0);
            if *days > 0 {
                *mean = state.finite_single("mean")?;
                *deviation = state.finite_single("deviation")?;
            }
        }
        for three in new.weeks.chunks_mut(3) {
            let mut all = u8::try_from(state.below(125, "count of weeks")?).unwrap_or(0);
            for weeks in three {
                *weeks = all % 5;
                all /= 5;
            }
        }
        for (mean, _) in new.of_week.iter_mut().zip(&new.weeks).filter(|(_, weeks)| **weeks > 0) {
            *mean = state.finite_single("mean")?;
        }
        for (largest, ages) in new.largest.iter_mut().zip(&mut new.largest_at) {
            for i in 0..state.below(KEPT + 1, "count of deviations")? {
                largest[i] = state.finite_single("deviation")?;
                ages[i] = state.half()?;
            }
        }
        Ok(new)
    }
}
