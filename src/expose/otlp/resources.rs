//! The resource under which an agent's metrics are sent, and the request that they gather in.

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vitals_core::attributes::codes;
use vitals_core::ids::AgentId;
use vitals_core::registry::Registry;
use vitals_core::series::{Attributes, Origin, Scope};
use vitals_core::store::EvaluationOutput;

/// Attributes of an agent's own resource that say who it is; they go along with its verdicts.
const IDENTIFYING: [&str; 15] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "host.name",
    "host.id",
    "os.type",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.node.name",
    "container.name",
    "container.id",
    "faas.name",
    "cloud.account.id",
];

/// One attribute with a text value.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }),
        ..KeyValue::default()
    }
}

/// Attributes as they were received, with the types that their values had.
pub fn typed(attributes: &Attributes) -> Vec<KeyValue> {
    let pairs = attributes.iter().zip(attributes.codes());
    pairs
        .map(|((key, value), code)| {
            let value = if code == "s" { Some(Any::StringValue(value.clone())) } else { any(value, code) };
            KeyValue { key: key.clone(), value: Some(AnyValue { value }), ..KeyValue::default() }
        })
        .collect()
}

/// A value from its text and the code of its type; as text when they do not fit each other.
fn any(text: &str, code: &str) -> Option<Any> {
    let parsed = match code.as_bytes().first() {
        Some(b'e') => return None,
        Some(b'[' | b'{') => serde_json::from_str(text).ok().and_then(|json| nested(&json, code)?.value),
        _ => scalar(text, code),
    };
    Some(parsed.unwrap_or_else(|| Any::StringValue(text.to_owned())))
}

fn scalar(text: &str, code: &str) -> Option<Any> {
    match code {
        "b" => text.parse().ok().map(Any::BoolValue),
        "i" => text.parse().ok().map(Any::IntValue),
        // "NaN" and "Infinity" are numbers here, too.
        "d" => text.parse().ok().map(Any::DoubleValue),
        "y" => base64::engine::general_purpose::STANDARD.decode(text).ok().map(Any::BytesValue),
        "x" => text.parse().ok().map(Any::StringValueStrindex),
        _ => Some(Any::StringValue(text.to_owned())),
    }
}

/// A value in an array or a map, from its JSON; no deeper than what was received.
fn nested(json: &serde_json::Value, code: &str) -> Option<AnyValue> {
    let inner = || codes(code.get(1..code.len().saturating_sub(1)).unwrap_or_default());
    let value = match (json, code.as_bytes().first()) {
        (serde_json::Value::Array(all), Some(b'[')) => {
            let values = all.iter().zip(inner()).map(|(one, code)| nested(one, code)).collect::<Option<_>>()?;
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        (serde_json::Value::Object(all), Some(b'{')) => {
            let pairs = all.iter().zip(inner()).map(|((key, one), code)| {
                Some(KeyValue { key: key.clone(), value: Some(nested(one, code)?), ..KeyValue::default() })
            });
            Some(Any::KvlistValue(KeyValueList { values: pairs.collect::<Option<_>>()? }))
        }
        (serde_json::Value::Null, _) => None,
        (serde_json::Value::String(text), _) => Some(scalar(text, code)?),
        (other, _) => Some(scalar(&other.to_string(), code)?),
    };
    Some(AnyValue { value })
}

/// The resource attributes of agents, looked up once each.
#[derive(Default)]
pub struct Resources {
    known: HashMap<AgentId, Arc<Vec<KeyValue>>>,
}

impl Resources {
    /// Forgets agents of which something new was learnt.
    pub fn refresh(&mut self, output: &EvaluationOutput) {
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

    /// No metrics yet, of a scope as it was received.
    pub fn received(resource: Vec<KeyValue>, scope: &Scope) -> Self {
        let mut group = Self::new(resource, &scope.name, &scope.version);
        group.scope.attributes = typed(&scope.attributes);
        group
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
