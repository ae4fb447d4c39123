//! Quantiles and stable buckets of histograms.

/// The quantiles that are derived from histograms.
pub const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// One bucket: values above `lower`, up to and including `upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// May be `-inf`.
    pub lower: f64,
    /// May be `+inf`.
    pub upper: f64,
    /// How many values.
    pub count: u64,
}

/// The value at `quantile` by linear interpolation within its bucket, as if values lay evenly in it; `None` when
/// there are none. `range` is the smallest and largest value, where the point says so.
///
/// In an outer bucket without such a limit the answer is the bucket's finite bound.
pub fn quantile(buckets: &[Bucket], quantile: f64, range: (Option<f64>, Option<f64>)) -> Option<f64> {
    let total: f64 = buckets.iter().map(|b| b.count as f64).sum();
    if total <= 0.0 {
        return None;
    }
    let rank = quantile * total;
    let mut below = 0.0;
    let mut found = None;
    for bucket in buckets.iter().filter(|b| b.count > 0) {
        found = Some((bucket, below));
        if below + bucket.count as f64 >= rank {
            break;
        }
        below += bucket.count as f64;
    }
    let (bucket, below) = found?;
    let low = range.0.filter(|m| m.is_finite());
    let high = range.1.filter(|m| m.is_finite());
    let lower = if bucket.lower.is_finite() {
        low.map_or(bucket.lower, |m| m.max(bucket.lower).min(bucket.upper))
    } else {
        low.filter(|m| *m <= bucket.upper).unwrap_or(if bucket.upper > 0.0 { 0.0 } else { bucket.upper })
    };
    let upper = if bucket.upper.is_finite() {
        high.map_or(bucket.upper, |m| m.max(bucket.lower).min(bucket.upper))
    } else {
        high.filter(|m| *m >= bucket.lower).unwrap_or(bucket.lower)
    };
    let share = ((rank - below) / bucket.count as f64).clamp(0.0, 1.0);
    let value = lower + (upper - lower) * share;
    if value.is_finite() { Some(value) } else { [upper, lower].into_iter().find(|v| v.is_finite()) }
}

/// The buckets of a histogram with explicit bounds; `None` when the counts do not fit the bounds, or the
/// bounds do not rise.
pub fn explicit(bounds: &[f64], counts: &[u64], out: &mut Vec<Bucket>) -> Option<()> {
    out.clear();
    if counts.is_empty() && bounds.is_empty() {
        return Some(());
    }
    if counts.len() != bounds.len() + 1 || bounds.iter().any(|b| b.is_nan()) || !bounds.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut lower = f64::NEG_INFINITY;
    for (at, &count) in counts.iter().enumerate() {
        let upper = bounds.get(at).copied().unwrap_or(f64::INFINITY);
        out.push(Bucket { lower, upper, count });
        lower = upper;
    }
    Some(())
}

/// The buckets on one side of an exponential histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// Index of the first bucket.
    pub offset: i32,
    /// Counts from there on.
    pub counts: Vec<u64>,
}

impl Side {
    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.offset = 0;
        self.counts.clear();
    }
}

/// An exponential histogram's distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exponential {
    /// Bounds are powers of 2^(2^-scale).
    pub scale: i32,
    /// Values within `zero_threshold` of 0.
    pub zero_count: u64,
    /// How far from 0 counts as 0.
    pub zero_threshold: f64,
    /// Above zero.
    pub positive: Side,
    /// Below zero, by absolute value.
    pub negative: Side,
}

/// `2^(2^-scale)` to the power of `index`: a bucket's lower bound (OpenTelemetry data model, "Exponential Scale").
///
/// Scales are cut where bounds are long 0, 1 or infinite, so that no factor is infinite and no product NaN.
fn bound(scale: i32, index: i64) -> f64 {
    (index as f64 * f64::from(-scale.clamp(-1000, 1000)).exp2()).exp2()
}

