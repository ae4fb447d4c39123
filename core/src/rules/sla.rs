//! How an agent stands against its objective: error budget and burn rates.
//!
//! Google's SRE workbook, "Alerting on SLOs": the burn rate is the share of time down over the share that the
//! objective allows; for 30 days, 14.4 over an hour uses up 2 % of the budget, 6 over six hours 5 %, 1 over three
//! days 10 %.

use crate::rules::percent::percent;
use crate::verdict::{Risk, SlaVerdict};
use serde::{Deserialize, Serialize};

/// The rule's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlaConfig {
    /// A burn rate over 1 hour above this is a high risk.
    pub hour_factor: f64,
    /// A burn rate over 6 hours above this is a high risk.
    pub six_hours_factor: f64,
    /// A burn rate over 3 days above this is a medium risk.
    pub three_days_factor: f64,
}

impl Default for SlaConfig {
    fn default() -> Self {
        Self { hour_factor: 14.4, six_hours_factor: 6.0, three_days_factor: 1.0 }
    }
}

impl SlaConfig {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        for (name, factor) in [
            ("hour_factor", self.hour_factor),
            ("six_hours_factor", self.six_hours_factor),
            ("three_days_factor", self.three_days_factor),
        ] {
            if !(factor.is_finite() && factor > 0.0) {
                return Err(format!("{name} is {factor}, must be a number above 0"));
            }
        }
        Ok(())
    }
}

/// Availability over the windows that count. Each is (known, down) in seconds; known = up + down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    /// The objective's period.
    pub period: (f64, f64),
    /// The last hour.
    pub hour: (f64, f64),
    /// The last 6 hours.
    pub six_hours: (f64, f64),
    /// The last 3 days.
    pub three_days: (f64, f64),
}

/// The report for an objective of `target` percent.
#[must_use]
pub fn evaluate(config: &SlaConfig, target: f64, windows: &Windows) -> SlaVerdict {
    let allowed = 1.0 - target / 100.0;
    let burn = [windows.hour, windows.six_hours, windows.three_days].map(|w| burn_rate(w, allowed));
    let used = burn_rate(windows.period, allowed);
    // Nothing known is nothing used.
    let budget_left = if used.is_nan() { 1.0 } else { 1.0 - used };
    let risk = if budget_left <= 0.0 {
        Risk::Breached
    } else if burn[0] > config.hour_factor || burn[1] > config.six_hours_factor {
        Risk::High
    } else if burn[2] > config.three_days_factor {
        Risk::Medium
    } else {
        Risk::Low
    };
    let (known, down) = windows.period;
    let availability = percent(known - down, known).unwrap_or(f64::NAN);
    SlaVerdict { target, availability, budget_left, burn, risk }
}

/// Share of time down over the share `allowed`; NaN when nothing is known. Where nothing is allowed any downtime burns
/// infinitely fast.
fn burn_rate((known, down): (f64, f64), allowed: f64) -> f64 {
    if known.is_nan() || known <= 0.0 {
        f64::NAN
    } else if down <= 0.0 {
        0.0
    } else {
        down / known / allowed.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{SlaConfig, Windows, evaluate};
    use crate::verdict::Risk;

    const HOUR: f64 = 3600.0;
    const DAY: f64 = 24.0 * HOUR;

    /// An objective of 99 %, 30 days, down for so many seconds in each window.
    fn report(period: f64, hour: f64, six_hours: f64, three_days: f64) -> crate::verdict::SlaVerdict {
        let windows = Windows {
            period: (30.0 * DAY, period),
            hour: (HOUR, hour),
            six_hours: (6.0 * HOUR, six_hours),
            three_days: (3.0 * DAY, three_days),
        };
        evaluate(&SlaConfig::default(), 99.0, &windows)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn budgets_and_burn_rates() {
        // 1 % of 30 days is 25,920 s.
        let half = report(12_960.0, 36.0, 216.0, 2592.0);
        assert!(close(half.budget_left, 0.5) && close(half.availability, 99.5), "{half:?}");
        assert!(half.burn.iter().all(|&b| close(b, 1.0)), "{half:?}");
        let over = report(51_840.0, 0.0, 0.0, 0.0);
        assert!(close(over.budget_left, -1.0));
    }

    #[test]
    fn risks() {
        for (name, down, expect) in [
            ("nothing happened", (0.0, 0.0, 0.0, 0.0), Risk::Low),
            ("slowly", (2700.0, 0.0, 0.0, 2600.0), Risk::Medium),
            ("just not slowly", (2700.0, 0.0, 0.0, 2590.0), Risk::Low),
            ("fast in an hour", (520.0, 519.0, 519.0, 519.0), Risk::High),
            ("just not fast in an hour", (520.0, 518.0, 518.0, 518.0), Risk::Low),
            ("fast in six hours", (1300.0, 0.0, 1297.0, 1297.0), Risk::High),
            ("just not in six hours", (1300.0, 0.0, 1295.0, 1295.0), Risk::Low),
            ("gone", (26_000.0, 0.0, 0.0, 0.0), Risk::Breached),
            ("fast and gone", (26_000.0, 3600.0, 3600.0, 3600.0), Risk::Breached),
        ] {
            let (period, hour, six, three) = down;
            assert_eq!(report(period, hour, six, three).risk, expect, "{name}");
        }
    }

    #[test]
    fn the_budget_is_gone_at_exactly_nothing_left() {
        let windows =
            Windows { period: (100.0, 50.0), hour: (0.0, 0.0), six_hours: (0.0, 0.0), three_days: (0.0, 0.0) };
        let report = evaluate(&SlaConfig::default(), 50.0, &windows);
        assert_eq!((report.budget_left, report.risk), (0.0, Risk::Breached));
    }

    #[test]
    fn nothing_known_is_no_risk() {
        let nothing = (0.0, 0.0);
        let windows = Windows { period: nothing, hour: nothing, six_hours: nothing, three_days: nothing };
        let report = evaluate(&SlaConfig::default(), 99.9, &windows);
        assert!(report.availability.is_nan() && report.burn.iter().all(|b| b.is_nan()));
        assert_eq!((report.budget_left, report.risk), (1.0, Risk::Low));
    }

    #[test]
    fn an_objective_of_all_the_time() {
        let windows =
            |down| Windows { period: (DAY, down), hour: (HOUR, 0.0), six_hours: (HOUR, 0.0), three_days: (DAY, down) };
        let clean = evaluate(&SlaConfig::default(), 100.0, &windows(0.0));
        assert_eq!((clean.budget_left, clean.risk), (1.0, Risk::Low));
        let once = evaluate(&SlaConfig::default(), 100.0, &windows(1.0));
        assert_eq!((once.budget_left, once.risk), (f64::NEG_INFINITY, Risk::Breached));
    }

    #[test]
    fn impossible_configurations_are_named() {
        let bad = SlaConfig { six_hours_factor: -1.0, ..SlaConfig::default() };
        assert!(bad.check().expect_err("bad").contains("six_hours_factor"));
        assert_eq!(SlaConfig::default().check(), Ok(()));
    }
}
