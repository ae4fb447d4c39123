use super::*;

#[test]
fn the_bound_itself_is_a_breach() {
    for (kind, value, expect) in [
        (MetricKind::CpuUsage, 79.999, None),
        (MetricKind::CpuUsage, 80.0, Some(Severity::Warning)),
        (MetricKind::CpuUsage, 94.999, Some(Severity::Warning)),
        (MetricKind::CpuUsage, 95.0, Some(Severity::Critical)),
        (MetricKind::CpuUsage, f64::NAN, None),
        (MetricKind::CpuUsage, f64::INFINITY, Some(Severity::Critical)),
        (MetricKind::MemoryUsage, 84.9, None),
        (MetricKind::MemoryUsage, 85.0, Some(Severity::Warning)),
        (MetricKind::MemoryUsage, 95.0, Some(Severity::Critical)),
        (MetricKind::DiskUsage, 85.0, Some(Severity::Warning)),
        (MetricKind::DiskUsage, 95.0, Some(Severity::Critical)),
        (MetricKind::ResponseTime, 1_999.9, None),
        (MetricKind::ResponseTime, 2_000.0, Some(Severity::Warning)),
        (MetricKind::ResponseTime, 5_000.0, Some(Severity::Critical)),
    ] {
        let all = Threshold::defaults();
        let threshold = all.iter().find(|t| t.metric_type == kind).unwrap();
        assert_eq!(threshold.judge(value), expect, "{kind:?} {value}");
    }
}

#[test]
fn amounts_are_judged_only_with_a_total() {
    for (kind, unit, value, total, expect) in [
        (MetricKind::MemoryUsage, "%", 90.0, None, Some(90.0)),
        (MetricKind::MemoryUsage, "Percentage", 90.0, Some(1.0), Some(90.0)),
        (MetricKind::MemoryUsage, "MB", 8_200.0, Some(8_192.0), Some(100.0)),
        (MetricKind::MemoryUsage, "MB", 7_782.4, Some(8_192.0), Some(95.0)),
        (MetricKind::MemoryUsage, "MB", 7_782.4, None, None),
        (MetricKind::DiskUsage, "By", 5.0, Some(0.0), None),
        (MetricKind::CpuUsage, "", 90.0, None, Some(90.0)),
    ] {
        let judged = judged_value(kind, unit, value, total);
        assert_eq!(judged.map(f64::round), expect, "{kind:?} {value} {unit}");
    }
}

#[test]
fn raises_after_a_run_and_resolves() {
    let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
    threshold.consecutive_breaches = 2;
    let (mut state, mut now) = (BreachState::default(), UnixNanos(0));
    for (value, expect) in [
        (85.0, Step::None),
        (70.0, Step::None),
        (85.0, Step::None),
        (86.0, Step::Raise(Severity::Warning)),
        (87.0, Step::None),
        (99.0, Step::Change(Severity::Critical)),
        (81.0, Step::Change(Severity::Warning)),
        (10.0, Step::Resolve),
        (10.0, Step::None),
    ] {
        now = now.plus(UnixNanos::SECOND);
        assert_eq!(state.step(&threshold, threshold.judge(value), now, false), expect, "{value}");
    }
}

#[test]
fn without_auto_resolve_a_person_is_waited_for() {
    let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
    threshold.auto_resolve = false;
    let mut state = BreachState::default();
    assert_eq!(state.step(&threshold, Some(Severity::Warning), UnixNanos(1), false), Step::Raise(Severity::Warning));
    assert_eq!(state.step(&threshold, None, UnixNanos(2), false), Step::None);
    assert_eq!(state.step(&threshold, None, UnixNanos(3), true), Step::Resolve);
}

#[test]
fn says_it_in_a_sentence() {
    let threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
    assert_eq!(threshold.sentence(97.0, Severity::Critical), "cpu_usage is 97.0 %, critical from 95.0 %");
}

