//! The past of one series, and what it says of the next value.

use super::hours::HourProfile;
use super::tail::{Largest, Moment, Tail};
use crate::rules::math::{decay, ln};
use crate::rules::pack::{Reader, StateError, Writer};

const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;
const WEEK: f64 = 604_800.0;

/// The score that raises an incident in a series of one value every [`REFERENCE_STEP`] seconds with no recent incident.
pub(super) const THRESHOLD: f64 = 23.0;
const REFERENCE_STEP: f64 = 300.0;
/// What is added for each factor e of values more, or taken off for each less: the budget is a time's, not a value's.
const THRESHOLD_MORE_OFTEN: f64 = 10.0;
const THRESHOLD_LESS_OFTEN: f64 = 4.0;
const LEAST_THRESHOLD: f64 = 3.0;
/// Below this, whatever the threshold, a value is not looked at further.
const LEAST_SCORE: f64 = 1.0;
/// Largest magnitude that is told apart; beyond it single precision ends.
const LARGEST_VALUE: f64 = 1e37;
/// For how long large deviations are kept, and for how many values at least.
const MEMORY: f64 = 70.0 * DAY;
const LEAST_MEMORY_VALUES: f64 = 6000.0;
/// Values, and time, over which the long-term mean is taken at most.
const SLOWEST_VALUES: f64 = 3000.0;
const SLOWEST_TIME: f64 = 14.0 * DAY;
/// Nothing is said of a series younger than this.
const LEARNING: f64 = 6.0 * HOUR;
/// After an incident, silence for this share of the series' age, within bounds.
const SILENCE_SHARE: f64 = 0.1;
const LEAST_SILENCE_VALUES: f64 = 10.0;
const MOST_SILENCE: f64 = 0.87 * DAY;
/// What is so many times as strange as the incident before breaks its silence.
const BREAKTHROUGH: f64 = 4.0;
/// A value that stands still is judged when it has for this long.
const LEAST_STANDSTILL: f64 = 1800.0;
/// Values of `history` before standing still is judged, in runs of equal values, and seconds.
const LEAST_RUNS: f64 = 200.0;
const LEAST_RUN_HISTORY: f64 = 2.0 * DAY;

/// Moves a mean of the last 30 values or so towards `x`.
#[allow(clippy::cast_possible_truncation)] // rounding to f32
fn learn(mean: &mut f32, values: &mut u8, x: f64) {
    *values = (*values + 1).min(30);
    *mean += ((x - f64::from(*mean)) / f64::from(*values)) as f32;
}

/// A strange value: the beginning of an incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strange {
    pub lower: f64,
    pub upper: f64,
    pub score: f64,
    pub values: u32,
}

/// The past of one series in a fixed room.
/// What each value touches comes first, so that it lies in few cache lines.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub(super) struct History {
    values: u32,
    first_time: i64,
    last_time: i64,
    /// The usual time between values, seconds: a running median.
    step: f64,
    /// The first value: means are kept in single precision, relative to it.
    origin: f64,
    residual: f64,
    fast: f64,
    slow: f64,
    error: f64,
    error_mean: f64,
    error_variance: f64,
    /// Of the residual, the value, its fast and its slow level.
    tails: [Tail; 4],
    /// The usual value by the hour of the day and of the week, and of how many values.
    of_day: [f32; 24],
    of_week: [f32; 168],
    of_day_values: [u8; 24],
    of_week_values: [u8; 168],
    previous: f64,
    run: f64,
    runs: f64,
    longest_run: f64,
    mean_run: f64,
    run_since: i64,
    incident_time: i64,
    incident_score: f64,
    /// How many incidents there were of late: over a week, and over four.
    recent_incidents: f64,
    lasting_incidents: f64,
    hours: HourProfile,
    /// The largest deviations of each tail: touched only where one comes close to them.
    largest: [Largest; 4],
}

impl History {
    pub(super) const NEW: Self = Self {
        values: 0,
        first_time: 0,
        last_time: 0,
        step: 0.0,
        origin: 0.0,
        residual: 0.0,
        fast: 0.0,
        slow: 0.0,
        error: 0.0,
        error_mean: 0.0,
        error_variance: 1e-12,
        tails: [Tail::NEW; 4],
        of_day: [0.0; 24],
        of_week: [0.0; 168],
        of_day_values: [0; 24],
        of_week_values: [0; 168],
        previous: 0.0,
        run: 0.0,
        runs: 0.0,
        longest_run: 0.0,
        mean_run: 1.0,
        run_since: 0,
        incident_time: 0,
        incident_score: 0.0,
        recent_incidents: 0.5,
        lasting_incidents: 0.0,
        hours: HourProfile::NEW,
        largest: [Largest::NEW; 4],
    };

    pub(super) fn is_new(&self) -> bool {
        self.values == 0
    }