impl Exponential {
    /// All buckets by rising bounds, for quantiles.
    pub fn buckets(&self, out: &mut Vec<Bucket>) {
        out.clear();
        for (at, &count) in self.negative.counts.iter().enumerate().rev().filter(|(_, c)| **c > 0) {
            let index = i64::from(self.negative.offset) + at as i64;
            out.push(Bucket { lower: -bound(self.scale, index + 1), upper: -bound(self.scale, index), count });
        }
        if self.zero_count > 0 {
            let near = if self.zero_threshold.is_finite() { self.zero_threshold.abs() } else { 0.0 };
            let lower = if out.is_empty() { 0.0 } else { -near };
            out.push(Bucket { lower, upper: near, count: self.zero_count });
        }
        for (at, &count) in self.positive.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            let index = i64::from(self.positive.offset) + at as i64;
            out.push(Bucket { lower: bound(self.scale, index), upper: bound(self.scale, index + 1), count });
        }
    }

    /// Buckets whose bounds stay when the scale changes: powers of two, into which buckets of any scale
    /// from 0 up merge exactly (coarser ones are taken as they are), with empty ones between. At most `most` on each
    /// side; past that neighbours merge further.
    pub fn stable(&self, most: usize, out: &mut Vec<Bucket>) {
        out.clear();
        let mut side = Vec::new();
        self.merged(&self.negative, most, &mut side);
        out.extend(side.iter().rev().map(|b| Bucket { lower: -b.upper, upper: -b.lower, count: b.count }));
        if self.zero_count > 0 {
            let near = if self.zero_threshold.is_finite() { self.zero_threshold.abs() } else { 0.0 };
            out.push(Bucket { lower: -near, upper: near, count: self.zero_count });
        }
        self.merged(&self.positive, most, &mut side);
        out.append(&mut side);
        rising(out);
    }

    fn merged(&self, side: &Side, most: usize, out: &mut Vec<Bucket>) {
        out.clear();
        let used = |&(_, c): &(usize, &u64)| *c > 0;
        let Some((first, _)) = side.counts.iter().enumerate().find(used) else { return };
        let Some((last, _)) = side.counts.iter().enumerate().rfind(used) else { return };
        let index = |at: usize| i64::from(side.offset) + at as i64;
        let mut shift = self.scale.clamp(0, 62);
        let width = |shift: i32| (index(last) >> shift) - (index(first) >> shift);
        while shift < 62 && width(shift) >= most.max(1) as i64 {
            shift += 1;
        }
        let start = index(first) >> shift;
        let scale = self.scale.saturating_sub(shift);
        let len = usize::try_from(width(shift)).unwrap_or(0) + 1;
        out.extend((0..len as i64).map(|n| Bucket {
            lower: bound(scale, start + n),
            upper: bound(scale, start + n + 1),
            count: 0,
        }));
        for (at, &count) in side.counts.iter().enumerate().filter(used) {
            let slot = usize::try_from((index(at) >> shift) - start).ok().and_then(|n| out.get_mut(n));
            if let Some(bucket) = slot {
                bucket.count = bucket.count.saturating_add(count);
            }
        }
    }
}

