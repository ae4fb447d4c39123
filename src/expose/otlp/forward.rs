//! Received samples passed on, as vitals knows them after normalising.
//!
//! Names, attributes, scope and resource are the sender's. A running total goes on as a sum with cumulative
//! temporality (increments were added up on the way in); its start time is not kept, so it is 0, "unknown". The
//! numbers of a histogram or summary go on as gauges: `NAME.count`, `.sum`, `.min`, `.max`, `.bucket` (attribute
//! `le`), `.quantile` (attribute `quantile`). Values have the unit that the typed kind gave them, which is sent along.

use super::resources::{Group, Kind, Title, request, text, typed};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point::Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId};
use vitals_core::registry::Registry;
use vitals_core::series::{Attributes, Origin, Part, Scope, SeriesDesc, Shape};

/// Integers past this are not exact in a double; those go on as doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Samples on their way, by series.
#[derive(Default)]
pub struct Forward {
    series: BTreeMap<SeriesId, Vec<(i64, f64)>>,
    rows: usize,
}

/// The groups of one request are told apart by agent, resource and scope.
type Place = (AgentId, Arc<Attributes>, Arc<Scope>);

impl Forward {
    /// Adds samples.
    pub fn fold(&mut self, columns: &Columns) {
        for (series, time, value) in columns.rows() {
            self.series.entry(series).or_default().push((time.0, value));
        }
        self.rows += columns.len();
    }

    /// How many samples there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The request with everything added since the last one. What plugins derived stays here.
    pub fn take(&mut self, registry: &Registry) -> ExportMetricsServiceRequest {
        self.rows = 0;
        let mut groups: BTreeMap<Place, Group> = BTreeMap::new();
        for (series, rows) in std::mem::take(&mut self.series) {
            let Some(desc) = registry.series(series) else { continue };
            if matches!(desc.spec.origin, Origin::Derived { .. }) {
                continue;
            }
            let place = (desc.agent, desc.spec.resource.clone(), desc.spec.scope.clone());
            let group =
                groups.entry(place).or_insert_with(|| Group::received(resource(&desc, registry), &desc.spec.scope));
            add(group, &desc, &rows);
        }
        request(groups.into_values())
    }
}

fn resource(desc: &SeriesDesc, registry: &Registry) -> Vec<KeyValue> {
    let mut attributes = typed(&desc.spec.resource);
    attributes.retain(|attribute| attribute.key != "vitals.agent.id");
    if let Some(agent) = registry.agent(desc.agent) {
        attributes.push(text("vitals.agent.id", agent.key.as_str()));
    }
    attributes
}

fn add(group: &mut Group, desc: &SeriesDesc, rows: &[(i64, f64)]) {
    let spec = &desc.spec;
    let (suffix, bound) = match spec.part {
        Part::Value => ("", None),
        Part::Count => (".count", None),
        Part::Sum => (".sum", None),
        Part::Min => (".min", None),
        Part::Max => (".max", None),
        Part::Bucket(bound) => (".bucket", Some(("le", bound))),
        Part::Quantile(quantile) => (".quantile", Some(("quantile", quantile))),
    };
    let name = format!("{}{suffix}", spec.metric);
    let kind = match (spec.part, spec.shape) {
        (Part::Value, Shape::Cumulative { monotonic } | Shape::Delta { monotonic }) => Kind::Sum { monotonic },
        _ => Kind::Gauge,
    };
    let mut attributes = typed(&spec.attributes);
    attributes.extend(bound.map(|(key, bound)| text(key, bound.to_string())));
    let unit = if matches!(spec.part, Part::Count | Part::Bucket(_)) { "1" } else { &spec.unit };
    let points = group.points(&Title { name: &name, unit, description: "", kind });
    points.extend(rows.iter().map(|&(time, value)| NumberDataPoint {
        attributes: attributes.clone(),
        time_unix_nano: u64::try_from(time).unwrap_or(0),
        value: Some(number(value, spec.integer)),
        ..NumberDataPoint::default()
    }));
}

#[allow(clippy::cast_possible_truncation)] // Checked: whole and within the exact range.
fn number(value: f64, integer: bool) -> Value {
    if integer && value.fract() == 0.0 && value.abs() <= EXACT {
        Value::AsInt(value as i64)
    } else {
        Value::AsDouble(value)
    }
}