    /// Judges a finite value, then makes it part of the past. `budget` is incidents a week.
    pub(super) fn judge(&mut self, nanos: i64, value: f64, budget: f64) -> Option<Strange> {
        let value = value.clamp(-LARGEST_VALUE, LARGEST_VALUE);
        let time = nanos.div_euclid(1_000_000_000);
        if self.values == 0 {
            self.first_time = time;
            self.incident_time = time;
            self.run_since = time;
            self.origin = value;
        }
        self.learn_step(nanos);
        let x = value - self.origin;
        let expected = self.expected(time, x);
        let usual_error = self.error_mean;
        let (common, by_time) = self.surprise(time, x, x - expected);
        let judged = self.values;
        self.values = self.values.saturating_add(1);
        if common + by_time < LEAST_SCORE {
            return None;
        }
        // What happens by the hour or the day does not become likelier with more values.
        let threshold = self.threshold(budget);
        let score = common + by_time * (threshold / THRESHOLD).max(1.0);
        if !self.opens_incident(time, score, threshold, budget) {
            return None;
        }
        let half = 3.0 * usual_error;
        Some(Strange {
            lower: self.origin + expected - half,
            upper: self.origin + expected + half,
            score: (score + THRESHOLD - threshold).max(0.0),
            values: judged,
        })
    }

    /// Follows the time between values; nanoseconds.
    fn learn_step(&mut self, nanos: i64) {
        let gap = nanos.saturating_sub(self.last_time) as f64 / 1e9;
        if self.values == 1 {
            self.step = gap;
        } else if self.values > 1 && gap > self.step * 1.0001 {
            self.step *= 1.05;
        } else if self.values > 1 && gap < self.step * 0.9999 {
            self.step /= 1.05;
        }
        self.step = self.step.clamp(1e-3, 1e8);
        self.last_time = nanos;
    }

    /// What the hour of the week, else the hour of the day, leads to expect; learns `x` for the next time.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // remainders
    fn expected(&mut self, time: i64, x: f64) -> f64 {
        let hour = time.div_euclid(3600);
        let (day, week) = (hour.rem_euclid(24) as usize, hour.rem_euclid(168) as usize);
        let expected = if self.of_week_values[week] >= 12 {
            f64::from(self.of_week[week])
        } else if self.of_day_values[day] > 0 {
            f64::from(self.of_day[day])
        } else {
            x
        };
        learn(&mut self.of_day[day], &mut self.of_day_values[day], x);
        learn(&mut self.of_week[week], &mut self.of_week_values[week], x);
        expected
    }

    /// The score that opens an incident in a series with values as frequent as this one's, before its own incidents count.
    fn threshold(&self, budget: f64) -> f64 {
        let slope = if self.step < REFERENCE_STEP { THRESHOLD_MORE_OFTEN } else { THRESHOLD_LESS_OFTEN };
        let threshold = THRESHOLD + slope * ln(REFERENCE_STEP / self.step.max(1.0)) - THRESHOLD_LESS_OFTEN * ln(budget);
        threshold.max(LEAST_THRESHOLD)
    }

    /// The sums of -ln of the chances of the value, its levels, its residual and its error; and of its hour and its standing
    /// still, which do not depend on how many values come.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // hours modulo 65,536, and bounded hours
    fn surprise(&mut self, time: i64, x: f64, residual: f64) -> (f64, f64) {
        let first = 1.0 / (f64::from(self.values) + 1.0);
        self.residual += first.max(0.1) * (residual - self.residual);
        self.fast += first.max(0.05) * (x - self.fast);
        self.slow += first.max(0.01) * (x - self.slow);
        let hour = time.div_euclid(3600);
        let mut score = self.error_surprise(residual.abs(), first);
        let by_time = self.standstill_surprise(time, x) + self.hours.judge(hour, x, self.tails[1].spread);
        let memory_values = (MEMORY / self.step).max(LEAST_MEMORY_VALUES);
        let at = Moment {
            row: self.values,
            hour: hour.rem_euclid(65_536) as u16,
            memory_values,
            memory_hours: (memory_values * self.step / HOUR).min(60_000.0) as u16,
            slowest_weight: 1.0 / SLOWEST_VALUES.min((SLOWEST_TIME / self.step).max(200.0)),
        };
        let statistics = [self.residual, x, self.fast, self.slow];
        for ((tail, largest), statistic) in self.tails.iter_mut().zip(&mut self.largest).zip(statistics) {
            score += tail.judge(largest, &at, statistic);
        }
        (score, by_time)
    }

    /// How unusually large the errors of the last three values are, as for a normal distribution, capped.
    fn error_surprise(&mut self, error: f64, first: f64) -> f64 {
        self.error += (error - self.error) / (f64::from(self.values) + 1.0).min(3.0);
        let mut score = 0.0;
        if self.values > 100 {
            let z = (self.error - self.error_mean) / self.error_variance.sqrt();
            if z > 0.0 {
                score = (z.min(30.0) * z.min(30.0) / 2.0 + ln(z.min(30.0) + 1.0)).min(20.0);
            }
        }
        let weight = first.max(1.0 / 2000.0);
        let difference = error - self.error_mean;
        self.error_mean += weight * difference;
        self.error_variance =
            (self.error_variance + weight * (difference * difference - self.error_variance)).max(1e-18);
        score
    }