/// Makes buckets whose upper bound does not rise (a zero bucket that reaches over others, bounds past what a double
/// holds) one with the bucket before.
fn rising(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, before| {
        let same = next.upper <= before.upper;
        if same {
            before.count = before.count.saturating_add(next.count);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bounds: &[f64], counts: &[u64], q: f64, range: (Option<f64>, Option<f64>)) -> Option<f64> {
        let mut buckets = Vec::new();
        explicit(bounds, counts, &mut buckets)?;
        quantile(&buckets, q, range)
    }

    #[test]
    fn interpolates_within_the_bucket() {
        assert_eq!(at(&[10.0, 20.0], &[0, 10, 0], 0.5, (None, None)), Some(15.0));
        assert_eq!(at(&[10.0, 20.0], &[10, 10, 0], 0.95, (None, None)), Some(19.0));
        assert_eq!(at(&[10.0], &[4, 0], 0.5, (None, None)), Some(5.0));
        assert_eq!(at(&[10.0], &[4, 0], 0.5, (Some(8.0), Some(10.0))), Some(9.0));
        // Past the last bound: that bound, unless the largest value is known.
        assert_eq!(at(&[10.0], &[0, 4], 0.5, (None, None)), Some(10.0));
        assert_eq!(at(&[10.0], &[0, 4], 0.5, (None, Some(30.0))), Some(20.0));
        assert_eq!(at(&[], &[4], 0.5, (Some(2.0), Some(4.0))), Some(3.0));
        assert_eq!(at(&[10.0], &[0, 0], 0.5, (None, None)), None);
    }

    #[test]
    fn counts_must_fit_rising_bounds() {
        let mut out = Vec::new();
        assert!(explicit(&[1.0], &[1], &mut out).is_none());
        assert!(explicit(&[2.0, 1.0], &[1, 1, 1], &mut out).is_none());
        assert!(explicit(&[f64::NAN], &[1, 1], &mut out).is_none());
        assert!(explicit(&[], &[], &mut out).is_some());
        assert!(explicit(&[], &[7], &mut out).is_some());
    }

    #[test]
    fn exponential_bounds_follow_the_scale() {
        let histogram =
            Exponential { scale: 1, positive: Side { offset: 2, counts: vec![3] }, ..Exponential::default() };
        let mut buckets = Vec::new();
        histogram.buckets(&mut buckets);
        assert_eq!(buckets.len(), 1);
        // base = sqrt(2): index 2 is (2, 2.83].
        assert!((buckets[0].lower - 2.0).abs() < 1e-12 && (buckets[0].upper - 8f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_scale_or_offset_makes_nan() {
        for scale in [i32::MIN, -1100, -11, 0, 20, 1100, i32::MAX] {
            for offset in [i32::MIN, -1, 0, 1, i32::MAX] {
                let side = Side { offset, counts: vec![1, 1] };
                let histogram = Exponential { scale, positive: side.clone(), negative: side, ..Exponential::default() };
                let mut buckets = Vec::new();
                histogram.buckets(&mut buckets);
                assert!(buckets.iter().all(|b| b.lower <= b.upper), "{scale} {offset}: {buckets:?}");
                let median = quantile(&buckets, 0.5, (Some(0.0), Some(f64::NAN)));
                // None where even the bounds are infinite.
                assert!(median.is_none_or(f64::is_finite), "{scale} {offset}: {median:?}");
                histogram.stable(160, &mut buckets);
                assert!(buckets.iter().all(|b| b.lower <= b.upper), "{scale} {offset}: {buckets:?}");
                assert!(buckets.is_sorted_by(|a, b| a.upper < b.upper), "{scale} {offset}: {buckets:?}");
            }
        }
    }

    #[test]
    fn stable_buckets_are_powers_of_two() {
        let histogram = Exponential {
            scale: 1,
            zero_count: 1,
            positive: Side { offset: 0, counts: vec![1, 2, 0, 0, 0, 5] },
            negative: Side { offset: -1, counts: vec![4] },
            ..Exponential::default()
        };
        let mut buckets = Vec::new();
        histogram.stable(160, &mut buckets);
        let seen: Vec<_> = buckets.iter().map(|b| (b.upper, b.count)).collect();
        assert_eq!(seen, [(-0.5, 4), (0.0, 1), (2.0, 3), (4.0, 0), (8.0, 5)]);
        // The zero bucket reaches over (1, 2].
        let zero = Exponential { zero_threshold: 2.0, negative: Side::default(), ..histogram };
        zero.stable(160, &mut buckets);
        assert_eq!(buckets.iter().map(|b| (b.upper, b.count)).collect::<Vec<_>>(), [(2.0, 4), (4.0, 0), (8.0, 5)]);
        let wide =
            Exponential { scale: -2, positive: Side { offset: i32::MIN, counts: vec![1] }, ..Exponential::default() };
        wide.stable(4, &mut buckets);
        assert_eq!(buckets.len(), 1);
    }
}
