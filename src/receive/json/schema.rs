//! The messages of an OTLP metrics request as JSON has them: names, numbers and types of fields.

use Kind::{Bool, Double, Fixed64, Hex, Int32, Int64, Nested, Sfixed64, Sint32, Temporality, Text, Uint32, Uint64};

/// The type of a field, as protobuf names it.
pub enum Kind {
    Text,
    /// `bytes`, base64.
    Base64,
    /// `bytes` of an id, which OTLP writes as hexadecimal digits.
    Hex,
    Bool,
    Int64,
    Int32,
    Uint64,
    Uint32,
    Sint32,
    Fixed64,
    Sfixed64,
    Double,
    /// The one enumeration.
    Temporality,
    Nested(&'static Message),
}

/// A field of a message.
pub struct Field {
    /// Its name in JSON.
    pub camel: &'static str,
    /// Its name in the `.proto` file, which readers of JSON take too.
    pub snake: &'static str,
    pub number: u32,
    pub kind: Kind,
    pub many: bool,
}

/// What a message is to the count of points.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A part of a point, or of what several points share.
    Part,
    /// A point, which is taken or rejected as one.
    Point,
    /// Has points below it.
    Container,
    /// A container that has one kind of data.
    Metric,
    /// Is not kept: a damaged one is left out, and its point taken.
    Extra,
}

/// A message.
pub struct Message {
    pub role: Role,
    pub fields: &'static [Field],
}

const fn one(camel: &'static str, snake: &'static str, number: u32, kind: Kind) -> Field {
    Field { camel, snake, number, kind, many: false }
}

const fn many(camel: &'static str, snake: &'static str, number: u32, kind: Kind) -> Field {
    Field { camel, snake, number, kind, many: true }
}

/// `ExportMetricsServiceRequest`
pub static REQUEST: Message = Message {
    role: Role::Container,
    fields: &[many("resourceMetrics", "resource_metrics", 1, Nested(&RESOURCE_METRICS))],
};

static RESOURCE_METRICS: Message = Message {
    role: Role::Container,
    fields: &[
        one("resource", "resource", 1, Nested(&RESOURCE)),
        many("scopeMetrics", "scope_metrics", 2, Nested(&SCOPE_METRICS)),
        one("schemaUrl", "schema_url", 3, Text),
    ],
};

