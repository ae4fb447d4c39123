//! The resource under which an agent's metrics are sent, and the request that they gather in.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vitals_core::ids::AgentId;
use vitals_core::registry::Registry;
use vitals_core::seam::Output;
use vitals_core::series::Origin;

/// Attributes of an agent's own resource that say who it is; they go along with its verdicts.
const IDENTIFYING: [&str; 6] =
    ["service.name", "service.namespace", "service.instance.id", "host.name", "host.id", "os.type"];

/// One attribute with a text value.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }),
        ..KeyValue::default()
    }
}

/// The resource attributes of agents, looked up once each.
#[derive(Default)]
pub struct Resources {
    known: HashMap<AgentId, Arc<Vec<KeyValue>>>,
}

impl Resources {
    /// Forgets agents of which something new was learnt.
    pub fn refresh(&mut self, output: &Output) {
        for agent in &output.agents {
            self.known.remove(&agent.id);
        }
        for series in &output.series {
            self.known.remove(&series.agent);
        }
    }

    /// The resource attributes of `agent`.
    pub fn of(&mut self, agent: AgentId, registry: &Registry) -> Arc<Vec<KeyValue>> {
        self.known.entry(agent).or_insert_with(|| Arc::new(describe(agent, registry))).clone()
    }
}

fn describe(agent: AgentId, registry: &Registry) -> Vec<KeyValue> {
    let mut attributes = BTreeMap::new();
    let received = registry
        .series_of(agent)
        .into_iter()
        .find(|series| series.spec.origin == Origin::Otlp)
        .map(|series| series.spec.resource.clone());
    for (key, value) in received.iter().flat_map(|resource| resource.iter()) {
        if IDENTIFYING.contains(&key.as_str()) {
            attributes.insert(key.clone(), value.clone());
        }
    }
    if let Some(agent) = registry.agent(agent) {
        let profile = &agent.profile;
        attributes
            .entry("service.name".to_owned())
            .or_insert_with(|| profile.name.clone().unwrap_or_else(|| agent.key.clone()));
        for (key, value) in [
            ("service.version", &profile.version),
            ("deployment.environment.name", &profile.environment),
            ("cloud.region", &profile.location),
            ("cloud.availability_zone", &profile.zone),
        ] {
            if let Some(value) = value {
                attributes.insert(key.to_owned(), value.clone());
            }
        }
        attributes.insert("vitals.agent.id".to_owned(), agent.key.clone());
        attributes.insert("vitals.tenant".to_owned(), agent.tenant.to_string());
    }
    attributes.into_iter().map(|(key, value)| text(&key, value)).collect()
}

/// What kind of metric points make.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A gauge.
    Gauge,
    /// A sum with cumulative temporality.
    Sum {
        /// Whether it only rises.
        monotonic: bool,
    },
}

/// Name, unit and description of a metric.
pub struct Title<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its unit in UCUM.
    pub unit: &'a str,
    /// What it says.
    pub description: &'a str,
    /// What kind it is.
    pub kind: Kind,
}

/// The metrics of one resource and scope.
pub struct Group {
    resource: Vec<KeyValue>,
    scope: InstrumentationScope,
    metrics: Vec<Series>,
    places: HashMap<(String, String, Kind), usize>,
}

impl Group {
    /// No metrics yet.
    pub fn new(resource: Vec<KeyValue>, scope: &str, version: &str) -> Self {
        Self {
            resource,
            scope: InstrumentationScope {
                name: scope.to_owned(),
                version: version.to_owned(),
                ..InstrumentationScope::default()
            },
            metrics: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// The points of the metric that `title` names, to be added to.
    pub fn points(&mut self, title: &Title<'_>) -> &mut Vec<NumberDataPoint> {
        let key = (title.name.to_owned(), title.unit.to_owned(), title.kind);
        let fresh = self.metrics.len();
        let place = *self.places.entry(key).or_insert(fresh);
        if place == fresh {
            self.metrics.push(Series {
                name: title.name.to_owned(),
                unit: title.unit.to_owned(),
                description: title.description.to_owned(),
                kind: title.kind,
                points: Vec::new(),
            });
        }
        &mut self.metrics[place].points
    }
}

/// A metric while its points gather.
struct Series {
    name: String,
    unit: String,
    description: String,
    kind: Kind,
    points: Vec<NumberDataPoint>,
}

impl From<Series> for Metric {
    fn from(series: Series) -> Self {
        let data_points = series.points;
        Self {
            name: series.name,
            description: series.description,
            unit: series.unit,
            metadata: Vec::new(),
            data: Some(match series.kind {
                Kind::Gauge => metric::Data::Gauge(Gauge { data_points }),
                Kind::Sum { monotonic } => metric::Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: AggregationTemporality::Cumulative as i32,
                    is_monotonic: monotonic,
                }),
            }),
        }
    }
}

/// The request that holds `groups`, in their order.
pub fn request(groups: impl IntoIterator<Item = Group>) -> ExportMetricsServiceRequest {
    let resource_metrics = groups
        .into_iter()
        .filter(|group| !group.metrics.is_empty())
        .map(|group| ResourceMetrics {
            resource: Some(Resource { attributes: group.resource, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(group.scope),
                metrics: group.metrics.into_iter().map(Metric::from).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}
