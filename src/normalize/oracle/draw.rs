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

    fn list<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() & 1 == 1).then(|| make(self))
    }

    fn number(&mut self) -> f64 {
        let own = f64::from(self.byte()) / 7.0;
        self.pick(&[
            own,
            -own,
            0.0,
            -0.0,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from_bits(0x7ff0_0000_0000_0002),
        ])
    }

    fn key(&mut self) -> String {
        self.pick(&["host.name", "service.name", "service.instance.id", "state", "a", "b", "ключ", ""]).to_owned()
    }

    fn value(&mut self, depth: u8) -> AnyValue {
        let value = match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::StringValue(
                self.pick(&["x", "used", "", "ü\n\"", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"]).to_owned(),
            ),
            1 => Value::BoolValue(self.byte() & 1 == 1),
            2 => Value::IntValue(i64::from(self.byte()) - 100),
            3 => Value::DoubleValue(self.number()),
            4 => Value::BytesValue(self.list(4, Self::byte)),
            5 => Value::StringValueStrindex(i32::from(self.byte()) - 9),
            6 => return AnyValue { value: None },
            7 => Value::ArrayValue(ArrayValue { values: self.list(3, |d| d.value(depth - 1)) }),
            _ => Value::KvlistValue(KeyValueList { values: self.list(3, |d| d.attribute(depth - 1)) }),
        };
        AnyValue { value: Some(value) }
    }

    fn attribute(&mut self, depth: u8) -> KeyValue {
        KeyValue { key: self.key(), value: self.maybe(|d| d.value(depth)), ..KeyValue::default() }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |d| d.attribute(2))
    }

    fn time(&mut self) -> u64 {
        let good = NOW as u64 - u64::from(self.byte());
        let kept = (NOW as u64 - u64::from(RETENTION_DAYS) * DAY) / DAY * DAY;
        self.pick(&[good, good, good, good, good, kept, kept - 1, 0, 10_413_792_000_000_000_000, u64::MAX])
    }

    fn flags(&mut self) -> u32 {
        self.pick(&[0, 0, 0, 0, 1, 2])
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.list(1, |d| Exemplar { filtered_attributes: d.attributes(), span_id: vec![1; 8], ..Exemplar::default() })
    }

    fn point(&mut self) -> NumberDataPoint {
        let value = match self.below(5) {
            0 => None,
            1 => Some(number_data_point::Value::AsInt(self.pick(&[3, -3, i64::MAX, i64::MIN, (1 << 53) + 1]))),
            _ => Some(number_data_point::Value::AsDouble(self.number())),
        };
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.exemplars(),
            flags: self.flags(),
            value,
        }
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        let n = self.below(4);
        let mut bounds: Vec<f64> = (0..n).map(|i| f64::from(i) * 2.5).collect();
        if self.below(6) == 0 {
            bounds.reverse();
        }
        let extra = u8::from(self.below(6) != 0);
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.maybe(Self::number),
            bucket_counts: (0..n + extra).map(|_| u64::from(self.byte())).collect(),
            explicit_bounds: bounds,
            exemplars: self.exemplars(),
            flags: self.flags(),
            min: self.maybe(Self::number),
            max: self.maybe(Self::number),
        }
    }

    fn buckets(&mut self) -> Buckets {
        Buckets {
            offset: self.pick(&[0, 1, -5, 300, i32::MAX, i32::MIN]),
            bucket_counts: self.list(5, |d| d.pick(&[0, 1, 200, u64::MAX])),
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.maybe(Self::number),
            scale: self.pick(&[0, 3, -2, 20, -10, i32::MAX, i32::MIN]),
            zero_count: u64::from(self.below(3)),
            positive: self.maybe(Self::buckets),
            negative: self.maybe(Self::buckets),
            flags: self.flags(),
            exemplars: self.exemplars(),
            min: self.maybe(Self::number),
            max: self.maybe(Self::number),
            zero_threshold: self.number(),
        }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.number(),
            quantile_values: self.list(3, |d| ValueAtQuantile {
                quantile: d.pick(&[0.0, -0.0, 0.5, 0.99, 1.0, 0.5, 1.5]),
                value: d.number(),
            }),
            flags: self.flags(),
        }
    }

    fn metric(&mut self) -> Metric {
        let temporality = self.pick(&[2, 1, 2, 0, 7]);
        let data = match self.below(6) {
            0 => Some(metric::Data::Gauge(Gauge { data_points: self.list(3, Self::point) })),
            1 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::point),
                aggregation_temporality: temporality,
                is_monotonic: self.byte() & 1 == 1,
            })),
            2 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram),
                aggregation_temporality: temporality,
            })),
            3 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential),
                aggregation_temporality: temporality,
            })),
            4 => Some(metric::Data::Summary(Summary { data_points: self.list(3, Self::summary) })),
            _ => None,
        };
        let names =
            ["m", "n", "system.cpu.utilization", "http.server.duration", "", "a name that is much too long for it"];
        Metric {
            name: self.pick(&names).to_owned(),
            description: self.pick(&["", "what it is"]).to_owned(),
            unit: self.pick(&["1", "", "ms", "s"]).to_owned(),
            metadata: self.list(1, |d| d.attribute(0)),
            data,
        }
    }

    pub(super) fn request(&mut self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.list(3, |d| ResourceMetrics {
            resource: d.maybe(|d| Resource {
                attributes: d.attributes(),
                entity_refs: d.list(2, |d| EntityRef {
                    r#type: d.pick(&["host", "service", "process", "acme"]).to_owned(),
                    id_keys: d.list(2, Self::key),
                    ..EntityRef::default()
                }),
                ..Resource::default()
            }),
            scope_metrics: d.list(2, |d| ScopeMetrics {
                scope: d.maybe(|d| InstrumentationScope {
                    name: d.pick(&["", "lib"]).to_owned(),
                    version: d.pick(&["", "1"]).to_owned(),
                    attributes: d.list(4, |d| d.attribute(1)),
                    ..InstrumentationScope::default()
                }),
                metrics: d.list(3, Self::metric),
                schema_url: "https://example.com".to_owned(),
            }),
            schema_url: String::new(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }
}

/// The same message in another order of fields, with fields in it that nobody knows. Fields of one number keep their order.
pub(super) fn shuffled(bytes: &[u8], schema: &Schema, draw: &mut Draw<'_>) -> Vec<u8> {
    let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut reader = Reader::new(bytes);
    let mut order = BTreeMap::new();
    while !reader.is_empty() {
        let start = reader.left();
        let key = reader.key().unwrap();
        let mut field = bytes[bytes.len() - start..bytes.len() - reader.left()].to_vec();
        let kind = schema.0.iter().find(|(n, _)| *n == key >> 3).map(|(_, t)| t);
        match (key & 7, kind) {
            (2, Some(Type::Message(inner))) => {
                let inner = shuffled(reader.bytes().unwrap(), inner, draw);
                prost::encoding::encode_varint(inner.len() as u64, &mut field);
                field.extend_from_slice(&inner);
            }
            (wire, _) => {
                let before = reader.left();
                match wire {
                    0 => drop(reader.varint().unwrap()),
                    1 => drop(reader.fixed64().unwrap()),
                    _ => drop(reader.bytes().unwrap()),
                }
                field.extend_from_slice(&bytes[bytes.len() - before..bytes.len() - reader.left()]);
            }
        }
        let place = *order.entry(key >> 3).or_insert_with(|| draw.byte());
        fields.push((place, field));
        if draw.below(8) == 0 {
            // Number 100: varint, bytes, group, fixed32.
            let unknown: &[u8] = draw.pick(&[
                &[0xa0, 0x06, 1][..],
                &[0xa2, 0x06, 1, 9],
                &[0xa3, 0x06, 0x08, 1, 0xa4, 0x06],
                &[0xa5, 0x06, 1, 2, 3, 4],
            ]);
            fields.push((draw.byte(), unknown.to_vec()));
        }
    }
    fields.sort_by_key(|(place, _)| *place);
    fields.into_iter().flat_map(|(_, field)| field).collect()
}
