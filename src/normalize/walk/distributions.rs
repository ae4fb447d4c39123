//! Points with several numbers: histograms of both kinds, and summaries.

use super::*;

/// Most buckets on each side of zero that an exponential histogram is kept in.
const MOST_BUCKETS: usize = 160;

/// Most counts, bounds or quantiles of a point: a hundred times what a histogram needs.
const MOST_NUMBERS: usize = 16_384;

/// The identity of a point with several numbers, and where it is from.
struct MultiValuePoint<'p> {
    base: IdentityHash,
    run: &'p [u8],
    /// The attributes' field number in the point.
    field: u32,
    time: i64,
}

/// The numbers that histograms of both kinds and summaries have.
#[derive(Default)]
struct Head {
    start: u64,
    time: u64,
    flags: u64,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Walk<'_> {
    /// One number of a point with several.
    fn put(
        &mut self,
        metric: &Metric<'_>,
        point: &MultiValuePoint<'_>,
        part: Part,
        value: f64,
    ) -> Result<(), Malformed> {
        let value = if metric.scaled && matches!(part, Part::Quantile(_)) { value * metric.factor } else { value };
        if self.cannot_hold(value) {
            self.tally.left_out += 1;
            return Ok(());
        }
        if let Some(&series) = self.known.get(&salted(point.base, part)) {
            self.push(metric, series.0, point.time, value);
            return Ok(());
        }
        let integer = matches!(part, Part::Count | Part::Bucket(_));
        self.unknown(metric, point.base, point.run, point.field, part, integer, point.time, value)
    }

    /// Whether the attributes of a point with several numbers are acceptable, so that it is rejected once as a whole.
    fn admitted(&mut self, metric: &Metric<'_>, point: &MultiValuePoint<'_>) -> Result<bool, Malformed> {
        if self.known.contains_key(&salted(point.base, Part::Count)) {
            return Ok(true);
        }
        match self.describe(metric, point.base, point.run, point.field, Part::Count, true)? {
            Ok(()) => Ok(true),
            Err(reason) => {
                self.tally.reject(reason);
                Ok(false)
            }
        }
    }

    pub(super) fn histogram(&mut self, metric: &Metric<'_>, point: &[u8]) -> Result<(), Malformed> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.histogram_with(metric, point, &mut scratch);
        self.scratch = scratch;
        done
    }

