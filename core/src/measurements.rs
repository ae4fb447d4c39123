//! The table of an agent's measurements, and what is made of it.
//!
//! A new measurement is one entry of [`each_measurement!`](crate::each_measurement). The record, the values that thresholds
//! judge, the fields of a heartbeat, data quality and the columns that plugins get follow from the table.

use crate::series::MetricKind;
use serde::{Deserialize, Serialize};

/// Passes the table of measurements to a macro: `each_measurement!(name!)` calls `name! { entries }`.
///
/// The order is that of the record `agents` in `wit/vitals.wit`, and that in which the log stores them. `column` is the name
/// in that record. `judged` is the kind of threshold that judges the value, if one does. `sent` is the name of the field
/// in a heartbeat, if it has one, with the kind and the unit of the series that the field becomes.
#[macro_export]
macro_rules! each_measurement {
    ($then:ident!) => {
        $then! {
            /// CPU in use, percent 0..=100.
            cpu_percent {
                column: "cpu-percent", judged: CpuUsage,
                sent: cpu_usage_percent, kind: CpuUsage, unit: "%", is_integer: false
            }
            /// Memory in use, megabytes.
            memory_mb {
                column: "memory-mb",
                sent: memory_usage_mb, kind: MemoryUsage, unit: "MB", is_integer: false
            }
            /// Memory in use, percent 0..=100; known when the total is, or as OTLP reported it.
            memory_percent { column: "memory-percent", judged: MemoryUsage, }
            /// Fullest file system, percent 0..=100.
            disk_percent {
                column: "disk-percent", judged: DiskUsage,
                sent: disk_usage_percent, kind: DiskUsage, unit: "%", is_integer: false
            }
            /// Network latency, milliseconds.
            latency_ms {
                column: "latency-ms",
                sent: network_latency_ms, kind: Custom, unit: "ms", is_integer: false
            }
            /// Bandwidth in use, megabits a second.
            bandwidth_mbps {
                column: "bandwidth-mbps",
                sent: bandwidth_usage_mbps, kind: NetworkIo, unit: "Mbit/s", is_integer: false
            }
            /// Packets lost, percent 0..=100.
            packet_loss_percent {
                column: "packet-loss-percent",
                sent: packet_loss_percent, kind: Custom, unit: "%", is_integer: false
            }
            /// Open connections.
            connections {
                column: "connections",
                sent: active_connections, kind: Custom, unit: "{connection}", is_integer: true
            }
            /// Requests since the last heartbeat.
            requests {
                column: "requests",
                sent: request_count, kind: Custom, unit: "{request}", is_integer: true
            }
            /// Failed requests since the last heartbeat.
            errors {
                column: "errors",
                sent: error_count, kind: Custom, unit: "{error}", is_integer: true
            }
            /// Share of requests that failed, percent 0..=100, as OTLP reported it; from `errors` and `requests` otherwise.
            error_percent { column: "error-percent", judged: ErrorRate, }
            /// Time to answer, milliseconds.
            response_ms {
                column: "response-ms", judged: ResponseTime,
                sent: response_time_ms, kind: ResponseTime, unit: "ms", is_integer: false
            }
        }
    };
}

/// A measurement as a heartbeat carries it.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatField {
    /// The name of the field, and of the metric that it becomes.
    pub name: &'static str,
    /// The kind of that metric.
    pub kind: MetricKind,
    /// The unit of that metric.
    pub unit: &'static str,
    /// Whether its values are whole numbers.
    pub is_integer: bool,
    /// The value among measurements.
    pub value: fn(&Measurements) -> Option<f64>,
}

macro_rules! record {
    ($($(#[$doc:meta])* $field:ident {
        column: $column:tt,
        $(judged: $judged:ident,)?
        $(sent: $name:ident, kind: $kind:ident, unit: $unit:tt, is_integer: $is_integer:tt)?
    })*) => {
        /// The measurements that a health score is made of. `None` is absent.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Measurements {
            $($(#[$doc])* pub $field: Option<f64>,)*
        }

        impl Measurements {
            /// The measurements that a heartbeat carries, in the order of the table.
            pub const HEARTBEAT: &[HeartbeatField] = &[$($(HeartbeatField {
                name: stringify!($name),
                kind: MetricKind::$kind,
                unit: $unit,
                is_integer: $is_integer,
                value: |measurements| measurements.$field,
            },)?)*];

            /// The value that a threshold of `kind` judges.
            #[must_use]
            pub fn of_kind(&self, kind: MetricKind) -> Option<f64> {
                match kind {
                    $($(MetricKind::$judged => self.$field,)?)*
                    _ => None,
                }
            }

            /// The field of the value that a threshold of `kind` judges.
            pub fn of_kind_mut(&mut self, kind: MetricKind) -> Option<&mut Option<f64>> {
                match kind {
                    $($(MetricKind::$judged => Some(&mut self.$field),)?)*
                    _ => None,
                }
            }
        }
    };
}
each_measurement!(record!);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_carries_ten_measurements_under_their_names() {
        let all = Measurements {
            cpu_percent: Some(1.0),
            memory_mb: Some(2.0),
            memory_percent: Some(-1.0),
            disk_percent: Some(3.0),
            latency_ms: Some(4.0),
            bandwidth_mbps: Some(5.0),
            packet_loss_percent: Some(6.0),
            connections: Some(7.0),
            requests: Some(8.0),
            errors: Some(9.0),
            error_percent: Some(-1.0),
            response_ms: Some(10.0),
        };
        let found: Vec<_> = Measurements::HEARTBEAT
            .iter()
            .map(|field| (field.name, field.kind.name(), field.unit, field.is_integer, (field.value)(&all)))
            .collect();
        let expected = [
            ("cpu_usage_percent", "cpu_usage", "%", false, Some(1.0)),
            ("memory_usage_mb", "memory_usage", "MB", false, Some(2.0)),
            ("disk_usage_percent", "disk_usage", "%", false, Some(3.0)),
            ("network_latency_ms", "custom", "ms", false, Some(4.0)),
            ("bandwidth_usage_mbps", "network_io", "Mbit/s", false, Some(5.0)),
            ("packet_loss_percent", "custom", "%", false, Some(6.0)),
            ("active_connections", "custom", "{connection}", true, Some(7.0)),
            ("request_count", "custom", "{request}", true, Some(8.0)),
            ("error_count", "custom", "{error}", true, Some(9.0)),
            ("response_time_ms", "response_time", "ms", false, Some(10.0)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn thresholds_judge_the_measurement_of_their_kind() {
        type Field = fn(&mut Measurements) -> &mut Option<f64>;
        let cases: [(MetricKind, Field); 5] = [
            (MetricKind::CpuUsage, |measurements| &mut measurements.cpu_percent),
            (MetricKind::MemoryUsage, |measurements| &mut measurements.memory_percent),
            (MetricKind::DiskUsage, |measurements| &mut measurements.disk_percent),
            (MetricKind::ResponseTime, |measurements| &mut measurements.response_ms),
            (MetricKind::ErrorRate, |measurements| &mut measurements.error_percent),
        ];
        for (kind, field) in cases {
            let mut measurements = Measurements::default();
            *field(&mut measurements) = Some(1.0);
            for other in MetricKind::ALL {
                assert_eq!(measurements.of_kind(other), (other == kind).then_some(1.0), "{kind:?} {other:?}");
            }
            *measurements.of_kind_mut(kind).unwrap() = None;
            assert_eq!(measurements, Measurements::default(), "{kind:?}");
        }
    }
}
