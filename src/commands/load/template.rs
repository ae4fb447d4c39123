//! Requests encoded once; before each sending only times and values are patched in place.
//!
//! What is sent is a function of its numbers, so that anyone can recompute it:
//!
//! - series `n` is the metric `load.gauge` (a gauge, unit `1`) with the attributes `series` = `n`, `device` = `disk<n mod 4>`,
//!   `state` = `used` or `free` (`n` even or odd);
//! - it belongs to the resource `k` = `n / 100`: `service.name` = `load-<k>`, `host.name` = `load-host-<k>`,
//!   `service.version` = `1.0.0`, `deployment.environment.name` = `load`, `cloud.region` = `local`;
//! - its value at the time `t` (nanoseconds) is [`value`]`(n, t)`.

use bytes::Bytes;
use vitals_core::leb128;

/// The metric's name.
pub const METRIC: &str = "load.gauge";
/// Series in one resource.
pub const SERIES_PER_AGENT: u32 = 100;

/// The value of series `n` at `time` nanoseconds: `(100 * (20 + n mod 50) + h mod 1000) / 100`, and 1,000 more when the
/// top 12 bits of `h` are 0 (one value in 4,096 stands out), where `h` is the SplitMix64 finaliser of `n * 2^48 + time`
/// (wrapping).
#[must_use]
pub fn value(series: u32, time: i64) -> f64 {
    let hash = mix((u64::from(series) << 48).wrapping_add(time.cast_unsigned()));
    let hundredths = 100 * (20 + u64::from(series % 50)) + hash % 1000;
    let outlier = if hash >> 52 == 0 { 100_000 } else { 0 };
    #[allow(clippy::cast_precision_loss)] // Under 2^53.
    let hundredths = (hundredths + outlier) as f64;
    hundredths / 100.0
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key by which `vitals` knows the resource of series `n`: `service.name@host.name`.
#[must_use]
pub fn agent_key(series: u32) -> String {
    let k = series / SERIES_PER_AGENT;
    format!("load-{k}@load-host-{k}")
}

/// Which points a request held: series `first .. first + series`, each at the times `start + i * step`, `i < rounds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The first series.
    pub first: u32,
    /// How many series.
    pub series: u32,
    /// The first time, nanoseconds since the Unix epoch.
    pub start: i64,
    /// Between two times of one series, nanoseconds.
    pub step: i64,
    /// How many times of each series.
    pub rounds: u32,
}

impl Stamp {
    /// Points in the request.
    #[must_use]
    pub fn points(&self) -> u64 {
        u64::from(self.series) * u64::from(self.rounds)
    }
}

/// One request.
pub struct Template {
    bytes: Vec<u8>,
    /// Where each point's time begins; its value follows 9 bytes later. Points of one series stand together.
    times: Vec<u32>,
    first: u32,
    series: u32,
    rounds: u32,
    last: Option<i64>,
}

impl Template {
    /// A request with `rounds` points of each of the series `first .. first + series`.
    #[must_use]
    pub fn new(first: u32, series: u32, rounds: u32) -> Self {
        let mut bytes = Vec::new();
        let mut from = first;
        while from < first + series {
            let agent = from / SERIES_PER_AGENT;
            let until = (first + series).min((agent + 1).saturating_mul(SERIES_PER_AGENT));
            message(&mut bytes, 1, &resource_metrics(agent, from..until, rounds));
            from = until;
        }
        let times = locate(&bytes);
        Self { bytes, times, first, series, rounds, last: None }
    }

    /// Points in the request.
    #[must_use]
    pub fn points(&self) -> u64 {
        u64::from(self.series) * u64::from(self.rounds)
    }

    /// The request as of `now` (nanoseconds): all times are after those of the one before.
    pub fn next(&mut self, now: i64) -> (Bytes, Stamp) {
        let rounds = i64::from(self.rounds);
        let last = self.last.unwrap_or(now - 1_000_000_000);
        let step = ((now - last) / rounds).max(1);
        let start = last + step;
        for (at, &time_at) in self.times.iter().enumerate() {
            #[allow(clippy::cast_possible_truncation)] // At most `series * rounds` points, both u32.
            let (series, round) = (self.first + at as u32 / self.rounds, at as u32 % self.rounds);
            let time = start + i64::from(round) * step;
            let time_at = time_at as usize;
            self.bytes[time_at..time_at + 8].copy_from_slice(&time.to_le_bytes());
            self.bytes[time_at + 9..time_at + 17].copy_from_slice(&value(series, time).to_le_bytes());
        }
        self.last = Some(start + (rounds - 1) * step);
        let stamp = Stamp { first: self.first, series: self.series, start, step, rounds: self.rounds };
        (Bytes::copy_from_slice(&self.bytes), stamp)
    }
}

/// The templates of one connection: its series in requests of about `points` points.
#[must_use]
pub fn templates(first: u32, series: u32, points: u32) -> Vec<Template> {
    let rounds = (points / series.max(1)).max(1);
    let each = points.clamp(1, series.max(1));
    (0..series)
        .step_by(each as usize)
        .map(|from| Template::new(first + from, each.min(series - from), rounds))
        .collect()
}

// Protobuf by hand: prost would not say where the times end up.

fn message(into: &mut Vec<u8>, field: u8, body: &[u8]) {
    into.push(field << 3 | 2);
    leb128::put(into, body.len() as u64);
    into.extend_from_slice(body);
}

fn attribute(into: &mut Vec<u8>, field: u8, key: &str, text: &str) {
    let mut value = Vec::new();
    message(&mut value, 1, text.as_bytes());
    let mut pair = Vec::new();
    message(&mut pair, 1, key.as_bytes());
    message(&mut pair, 2, &value);
    message(into, field, &pair);
}

