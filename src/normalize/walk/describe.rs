//! The descriptions of series that are seen for the first time.

use super::*;

impl Walk<'_> {
    /// Puts a number of a point whose series may be new; false when the point is rejected.
    #[expect(clippy::too_many_arguments, reason = "the numbers of one row")]
    #[cold]
    pub(super) fn unknown(
        &mut self,
        metric: &Metric<'_>,
        base: IdentityHash,
        run: &[u8],
        field: u32,
        part: Part,
        integer: bool,
        time: i64,
        value: f64,
    ) -> Result<(), Malformed> {
        if let Err(reason) = self.describe(metric, base, run, field, part, integer)? {
            self.tally.reject(reason);
            return Ok(());
        }
        let Some(&miss) = self.missed.get(&salted(base, part)) else { return Ok(()) };
        // Before the row, of which nothing may remain without this.
        if !self.memory.take(size_of::<UnresolvedRow>()) {
            return Ok(());
        }
        let row = self.batches.get(metric.partition).map_or(0, |b| b.columns.len());
        self.unresolved.push(UnresolvedRow { partition: metric.partition, row, miss, point: self.tally.points });
        self.push(metric, UNKNOWN, time, value);
        Ok(())
    }

    /// Notes the series of one number of a point, if it was not in this request before.
    pub(super) fn describe(
        &mut self,
        metric: &Metric<'_>,
        base: IdentityHash,
        run: &[u8],
        field: u32,
        part: Part,
        integer: bool,
    ) -> Result<Result<(), Reason>, Malformed> {
        let hash = salted(base, part);
        if self.missed.contains_key(&hash) {
            return Ok(Ok(()));
        }
        // Attributes are there as text, with their types, and as keys of the maps.
        if !self.memory.take(NEW_SERIES_BYTES + metric.name.len() + metric.unit.len() + 3 * run.len()) {
            return Ok(Ok(()));
        }
        let scope = match metric.scope.read.get() {
            Some(read) => read.clone(),
            None => {
                let read = self.scope(metric.scope.bytes)?;
                metric.scope.read.get_or_init(|| read).clone()
            }
        };
        let scope = match scope {
            Ok(scope) => scope,
            Err(reason) => {
                check_run(run, IN_POINT)?;
                return Ok(Err(reason));
            }
        };
        let attributes = match &self.parsed {
            Some((same, attributes)) if *same == base => attributes.clone(),
            _ => match parse(run, field, IN_POINT, self.normalizer.limits(), metric.mended)? {
                Parsed::TooMany => return Ok(Err(Reason::TooManyAttributes)),
                Parsed::TooLarge => return Ok(Err(Reason::AttributesTooLarge)),
                Parsed::Attributes { attributes, duplicates } => {
                    self.tally.duplicates += duplicates;
                    if !matches!(part, Part::Value) {
                        self.parsed = Some((base, attributes.clone()));
                    }
                    attributes
                }
            },
        };
        let mut spec = SeriesSpec {
            metric: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            kind: MetricKind::Custom,
            shape: match part {
                Part::Min | Part::Max | Part::Quantile(_) => Shape::Gauge,
                _ => metric.shape,
            },
            part,
            integer,
            factor: 1.0,
            origin: Origin::Otlp,
            scope,
            attributes,
            resource: metric.resource.attributes.clone(),
        };
        self.normalizer.rules.apply(&mut spec);
        self.missed.insert(hash, self.new_series.len());
        self.new_series.push(NewSeries { hash, agent: metric.resource.agent, spec });
        Ok(Ok(()))
    }

    /// What a scope's bytes say, or why points of it cannot be taken.
    #[cold]
    pub(super) fn scope(&mut self, bytes: &[u8]) -> Result<Result<Arc<Scope>, Reason>, Malformed> {
        let (mut name, mut version): (&[u8], &[u8]) = (b"", b"");
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.key()? {
                0x0a => name = reader.bytes()?,
                0x12 => version = reader.bytes()?,
                0x1a => drop(reader.bytes()?),
                0x20 => drop(reader.varint()?),
                key => reader.other(key, &[1, 2, 3, 4], IN_SCOPE_METRICS - 1)?,
            }
        }
        let most = self.normalizer.config.max_name_bytes;
        if name.len() > most || version.len() > most {
            return Ok(Err(Reason::NameTooLong));
        }
        let mut mended = 0;
        let (name, version) = (text(name, 1, &mut mended).into_owned(), text(version, 2, &mut mended).into_owned());
        Ok(match parse(bytes, 3, IN_SCOPE_METRICS - 1, self.normalizer.limits(), mended)? {
            Parsed::TooMany => Err(Reason::TooManyAttributes),
            Parsed::TooLarge => Err(Reason::AttributesTooLarge),
            Parsed::Attributes { attributes, duplicates } => {
                self.tally.duplicates += duplicates;
                Ok(Arc::new(Scope { name, version, attributes }))
            }
        })
    }
}