static RESOURCE: Message = Message {
    role: Role::Part,
    fields: &[
        many("attributes", "attributes", 1, Nested(&KEY_VALUE)),
        one("droppedAttributesCount", "dropped_attributes_count", 2, Uint32),
        many("entityRefs", "entity_refs", 3, Nested(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    role: Role::Part,
    fields: &[
        one("schemaUrl", "schema_url", 1, Text),
        one("type", "type", 2, Text),
        many("idKeys", "id_keys", 3, Text),
        many("descriptionKeys", "description_keys", 4, Text),
    ],
};

static SCOPE_METRICS: Message = Message {
    role: Role::Container,
    fields: &[
        one("scope", "scope", 1, Nested(&SCOPE)),
        many("metrics", "metrics", 2, Nested(&METRIC)),
        one("schemaUrl", "schema_url", 3, Text),
    ],
};

static SCOPE: Message = Message {
    role: Role::Part,
    fields: &[
        one("name", "name", 1, Text),
        one("version", "version", 2, Text),
        many("attributes", "attributes", 3, Nested(&KEY_VALUE)),
        one("droppedAttributesCount", "dropped_attributes_count", 4, Uint32),
    ],
};

static METRIC: Message = Message {
    role: Role::Metric,
    fields: &[
        one("name", "name", 1, Text),
        one("description", "description", 2, Text),
        one("unit", "unit", 3, Text),
        one("gauge", "gauge", 5, Nested(&GAUGE)),
        one("sum", "sum", 7, Nested(&SUM)),
        one("histogram", "histogram", 9, Nested(&HISTOGRAM)),
        one("exponentialHistogram", "exponential_histogram", 10, Nested(&EXPONENTIAL_HISTOGRAM)),
        one("summary", "summary", 11, Nested(&SUMMARY)),
        many("metadata", "metadata", 12, Nested(&METADATA)),
    ],
};

static GAUGE: Message =
    Message { role: Role::Container, fields: &[many("dataPoints", "data_points", 1, Nested(&NUMBER_POINT))] };

static SUM: Message = Message {
    role: Role::Container,
    fields: &[
        many("dataPoints", "data_points", 1, Nested(&NUMBER_POINT)),
        one("aggregationTemporality", "aggregation_temporality", 2, Temporality),
        one("isMonotonic", "is_monotonic", 3, Bool),
    ],
};

static HISTOGRAM: Message = Message {
    role: Role::Container,
    fields: &[
        many("dataPoints", "data_points", 1, Nested(&HISTOGRAM_POINT)),
        one("aggregationTemporality", "aggregation_temporality", 2, Temporality),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    role: Role::Container,
    fields: &[
        many("dataPoints", "data_points", 1, Nested(&EXPONENTIAL_POINT)),
        one("aggregationTemporality", "aggregation_temporality", 2, Temporality),
    ],
};

static SUMMARY: Message =
    Message { role: Role::Container, fields: &[many("dataPoints", "data_points", 1, Nested(&SUMMARY_POINT))] };

static NUMBER_POINT: Message = Message {
    role: Role::Point,
    fields: &[
        one("startTimeUnixNano", "start_time_unix_nano", 2, Fixed64),
        one("timeUnixNano", "time_unix_nano", 3, Fixed64),
        one("asDouble", "as_double", 4, Double),
        many("exemplars", "exemplars", 5, Nested(&EXEMPLAR)),
        one("asInt", "as_int", 6, Sfixed64),
        many("attributes", "attributes", 7, Nested(&KEY_VALUE)),
        one("flags", "flags", 8, Uint32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    role: Role::Point,
    fields: &[
        one("startTimeUnixNano", "start_time_unix_nano", 2, Fixed64),
        one("timeUnixNano", "time_unix_nano", 3, Fixed64),
        one("count", "count", 4, Fixed64),
        one("sum", "sum", 5, Double),
        many("bucketCounts", "bucket_counts", 6, Fixed64),
        many("explicitBounds", "explicit_bounds", 7, Double),
        many("exemplars", "exemplars", 8, Nested(&EXEMPLAR)),
        many("attributes", "attributes", 9, Nested(&KEY_VALUE)),
        one("flags", "flags", 10, Uint32),
        one("min", "min", 11, Double),
        one("max", "max", 12, Double),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    role: Role::Point,
    fields: &[
        many("attributes", "attributes", 1, Nested(&KEY_VALUE)),
        one("startTimeUnixNano", "start_time_unix_nano", 2, Fixed64),
        one("timeUnixNano", "time_unix_nano", 3, Fixed64),
        one("count", "count", 4, Fixed64),
        one("sum", "sum", 5, Double),
        one("scale", "scale", 6, Sint32),
        one("zeroCount", "zero_count", 7, Fixed64),
        one("positive", "positive", 8, Nested(&BUCKETS)),
        one("negative", "negative", 9, Nested(&BUCKETS)),
        one("flags", "flags", 10, Uint32),
        many("exemplars", "exemplars", 11, Nested(&EXEMPLAR)),
        one("min", "min", 12, Double),
        one("max", "max", 13, Double),
        one("zeroThreshold", "zero_threshold", 14, Double),
    ],
};

static BUCKETS: Message = Message {
    role: Role::Part,
    fields: &[one("offset", "offset", 1, Sint32), many("bucketCounts", "bucket_counts", 2, Uint64)],
};

static SUMMARY_POINT: Message = Message {
    role: Role::Point,
    fields: &[
        one("startTimeUnixNano", "start_time_unix_nano", 2, Fixed64),
        one("timeUnixNano", "time_unix_nano", 3, Fixed64),
        one("count", "count", 4, Fixed64),
        one("sum", "sum", 5, Double),
        many("quantileValues", "quantile_values", 6, Nested(&QUANTILE)),
        many("attributes", "attributes", 7, Nested(&KEY_VALUE)),
        one("flags", "flags", 8, Uint32),
    ],
};

static QUANTILE: Message =
    Message { role: Role::Part, fields: &[one("quantile", "quantile", 1, Double), one("value", "value", 2, Double)] };

static EXEMPLAR: Message = Message {
    role: Role::Extra,
    fields: &[
        one("timeUnixNano", "time_unix_nano", 2, Fixed64),
        one("asDouble", "as_double", 3, Double),
        one("spanId", "span_id", 4, Hex),
        one("traceId", "trace_id", 5, Hex),
        one("asInt", "as_int", 6, Sfixed64),
        many("filteredAttributes", "filtered_attributes", 7, Nested(&KEY_VALUE)),
    ],
};

static KEY_VALUE_FIELDS: [Field; 3] = [
    one("key", "key", 1, Text),
    one("value", "value", 2, Nested(&ANY_VALUE)),
    one("keyStrindex", "key_strindex", 3, Int32),
];

static KEY_VALUE: Message = Message { role: Role::Part, fields: &KEY_VALUE_FIELDS };
static METADATA: Message = Message { role: Role::Extra, fields: &KEY_VALUE_FIELDS };

static ANY_VALUE: Message = Message {
    role: Role::Part,
    fields: &[
        one("stringValue", "string_value", 1, Text),
        one("boolValue", "bool_value", 2, Bool),
        one("intValue", "int_value", 3, Int64),
        one("doubleValue", "double_value", 4, Double),
        one("arrayValue", "array_value", 5, Nested(&ARRAY_VALUE)),
        one("kvlistValue", "kvlist_value", 6, Nested(&KEY_VALUE_LIST)),
        one("bytesValue", "bytes_value", 7, Kind::Base64),
        one("stringValueStrindex", "string_value_strindex", 8, Int32),
    ],
};

static ARRAY_VALUE: Message = Message { role: Role::Part, fields: &[many("values", "values", 1, Nested(&ANY_VALUE))] };
static KEY_VALUE_LIST: Message =
    Message { role: Role::Part, fields: &[many("values", "values", 1, Nested(&KEY_VALUE))] };

impl Message {
    /// The field of this name, in either spelling.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.camel == name || field.snake == name)
    }
}
