//! Where things are in InfluxDB: measurement, tags and field of a series.
//!
//! As the Collector's InfluxDB exporter writes `telegraf-prometheus-v1`: the metric's name is the measurement, the
//! attributes of resource, scope and point are tags, and the field says which number of the point it is: `gauge`, `counter`,
//! `count`, `sum`, `min`, `max`, a bucket's bound or a quantile. Three tags are added: `vitals_tenant`, `vitals_agent`
//! and `vitals_series`, a digest of the whole identity, by which one series is found whatever its other tags say.

use super::line::{self, Head};
use super::names::Names;
use std::collections::BTreeMap;
use vitals_core::ids::SeriesId;
use vitals_core::series::{Origin, Part, SeriesDesc, Shape};
use xxhash_rust::xxh3::Xxh3;

/// InfluxDB takes keys of up to 65,535 bytes, measurement, tags and field together.
const MOST_KEY_BYTES: usize = 60_000;
/// Tag keys that InfluxDB or Flux use for something else; they get an underscore at the end.
const RESERVED: [&str; 12] =
    ["_field", "_measurement", "_start", "_stop", "_time", "_value", "result", "table", "time", TENANT, AGENT, SERIES];

/// The tag with the tenant's name.
pub(super) const TENANT: &str = "vitals_tenant";
/// The tag with the agent's key.
pub(super) const AGENT: &str = "vitals_agent";
/// The tag with the digest of the series' identity.
pub(super) const SERIES: &str = "vitals_series";

/// Where a series is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) measurement: String,
    /// By key, cleaned.
    tags: BTreeMap<String, String>,
    /// 16 hex digits. Numbers of one point have the same one.
    pub(super) digest: String,
    pub(super) field: String,
    /// Whether the values are integers, as they arrive.
    pub(super) integer: bool,
}

impl Place {
    /// The place of a series. One that nobody described has a place too, by its number.
    pub(super) fn of(names: &Names, series: u32) -> Self {
        let Some(desc) = names.series(series) else {
            let digest = format!("{series:016x}");
            return Self {
                measurement: "vitals_undescribed".into(),
                tags: BTreeMap::from([(SERIES.to_owned(), digest.clone())]),
                digest,
                field: "gauge".into(),
                integer: false,
            };
        };
        let (tenant, agent) = names.agent(desc.agent);
        let spec = &desc.spec;
        let mut tags = BTreeMap::new();
        let mut add = |key: &str, value: &str| {
            let mut key = line::clean(key).into_owned();
            if RESERVED.contains(&key.as_str()) {
                key.push('_');
            }
            tags.insert(key, line::clean(value).into_owned());
        };
        // Where two have the same key, the later one counts, as in the exporter.
        spec.resource.iter().for_each(|(key, value)| add(key, value));
        for (key, value) in [("otel.library.name", &spec.scope.name), ("otel.library.version", &spec.scope.version)] {
            if !value.is_empty() {
                add(key, value);
            }
        }
        spec.scope.attributes.iter().for_each(|(key, value)| add(key, value));
        spec.attributes.iter().for_each(|(key, value)| add(key, value));
        if let Origin::Derived { plugin, .. } = &spec.origin {
            add("vitals_plugin", plugin);
        }
        let digest = format!("{:016x}", digest(names, &desc, &tenant, &agent));
        for (key, value) in [(TENANT, &tenant), (AGENT, &agent), (SERIES, &digest)] {
            tags.insert(key.to_owned(), line::clean(value).into_owned());
        }
        let (field, whole) = field(spec.part, spec.shape);
        Self {
            measurement: line::measurement_name(&spec.metric).into_owned(),
            tags,
            digest,
            field,
            integer: whole && spec.integer && spec.factor == 1.0,
        }
    }

    /// All of a line before the value, for a column `field`.
    fn text(&self, field: &str) -> Box<[u8]> {
        let mut out = Vec::with_capacity(256);
        line::measurement(&mut out, &self.measurement);
        self.tags.iter().for_each(|(key, value)| line::tag(&mut out, key, value));
        if out.len() > MOST_KEY_BYTES {
            out.clear();
            line::measurement(&mut out, &self.measurement);
            for key in [AGENT, SERIES, TENANT] {
                line::tag(&mut out, key, self.tags.get(key).map_or("", String::as_str));
            }
        }
        out.push(b' ');
        line::field_key(&mut out, field);
        out.push(b'=');
        out.into()
    }

    /// The head of the series' lines, if the column `field` holds integers or does not.
    pub(super) fn head(&self, column_holds_integers: bool) -> Head {
        match (column_holds_integers, self.integer) {
            (false, _) => Head { text: self.text(&self.field), beside: None },
            (true, true) => Head { text: self.text(&self.field), beside: Some(self.text(&self.beside())) },
            (true, false) => Head { text: self.text(&self.beside()), beside: None },
        }
    }

    /// The column beside one that holds integers.
    pub(super) fn beside(&self) -> String {
        format!("{}_float", self.field)
    }

    /// The columns that may hold values of the series.
    pub(super) fn columns(&self, column_holds_integers: bool, split: bool) -> Vec<String> {
        match (column_holds_integers, self.integer) {
            (false, _) => vec![self.field.clone()],
            (true, true) if split => vec![self.field.clone(), self.beside()],
            (true, true) => vec![self.field.clone()],
            (true, false) => vec![self.beside()],
        }
    }
}

/// The field that a number of a point is, and whether it may be an integer: of histograms and summaries the exporter
/// writes everything as floats.
fn field(part: Part, shape: Shape) -> (String, bool) {
    match part {
        // Increments are added up before they are stored.
        Part::Value => match shape {
            Shape::Cumulative { monotonic: true } | Shape::Delta { monotonic: true } => ("counter".into(), true),
            _ => ("gauge".into(), true),
        },
        Part::Count => ("count".into(), false),
        Part::Sum => ("sum".into(), false),
        Part::Min => ("min".into(), false),
        Part::Max => ("max".into(), false),
        Part::Bucket(bound) | Part::Quantile(bound) => (bound.to_string(), false),
    }
}

/// A digest of the identity, but for which number of the point it is. Names, not numbers, so that it stays the same
/// when the data folder does not.
fn digest(names: &Names, desc: &SeriesDesc, tenant: &str, agent: &str) -> u64 {
    let spec = &desc.spec;
    let mut hash = Xxh3::new();
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    [tenant, agent].into_iter().for_each(&mut text);
    spec.feed_names(&mut |bytes| hash.update(bytes));
    let mut text = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    match &spec.origin {
        Origin::Otlp => text("otlp"),
        Origin::Rest => text("rest"),
        Origin::Derived { plugin, from } => {
            text(plugin);
            text(&from_digest(names, *from, tenant, agent));
        }
    }
    // A bucket's bound and a quantile may be the same number.
    let kind = match spec.part {
        Part::Quantile(_) => 1_u8,
        _ => 0,
    };
    hash.update(&spec.shape.bytes());
    hash.update(&[kind]);
    hash.digest()
}

fn from_digest(names: &Names, from: SeriesId, tenant: &str, agent: &str) -> String {
    match names.series(from.0) {
        // A series is made from one that was there before it, so this ends.
        Some(desc) if desc.id == from => {
            format!("{:016x} {}", digest(names, &desc, tenant, agent), desc.spec.part)
        }
        _ => from.0.to_string(),
    }
}