    fn histogram_with(&mut self, metric: &Metric<'_>, point: &[u8], scratch: &mut Scratch) -> Result<(), Malformed> {
        let mut reader = Reader::new(point);
        let mut head = Head::default();
        let mut run = PointRun::new();
        scratch.counts.clear();
        scratch.bounds.clear();
        while !reader.is_empty() {
            let before = reader.left();
            match reader.key()? {
                0x4a => {
                    reader.bytes()?;
                    run.add(point, before, reader.left(), &mut scratch.scattered);
                }
                0x11 => head.start = reader.fixed64()?,
                0x19 => head.time = reader.fixed64()?,
                0x21 => head.count = reader.fixed64()?,
                0x29 => head.sum = Some(f64::from_bits(reader.fixed64()?)),
                0x31 => bounded(&mut scratch.counts, reader.fixed64()?),
                0x32 => packed(reader.bytes()?, |bits| bounded(&mut scratch.counts, bits))?,
                0x39 => bounded(&mut scratch.bounds, f64::from_bits(reader.fixed64()?)),
                0x3a => packed(reader.bytes()?, |bits| bounded(&mut scratch.bounds, f64::from_bits(bits)))?,
                0x42 => check(&EXEMPLAR, reader.bytes()?, IN_POINT - 1)?,
                0x50 => head.flags = reader.varint()?,
                0x59 => head.min = Some(f64::from_bits(reader.fixed64()?)),
                0x61 => head.max = Some(f64::from_bits(reader.fixed64()?)),
                key => reader.other(key, &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], IN_POINT)?,
            }
        }
        let run = run.bytes(point, &scratch.scattered);
        let fits = explicit(&scratch.bounds, &scratch.counts, &mut scratch.buckets);
        let wrong = if is_too_many(&scratch.counts) || is_too_many(&scratch.bounds) {
            Some(Reason::TooManyNumbers)
        } else {
            fits.is_none().then_some(Reason::Buckets)
        };
        if !self.taken(metric, head.time, head.flags, wrong, run)? {
            return Ok(());
        }
        self.started(head.start);
        let point = MultiValuePoint { base: identity(metric, run), run, field: 9, time: head.time.cast_signed() };
        if self.admitted(metric, &point)? {
            self.distribution(metric, &point, &head)?;
            self.bounds(metric, &point, &scratch.buckets)?;
            self.quantiles(metric, &point, &scratch.buckets, &head)?;
        }
        Ok(())
    }

    pub(super) fn exponential(&mut self, metric: &Metric<'_>, point: &[u8]) -> Result<(), Malformed> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.exponential_with(metric, point, &mut scratch);
        self.scratch = scratch;
        done
    }

    fn exponential_with(&mut self, metric: &Metric<'_>, point: &[u8], scratch: &mut Scratch) -> Result<(), Malformed> {
        let mut reader = Reader::new(point);
        let mut head = Head::default();
        let mut run = PointRun::new();
        let histogram = &mut scratch.exponential;
        histogram.positive.clear();
        histogram.negative.clear();
        (histogram.scale, histogram.zero_count, histogram.zero_threshold) = (0, 0, 0.0);
        while !reader.is_empty() {
            let before = reader.left();
            match reader.key()? {
                0x0a => {
                    reader.bytes()?;
                    run.add(point, before, reader.left(), &mut scratch.scattered);
                }
                0x11 => head.start = reader.fixed64()?,
                0x19 => head.time = reader.fixed64()?,
                0x21 => head.count = reader.fixed64()?,
                0x29 => head.sum = Some(f64::from_bits(reader.fixed64()?)),
                0x30 => histogram.scale = zigzag(reader.varint()?),
                0x39 => histogram.zero_count = reader.fixed64()?,
                0x42 => side(reader.bytes()?, &mut histogram.positive)?,
                0x4a => side(reader.bytes()?, &mut histogram.negative)?,
                0x50 => head.flags = reader.varint()?,
                0x5a => check(&EXEMPLAR, reader.bytes()?, IN_POINT - 1)?,
                0x61 => head.min = Some(f64::from_bits(reader.fixed64()?)),
                0x69 => head.max = Some(f64::from_bits(reader.fixed64()?)),
                0x71 => histogram.zero_threshold = f64::from_bits(reader.fixed64()?),
                key => reader.other(key, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], IN_POINT)?,
            }
        }
        let run = run.bytes(point, &scratch.scattered);
        let histogram = &scratch.exponential;
        let too_many = is_too_many(&histogram.positive.counts) || is_too_many(&histogram.negative.counts);
        let wrong = too_many.then_some(Reason::TooManyNumbers);
        if !self.taken(metric, head.time, head.flags, wrong, run)? {
            return Ok(());
        }
        self.started(head.start);
        let point = MultiValuePoint { base: identity(metric, run), run, field: 1, time: head.time.cast_signed() };
        if self.admitted(metric, &point)? {
            self.distribution(metric, &point, &head)?;
            scratch.exponential.stable(MOST_BUCKETS, &mut scratch.buckets);
            self.bounds(metric, &point, &scratch.buckets)?;
            scratch.exponential.buckets(&mut scratch.buckets);
            self.quantiles(metric, &point, &scratch.buckets, &head)?;
        }
        Ok(())
    }

    fn distribution(&mut self, metric: &Metric<'_>, point: &MultiValuePoint<'_>, head: &Head) -> Result<(), Malformed> {
        self.put(metric, point, Part::Count, head.count as f64)?;
        for (part, value) in [(Part::Sum, head.sum), (Part::Min, head.min), (Part::Max, head.max)] {
            if let Some(value) = value {
                self.put(metric, point, part, value)?;
            }
        }
        Ok(())
    }

    /// Cumulative counts at the finite bounds; that at infinity is the count.
    fn bounds(
        &mut self,
        metric: &Metric<'_>,
        point: &MultiValuePoint<'_>,
        buckets: &[Bucket],
    ) -> Result<(), Malformed> {
        let mut total = 0_u64;
        for bucket in buckets {
            total = total.saturating_add(bucket.count);
            if bucket.upper.is_finite() {
                // -0 and 0 are one bound.
                self.put(metric, point, Part::Bucket(bucket.upper + 0.0), total as f64)?;
            }
        }
        Ok(())
    }

    fn quantiles(
        &mut self,
        metric: &Metric<'_>,
        point: &MultiValuePoint<'_>,
        buckets: &[Bucket],
        head: &Head,
    ) -> Result<(), Malformed> {
        for q in QUANTILES {
            if let Some(value) = quantile(buckets, q, (head.min, head.max)) {
                self.put(metric, point, Part::Quantile(q), value)?;
            }
        }
        Ok(())
    }

    pub(super) fn summary(&mut self, metric: &Metric<'_>, point: &[u8]) -> Result<(), Malformed> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.summary_with(metric, point, &mut scratch);
        self.scratch = scratch;
        done
    }

    fn summary_with(&mut self, metric: &Metric<'_>, point: &[u8], scratch: &mut Scratch) -> Result<(), Malformed> {
        let mut reader = Reader::new(point);
        // `sum` is not optional here.
        let mut head = Head { sum: Some(0.0), ..Head::default() };
        let mut run = PointRun::new();
        scratch.quantiles.clear();
        while !reader.is_empty() {
            let before = reader.left();
            match reader.key()? {
                0x3a => {
                    reader.bytes()?;
                    run.add(point, before, reader.left(), &mut scratch.scattered);
                }
                0x11 => head.start = reader.fixed64()?,
                0x19 => head.time = reader.fixed64()?,
                0x21 => head.count = reader.fixed64()?,
                0x29 => head.sum = Some(f64::from_bits(reader.fixed64()?)),
                0x32 => bounded(&mut scratch.quantiles, value_at_quantile(reader.bytes()?)?),
                0x40 => head.flags = reader.varint()?,
                key => reader.other(key, &[2, 3, 4, 5, 6, 7, 8], IN_POINT)?,
            }
        }
        let run = run.bytes(point, &scratch.scattered);
        let outside = scratch.quantiles.iter().any(|(q, _)| !(0.0..=1.0).contains(q));
        let wrong = if is_too_many(&scratch.quantiles) {
            Some(Reason::TooManyNumbers)
        } else {
            outside.then_some(Reason::Quantile)
        };
        if !self.taken(metric, head.time, head.flags, wrong, run)? {
            return Ok(());
        }
        self.started(head.start);
        let point = MultiValuePoint { base: identity(metric, run), run, field: 7, time: head.time.cast_signed() };
        if self.admitted(metric, &point)? {
            self.distribution(metric, &point, &head)?;
            for &(q, value) in &scratch.quantiles {
                // -0 and 0 are one quantile.
                self.put(metric, &point, Part::Quantile(q + 0.0), value)?;
            }
        }
        Ok(())
    }
}