    /// How unusually long the value has been the same.
    fn standstill_surprise(&mut self, time: i64, x: f64) -> f64 {
        let mut score = 0.0;
        if self.values > 0 && x == self.previous {
            self.run += 1.0;
            let usual = self.longest_run.max(self.mean_run);
            let knows = self.runs > LEAST_RUNS && (time - self.first_time) as f64 > LEAST_RUN_HISTORY;
            if knows && (time - self.run_since) as f64 >= LEAST_STANDSTILL {
                score = ((self.run - 2.0 * usual) / self.mean_run.max(usual / 3.0)).clamp(0.0, 60.0);
            }
        } else {
            if self.values > 0 {
                self.runs += 1.0;
                self.longest_run = (self.longest_run * (1.0 - 0.000_03)).max(self.run);
                self.mean_run += (self.run - self.mean_run) / self.runs.min(2000.0);
            }
            self.run = 0.0;
            self.run_since = time;
        }
        self.previous = x;
        score
    }

    /// Whether the score opens an incident: it is above the threshold, which each incident of late raises, and the silence
    /// after the last one is over, or this is much stranger.
    fn opens_incident(&mut self, time: i64, score: f64, threshold: f64, budget: f64) -> bool {
        let age = (time - self.first_time) as f64;
        let since = (time - self.incident_time).max(0) as f64;
        let recent = self.recent_incidents * decay(since * budget / WEEK);
        let lasting = self.lasting_incidents * decay(since * budget / (4.0 * WEEK));
        let over = (recent - 2.5).max(0.0);
        let lasting_over = (lasting - 3.5).max(0.0);
        let raised =
            1.0 + 0.17 * recent + over * over + 20.0 * lasting_over * lasting_over + 4.0 * decay(age.max(0.0) / DAY);
        if score < threshold * raised || age < LEARNING {
            return false;
        }
        let most = MOST_SILENCE * (self.step / REFERENCE_STEP).max(1.0).sqrt();
        let silence = (SILENCE_SHARE * age).max(LEAST_SILENCE_VALUES * self.step).min(most);
        if self.incident_score > 0.0 && since <= silence && score <= BREAKTHROUGH * self.incident_score {
            return false;
        }
        self.recent_incidents = recent + 1.0;
        self.lasting_incidents = lasting + 1.0;
        self.incident_time = time;
        self.incident_score = score;
        true
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(u64::from(self.values));
        for time in [self.first_time, self.last_time, self.run_since, self.incident_time] {
            out.signed(time);
        }
        for x in self.numbers() {
            out.float(x);
        }
        for (tail, largest) in self.tails.iter().zip(&self.largest) {
            tail.write(largest, out);
        }
        let means = self.of_day.iter().chain(&self.of_week);
        for (mean, values) in means.zip(self.of_day_values.iter().chain(&self.of_week_values)) {
            out.unsigned(u64::from(*values));
            if *values > 0 {
                out.single(*mean);
            }
        }
        self.hours.write(out);
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut new = Self::NEW;
        new.values = u32::try_from(state.unsigned()?).map_err(|_| StateError::Impossible("count of values"))?;
        for time in [&mut new.first_time, &mut new.last_time, &mut new.run_since, &mut new.incident_time] {
            *time = state.signed()?;
        }
        let mut numbers = new.numbers();
        for x in &mut numbers {
            *x = state.finite("number of a series")?;
        }
        new.set_numbers(numbers);
        for (tail, largest) in new.tails.iter_mut().zip(&mut new.largest) {
            (*tail, *largest) = Tail::read(state)?;
        }
        let means = new.of_day.iter_mut().chain(&mut new.of_week);
        for (mean, values) in means.zip(new.of_day_values.iter_mut().chain(&mut new.of_week_values)) {
            *values = u8::try_from(state.below(31, "count of values")?).unwrap_or(0);
            if *values > 0 {
                *mean = state.finite_single("mean")?;
            }
        }
        new.hours = HourProfile::read(state)?;
        Ok(new)
    }

    fn numbers(&self) -> [f64; 16] {
        [
            self.step,
            self.origin,
            self.residual,
            self.fast,
            self.slow,
            self.error,
            self.error_mean,
            self.error_variance,
            self.previous,
            self.run,
            self.runs,
            self.longest_run,
            self.mean_run,
            self.incident_score,
            self.recent_incidents,
            self.lasting_incidents,
        ]
    }

    fn set_numbers(&mut self, numbers: [f64; 16]) {
        [
            self.step,
            self.origin,
            self.residual,
            self.fast,
            self.slow,
            self.error,
            self.error_mean,
            self.error_variance,
            self.previous,
            self.run,
            self.runs,
            self.longest_run,
            self.mean_run,
            self.incident_score,
            self.recent_incidents,
            self.lasting_incidents,
        ] = numbers;
    }
}
