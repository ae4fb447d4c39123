//! What a decoded request comes to.

use super::*;

/// Makes of a decoded request what the walk has to make of its bytes.
pub(super) struct Expect<'n> {
    pub(super) normalizer: &'n Normalizer,
    pub(super) lines: Vec<String>,
    pub(super) rejected: u64,
}

/// Everything about a point but its numbers.
struct Place<'p> {
    agent: Option<&'p str>,
    base: SeriesSpec,
    /// None for one whose attributes are too many.
    scope: Option<Arc<Scope>>,
    refused: bool,
}

impl Expect<'_> {
    pub(super) fn request(mut self, request: &ExportMetricsServiceRequest) -> Seen {
        for group in &request.resource_metrics {
            let list = group.resource.as_ref().map_or(&[][..], |r| &r.attributes);
            let resource = attributes(list);
            let references = group.resource.as_ref().map_or(&[][..], |r| &r.entity_refs);
            let entities: Vec<_> = references
                .iter()
                .map(|e| agents::EntityRef { kind: e.r#type.clone(), id_keys: e.id_keys.clone() })
                .collect();
            let agent = resource
                .as_ref()
                .map(|r| self.normalizer.identity.name(r, &entities).unwrap_or_else(|| "sender".into()));
            let resource = Arc::new(resource.unwrap_or_default());
            for scope in &group.scope_metrics {
                let own = scope.scope.clone().unwrap_or_default();
                let own = attributes(&own.attributes)
                    .map(|attributes| Arc::new(Scope { name: own.name, version: own.version, attributes }));
                for metric in &scope.metrics {
                    self.metric(agent.as_deref(), &resource, own.as_ref(), metric);
                }
            }
        }
        self.lines.sort();
        (self.lines, self.rejected)
    }

    fn metric(&mut self, agent: Option<&str>, resource: &Arc<Attributes>, scope: Option<&Arc<Scope>>, metric: &Metric) {
        let temporal = |t: i32, monotonic| match t {
            1 => Some(Shape::Delta { monotonic }),
            2 => Some(Shape::Cumulative { monotonic }),
            _ => None,
        };
        let shape = match &metric.data {
            None => return,
            Some(metric::Data::Gauge(_)) => Some(Shape::Gauge),
            Some(metric::Data::Sum(s)) => temporal(s.aggregation_temporality, s.is_monotonic),
            Some(metric::Data::Histogram(h)) => temporal(h.aggregation_temporality, true),
            Some(metric::Data::ExponentialHistogram(h)) => temporal(h.aggregation_temporality, true),
            Some(metric::Data::Summary(_)) => Some(Shape::Cumulative { monotonic: true }),
        };
        let too_long = metric.name.len() > LONGEST_NAME || metric.unit.len() > LONGEST_NAME;
        let place = Place {
            agent,
            refused: shape.is_none() || metric.name.is_empty() || too_long || agent.is_none(),
            base: SeriesSpec {
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                kind: MetricKind::Custom,
                shape: shape.unwrap_or(Shape::Gauge),
                part: Part::Value,
                integer: false,
                factor: 1.0,
                origin: Origin::Otlp,
                scope: Arc::default(),
                attributes: Attributes::default(),
                resource: resource.clone(),
            },
            scope: scope.cloned(),
        };
        self.points(&place, metric.data.as_ref().unwrap());
    }

    fn points(&mut self, place: &Place<'_>, data: &metric::Data) {
        match data {
            metric::Data::Gauge(Gauge { data_points }) | metric::Data::Sum(Sum { data_points, .. }) => {
                for p in data_points {
                    let value = p.value.map(|v| match v {
                        number_data_point::Value::AsDouble(d) => d,
                        number_data_point::Value::AsInt(i) => i as f64,
                    });
                    let numbers = value.map(|v| vec![(Part::Value, v)]);
                    self.point(place, &p.attributes, (p.start_time_unix_nano, p.time_unix_nano), p.flags, numbers);
                }
            }
            metric::Data::Histogram(h) => {
                for p in &h.data_points {
                    let mut buckets = Vec::new();
                    let fits = explicit(&p.explicit_bounds, &p.bucket_counts, &mut buckets);
                    let numbers = fits.map(|()| distribution(p.count, p.sum, p.min, p.max, &buckets, &buckets));
                    self.point(place, &p.attributes, (p.start_time_unix_nano, p.time_unix_nano), p.flags, numbers);
                }
            }
            metric::Data::ExponentialHistogram(h) => {
                for p in &h.data_points {
                    let side = |b: &Option<Buckets>| {
                        b.as_ref()
                            .map(|b| Side { offset: b.offset, counts: b.bucket_counts.clone() })
                            .unwrap_or_default()
                    };
                    let exponential = Exponential {
                        scale: p.scale,
                        zero_count: p.zero_count,
                        zero_threshold: p.zero_threshold,
                        positive: side(&p.positive),
                        negative: side(&p.negative),
                    };
                    let (mut all, mut stable) = (Vec::new(), Vec::new());
                    exponential.buckets(&mut all);
                    exponential.stable(160, &mut stable);
                    let numbers = distribution(p.count, p.sum, p.min, p.max, &stable, &all);
                    self.point(
                        place,
                        &p.attributes,
                        (p.start_time_unix_nano, p.time_unix_nano),
                        p.flags,
                        Some(numbers),
                    );
                }
            }
            metric::Data::Summary(s) => {
                for p in &s.data_points {
                    let mut numbers = vec![(Part::Count, p.count as f64), (Part::Sum, p.sum)];
                    numbers.extend(p.quantile_values.iter().map(|q| (Part::Quantile(q.quantile + 0.0), q.value)));
                    let good = p.quantile_values.iter().all(|q| (0.0..=1.0).contains(&q.quantile));
                    self.point(
                        place,
                        &p.attributes,
                        (p.start_time_unix_nano, p.time_unix_nano),
                        p.flags,
                        good.then_some(numbers),
                    );
                }
            }
        }
    }

    fn point(
        &mut self,
        place: &Place<'_>,
        list: &[KeyValue],
        (start, time): (u64, u64),
        flags: u32,
        numbers: Option<Vec<(Part, f64)>>,
    ) {
        let earliest = (NOW as u64 - u64::from(RETENTION_DAYS) * DAY) / DAY * DAY;
        if place.refused || time < earliest || time > NOW as u64 + DAY {
            self.rejected += 1;
            return;
        }
        if flags & 1 == 1 {
            return;
        }
        let (Some(numbers), Some(attributes), Some(scope)) = (numbers, attributes(list), &place.scope) else {
            self.rejected += 1;
            return;
        };
        for (part, value) in numbers {
            let shape = match part {
                Part::Min | Part::Max | Part::Quantile(_) => Shape::Gauge,
                _ => place.base.shape,
            };
            let mut spec =
                SeriesSpec { part, shape, attributes: attributes.clone(), scope: scope.clone(), ..place.base.clone() };
            self.normalizer.rules.apply(&mut spec);
            let value = if spec.factor.to_bits() == 1.0_f64.to_bits() { value } else { value * spec.factor };
            let start = i64::try_from(start).unwrap_or(0);
            self.lines.push(line(place.agent.unwrap(), &spec, start, time as i64, value));
        }
    }
}

fn distribution(
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    bounds: &[Bucket],
    all: &[Bucket],
) -> Vec<(Part, f64)> {
    let mut numbers = vec![(Part::Count, count as f64)];
    numbers.extend(sum.map(|v| (Part::Sum, v)));
    numbers.extend(min.map(|v| (Part::Min, v)));
    numbers.extend(max.map(|v| (Part::Max, v)));
    let mut total = 0_u64;
    for bucket in bounds {
        total = total.saturating_add(bucket.count);
        if bucket.upper.is_finite() {
            numbers.push((Part::Bucket(bucket.upper + 0.0), total as f64));
        }
    }
    numbers.extend(QUANTILES.iter().filter_map(|q| Some((Part::Quantile(*q), quantile(all, *q, (min, max))?))));
    numbers
}