/// An operator, its bounds, and what it makes of values.
type Case = (Operator, [f64; 2], &'static [(f64, Option<Severity>)]);

#[test]
fn operators() {
    let cases: [Case; 4] = [
        (
            Operator::GreaterThan,
            [10.0, 20.0],
            &[(9.9, None), (10.0, Some(Severity::Warning)), (20.0, Some(Severity::Critical))],
        ),
        (
            Operator::LessThan,
            [20.0, 10.0],
            &[(20.1, None), (20.0, Some(Severity::Warning)), (10.0, Some(Severity::Critical)), (f64::NAN, None)],
        ),
        (
            Operator::Equal,
            [1.0, 2.0],
            &[(0.0, None), (1.0, Some(Severity::Warning)), (2.0, Some(Severity::Critical)), (3.0, None)],
        ),
        (
            Operator::NotEqual,
            [1.0, 1.0],
            &[(1.0, None), (0.0, Some(Severity::Critical)), (2.0, Some(Severity::Critical)), (f64::NAN, None)],
        ),
    ];
    for (operator, [warning, critical], values) in cases {
        let mut threshold = Threshold::new(MetricKind::Custom, warning, critical);
        threshold.threshold_operator = operator;
        threshold.check().unwrap();
        for &(value, expect) in values {
            assert_eq!(threshold.judge(value), expect, "{operator:?} {value}");
        }
    }
}

#[test]
fn breaches_count_while_they_lie_within_the_window() {
    let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
    threshold.consecutive_breaches = 3;
    threshold.evaluation_window = EvaluationWindow::seconds(60);
    for (times, raised_at) in [
        (&[0, 30, 60][..], Some(60)),
        // The first is older than the window when the third comes; the next two complete a run of three.
        (&[0, 30, 61, 90][..], Some(90)),
        (&[0, 61, 122, 183][..], None),
        (&[0, 1][..], None),
    ] {
        let mut state = BreachState::default();
        let mut raised = None;
        for &second in times {
            let time = UnixNanos(second * UnixNanos::SECOND);
            if state.step(&threshold, Some(Severity::Warning), time, false) != Step::None {
                raised.get_or_insert(second);
            }
        }
        assert_eq!(raised, raised_at, "{times:?}");
    }
}

#[test]
fn windows_are_read_and_written() {
    for (text, nanos) in [
        ("500ms", Some(500_000_000)),
        ("30s", Some(30_000_000_000)),
        ("5m", Some(300_000_000_000)),
        ("1h", Some(3_600_000_000_000)),
        ("7d", Some(604_800_000_000_000)),
        ("0s", None),
        ("5", None),
        ("m", None),
        ("-5m", None),
        ("1.5h", None),
        ("5 m", None),
        ("99999999999999999999d", None),
        ("9999999999d", None),
    ] {
        let window = EvaluationWindow::try_from(text.to_owned()).ok();
        assert_eq!(window.map(EvaluationWindow::nanos), nanos, "{text}");
        if let Some(window) = window {
            assert_eq!(String::from(window), text);
        }
    }
    assert_eq!(String::from(EvaluationWindow::seconds(90)), "90s");
}

#[test]
fn what_makes_no_sense_is_named() {
    let good = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
    type Damage = fn(&mut Threshold);
    let cases: [(Damage, &str); 6] = [
        (|t| t.warning_threshold = f64::NAN, "warning_threshold for cpu_usage"),
        (|t| t.critical_threshold = f64::INFINITY, "critical_threshold for cpu_usage"),
        (|t| t.critical_threshold = 79.0, "must not be below"),
        (|t| t.threshold_operator = Operator::LessThan, "must not be above"),
        (|t| t.threshold_operator = Operator::NotEqual, "must be the same"),
        (|t| t.consecutive_breaches = 0, "consecutive_breaches for cpu_usage"),
    ];
    for (damage, word) in cases {
        let mut threshold = good.clone();
        damage(&mut threshold);
        let said = threshold.check().unwrap_err();
        assert!(said.contains(word), "{said} does not say {word}");
    }
    assert!(check_all(&[good.clone(), good.clone()]).unwrap_err().contains("metric_type cpu_usage"));
    check_all(&Threshold::defaults()).unwrap();
}
