//! Requests out of bytes that proptest can shrink.

use super::*;

/// The bytes that decide.
pub(super) struct Draw<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Draw<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    pub(super) fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()].clone()
    }

    pub(super) fn list<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() & 1 == 1).then(|| make(self))
    }

    pub(super) fn text(&mut self) -> String {
        self.pick(&["", "x", "host.name", "ü \"q\" \\ \n\u{1}", "😀", "\u{fffd}"]).to_owned()
    }

    pub(super) fn double(&mut self) -> f64 {
        let own = f64::from(self.byte()) / 7.0;
        self.pick(&[own, -own, 0.0, -0.0, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
    }

    pub(super) fn count(&mut self) -> u64 {
        let own = u64::from(self.byte());
        self.pick(&[own, own * 10, 0, 1_700_000_000_000_000_000, u64::MAX])
    }

    pub(super) fn integer(&mut self) -> i64 {
        let own = i64::from(self.byte());
        self.pick(&[own, -own, -1000, 0, i64::MAX, i64::MIN])
    }

    pub(super) fn small(&mut self) -> i32 {
        self.pick(&[0, 1, -1, 20, i32::MAX, i32::MIN])
    }

    pub(super) fn any(&mut self, depth: u8) -> AnyValue {
        let value = match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Any::StringValue(self.text()),
            1 => Any::BoolValue(self.byte() & 1 == 1),
            2 => Any::IntValue(self.integer()),
            3 => Any::DoubleValue(self.double()),
            4 => Any::BytesValue(self.list(5, Self::byte)),
            5 => Any::StringValueStrindex(self.small()),
            6 => return AnyValue { value: None },
            7 => Any::ArrayValue(ArrayValue { values: self.list(3, |d| d.any(depth - 1)) }),
            _ => Any::KvlistValue(KeyValueList { values: self.list(3, |d| d.attribute(depth - 1)) }),
        };
        AnyValue { value: Some(value) }
    }

    pub(super) fn attribute(&mut self, depth: u8) -> KeyValue {
        KeyValue { key: self.text(), value: self.maybe(|d| d.any(depth)), key_strindex: self.pick(&[0, 0, 3]) }
    }

    pub(super) fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(3, |d| d.attribute(2))
    }

    pub(super) fn exemplars(&mut self) -> Vec<Exemplar> {
        self.list(1, |d| Exemplar {
            filtered_attributes: d.attributes(),
            time_unix_nano: d.count(),
            span_id: d.pick(&[vec![], vec![0xab; 8]]),
            trace_id: d.pick(&[vec![], vec![0x0f; 16]]),
            value: d.maybe(|d| match d.below(2) {
                0 => exemplar::Value::AsInt(d.integer()),
                _ => exemplar::Value::AsDouble(d.double()),
            }),
        })
    }

    pub(super) fn number_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            exemplars: self.exemplars(),
            flags: self.pick(&[0, 1, u32::MAX]),
            value: self.maybe(|d| match d.below(2) {
                0 => number_data_point::Value::AsInt(d.integer()),
                _ => number_data_point::Value::AsDouble(d.double()),
            }),
        }
    }

    pub(super) fn histogram_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.maybe(Self::double),
            bucket_counts: self.list(4, Self::count),
            explicit_bounds: self.list(3, Self::double),
            exemplars: self.exemplars(),
            flags: self.pick(&[0, 1]),
            min: self.maybe(Self::double),
            max: self.maybe(Self::double),
        }
    }

    pub(super) fn buckets(&mut self) -> Buckets {
        Buckets { offset: self.small(), bucket_counts: self.list(4, Self::count) }
    }

    pub(super) fn exponential_point(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.maybe(Self::double),
            scale: self.small(),
            zero_count: self.count(),
            positive: self.maybe(Self::buckets),
            negative: self.maybe(Self::buckets),
            flags: self.pick(&[0, 1]),
            exemplars: self.exemplars(),
            min: self.maybe(Self::double),
            max: self.maybe(Self::double),
            zero_threshold: self.double(),
        }
    }

    pub(super) fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.double(),
            quantile_values: self.list(2, |d| ValueAtQuantile { quantile: d.double(), value: d.double() }),
            flags: self.pick(&[0, 1]),
        }
    }

    pub(super) fn metric(&mut self) -> Metric {
        let temporality = |d: &mut Self| d.pick(&[0, 1, 2]);
        let data = match self.below(6) {
            0 => None,
            1 => Some(metric::Data::Gauge(Gauge { data_points: self.list(3, Self::number_point) })),
            2 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::number_point),
                aggregation_temporality: temporality(self),
                is_monotonic: self.byte() & 1 == 1,
            })),
            3 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(2, Self::histogram_point),
                aggregation_temporality: temporality(self),
            })),
            4 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(2, Self::exponential_point),
                aggregation_temporality: temporality(self),
            })),
            _ => Some(metric::Data::Summary(Summary { data_points: self.list(2, Self::summary_point) })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.list(1, |d| d.attribute(1)),
            data,
        }
    }

    pub(super) fn request(&mut self) -> ExportMetricsServiceRequest {
        let scope = |d: &mut Self| InstrumentationScope {
            name: d.text(),
            version: d.text(),
            attributes: d.attributes(),
            dropped_attributes_count: d.pick(&[0, 7]),
        };
        let entity = |d: &mut Self| EntityRef {
            schema_url: d.text(),
            r#type: d.text(),
            id_keys: d.list(2, Self::text),
            description_keys: d.list(2, Self::text),
        };
        let resource = |d: &mut Self| Resource {
            attributes: d.attributes(),
            dropped_attributes_count: d.pick(&[0, u32::MAX]),
            entity_refs: d.list(1, entity),
        };
        let scopes = |d: &mut Self| ScopeMetrics {
            scope: d.maybe(scope),
            metrics: d.list(3, Self::metric),
            schema_url: d.text(),
        };
        let resource_metrics = self.list(3, |d| ResourceMetrics {
            resource: d.maybe(resource),
            scope_metrics: d.list(2, scopes),
            schema_url: d.text(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }
}