fn resource_metrics(agent: u32, series: std::ops::Range<u32>, rounds: u32) -> Vec<u8> {
    let mut resource = Vec::new();
    attribute(&mut resource, 1, "service.name", &format!("load-{agent}"));
    attribute(&mut resource, 1, "host.name", &format!("load-host-{agent}"));
    attribute(&mut resource, 1, "service.version", "1.0.0");
    attribute(&mut resource, 1, "deployment.environment.name", "load");
    attribute(&mut resource, 1, "cloud.region", "local");
    let mut gauge = Vec::new();
    for n in series {
        let point = point(n);
        for _ in 0..rounds {
            message(&mut gauge, 1, &point);
        }
    }
    let mut metric = Vec::new();
    message(&mut metric, 1, METRIC.as_bytes());
    message(&mut metric, 3, b"1");
    message(&mut metric, 5, &gauge);
    let mut scope = Vec::new();
    message(&mut scope, 1, b"vitals.load");
    let mut scope_metrics = Vec::new();
    message(&mut scope_metrics, 1, &scope);
    message(&mut scope_metrics, 2, &metric);
    let mut all = Vec::new();
    message(&mut all, 1, &resource);
    message(&mut all, 2, &scope_metrics);
    all
}

/// `NumberDataPoint`: time (3, fixed64), value (4, double), attributes (7).
fn point(n: u32) -> Vec<u8> {
    let mut point = vec![3 << 3 | 1];
    point.extend_from_slice(&MARK);
    point.push(4 << 3 | 1);
    point.extend_from_slice(&[0; 8]);
    attribute(&mut point, 7, "series", &n.to_string());
    attribute(&mut point, 7, "device", &format!("disk{}", n % 4));
    attribute(&mut point, 7, "state", if n.is_multiple_of(2) { "used" } else { "free" });
    point
}

/// Stands where a time will be, until the places are known. No length, key or text holds these bytes.
const MARK: [u8; 8] = [0xFF, 0xFE, 0xFF, 0xFE, 0xFF, 0xFE, 0xFF, 0xFE];

fn locate(bytes: &[u8]) -> Vec<u32> {
    let mut places = Vec::new();
    let mut at = 0;
    while at + MARK.len() <= bytes.len() {
        if bytes[at..at + MARK.len()] == MARK {
            places.push(u32::try_from(at).unwrap_or(u32::MAX));
            at += MARK.len();
        } else {
            at += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric::Data, number_data_point};
    use prost::Message;

    fn text(key: &str, value: String) -> KeyValue {
        let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    /// Decodes with the official types and compares everything with what the module's head says.
    fn check(bytes: &Bytes, stamp: Stamp) {
        let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
        assert_eq!(request.encoded_len(), bytes.len(), "something is encoded in another way than usual");
        let mut expect = (0..stamp.series).flat_map(|s| (0..stamp.rounds).map(move |r| (stamp.first + s, r)));
        for resource in &request.resource_metrics {
            let of = resource.resource.as_ref().unwrap();
            let metric = &resource.scope_metrics[0].metrics[0];
            assert_eq!((metric.name.as_str(), metric.unit.as_str()), (METRIC, "1"));
            let Some(Data::Gauge(gauge)) = &metric.data else { panic!("no gauge") };
            for point in &gauge.data_points {
                let (n, round) = expect.next().unwrap();
                let time = stamp.start + i64::from(round) * stamp.step;
                let wanted = NumberDataPoint {
                    attributes: vec![
                        text("series", n.to_string()),
                        text("device", format!("disk{}", n % 4)),
                        text("state", if n % 2 == 0 { "used" } else { "free" }.to_owned()),
                    ],
                    time_unix_nano: u64::try_from(time).unwrap(),
                    value: Some(number_data_point::Value::AsDouble(value(n, time))),
                    ..NumberDataPoint::default()
                };
                assert_eq!(*point, wanted);
                assert_eq!(of.attributes[0], text("service.name", format!("load-{}", n / 100)));
                assert_eq!(of.attributes[1], text("host.name", format!("load-host-{}", n / 100)));
                assert_eq!(of.attributes.len(), 5);
            }
        }
        assert_eq!(expect.next(), None);
    }

    #[test]
    fn the_official_types_read_the_same() {
        for (first, series, points) in [(0, 250, 100), (2500, 2500, 1000), (40, 3, 10), (0, 1, 1), (99, 2, 2)] {
            let mut seen = Vec::new();
            for mut template in templates(first, series, points) {
                let (bytes, stamp) = template.next(1_800_000_000_000_000_000);
                check(&bytes, stamp);
                assert_eq!(stamp.points(), template.points());
                let (bytes, later) = template.next(1_800_000_000_500_000_000);
                check(&bytes, later);
                assert!(later.start > stamp.start + i64::from(stamp.rounds - 1) * stamp.step);
                // Two requests in the same nanosecond still have times of their own.
                let (_, last) = template.next(1_800_000_000_500_000_000);
                assert!(last.start > later.start + i64::from(later.rounds - 1) * later.step);
                seen.extend(stamp.first..stamp.first + stamp.series);
            }
            assert_eq!(seen, (first..first + series).collect::<Vec<_>>());
        }
    }

    #[test]
    fn values_are_as_documented() {
        assert_eq!(agent_key(250), "load-2@load-host-2");
        let values: Vec<f64> = (0..100_000).map(|i| value(7, i * 1_000_000)).collect();
        let high = values.iter().filter(|v| **v >= 1000.0).count();
        assert!((10..50).contains(&high), "{high}");
        assert!(values.iter().all(|v| (27.0..37.0).contains(v) || (1027.0..1037.0).contains(v)));
    }
}