/// Keeps `number`, unless there are too many already.
fn bounded<T>(numbers: &mut Vec<T>, number: T) {
    // One more than the limit tells that there are more.
    if numbers.len() <= MOST_NUMBERS {
        numbers.push(number);
    }
}

fn is_too_many<T>(numbers: &[T]) -> bool {
    numbers.len() > MOST_NUMBERS
}

fn packed(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        each(reader.fixed64()?);
    }
    Ok(())
}

fn zigzag(raw: u64) -> i32 {
    let raw = raw as u32;
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

fn side(bytes: &[u8], side: &mut Side) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        match reader.key()? {
            0x08 => side.offset = zigzag(reader.varint()?),
            0x10 => bounded(&mut side.counts, reader.varint()?),
            0x12 => {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    bounded(&mut side.counts, packed.varint()?);
                }
            }
            key => reader.other(key, &[1, 2], IN_POINT - 1)?,
        }
    }
    debug_assert!(check(&BUCKETS, bytes, IN_POINT - 1).is_ok());
    Ok(())
}

fn value_at_quantile(bytes: &[u8]) -> Result<(f64, f64), Malformed> {
    let mut reader = Reader::new(bytes);
    let (mut q, mut value) = (0.0, 0.0);
    while !reader.is_empty() {
        match reader.key()? {
            0x09 => q = f64::from_bits(reader.fixed64()?),
            0x11 => value = f64::from_bits(reader.fixed64()?),
            key => reader.other(key, &[1, 2], IN_POINT - 1)?,
        }
    }
    debug_assert!(check(&QUANTILE, bytes, IN_POINT - 1).is_ok());
    Ok((q, value))
}
