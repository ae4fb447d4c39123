//! Rules of a check, read from the schema of a type.

use hashbrown::HashMap;
use serde_json::Value;
use utoipa::openapi::schema::{ArrayItems, Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{Number, ToSchema};

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Text of a length in characters.
    Text(usize, usize),
    /// The same, without control characters: the schemas `Name` and `MetricName`.
    Name(usize, usize),
    /// The id of an agent or system, the schema `Id`: the rule is [`vitals_core::ids::name_flaw`].
    Id,
    /// An RFC 3339 time: the schema `Time`.
    Time,
    /// A number within bounds, inclusive.
    Number(f64, f64),
    /// A whole number within bounds, inclusive; `5.0` is one.
    Integer(f64, f64),
    /// `true` or `false`.
    Bool,
    /// One of these.
    OneOf(Vec<String>),
    /// An object with these fields; others are ignored.
    Object(Vec<Field>),
    /// Any object.
    AnyObject,
    /// A list of at least so many.
    List(usize, Box<Rule>),
    /// A list whose items are checked one by one elsewhere.
    AnyList,
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub required: bool,
    pub nullable: bool,
    pub rule: Rule,
}

/// The schemas that others refer to, by name.
type Named = HashMap<String, RefOr<Schema>>;

impl Rule {
    /// The rule that the schema of `T` states.
    pub fn of<T: ToSchema>() -> Self {
        let mut named = Vec::new();
        T::schemas(&mut named);
        nullable_rule(&T::schema(), &named.into_iter().collect()).1
    }

    /// The same, but for the items of lists among the fields of `T`.
    pub fn without_items<T: ToSchema>() -> Self {
        let mut rule = Self::of::<T>();
        if let Self::Object(fields) = &mut rule {
            for field in fields.iter_mut().filter(|field| matches!(field.rule, Self::List(..))) {
                field.rule = Self::AnyList;
            }
        }
        rule
    }
}

/// The rule of a schema, and whether null is taken besides.
fn nullable_rule(schema: &RefOr<Schema>, named: &Named) -> (bool, Rule) {
    match schema {
        RefOr::Ref(reference) => (false, referred_rule(&reference.ref_location, named)),
        RefOr::T(Schema::Array(array)) => {
            let nullable = has_type(&array.schema_type, &Type::Null);
            let item = match &array.items {
                ArrayItems::RefOrSchema(item) => nullable_rule(item, named).1,
                ArrayItems::False => return (nullable, Rule::AnyList),
            };
            (nullable, Rule::List(array.min_items.unwrap_or(0), Box::new(item)))
        }
        RefOr::T(Schema::Object(object)) => (has_type(&object.schema_type, &Type::Null), object_rule(object, named)),
        // An optional field with a schema of its own: one of null and that.
        RefOr::T(Schema::OneOf(choice)) => {
            let choices = choice.items.iter().filter(|item| !is_null(item));
            let rule = choices.map(|item| nullable_rule(item, named).1).next();
            (choice.items.iter().any(is_null), rule.unwrap_or(Rule::AnyObject))
        }
        RefOr::T(_) => (false, Rule::AnyObject),
    }
}

/// The rule of a schema that is referred to.
fn referred_rule(location: &str, named: &Named) -> Rule {
    let name = location.rsplit('/').next().unwrap_or_default();
    let rule = named.get(name).map_or(Rule::AnyObject, |schema| nullable_rule(schema, named).1);
    match (name, rule) {
        ("Id", _) => Rule::Id,
        ("Time", _) => Rule::Time,
        ("Name" | "MetricName", Rule::Text(least, most)) => Rule::Name(least, most),
        (_, rule) => rule,
    }
}

fn object_rule(object: &Object, named: &Named) -> Rule {
    let (least, most) = (bound(object.minimum.as_ref()), bound(object.maximum.as_ref()));
    if has_type(&object.schema_type, &Type::String) {
        return match &object.enum_values {
            Some(names) => Rule::OneOf(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            None => Rule::Text(object.min_length.unwrap_or(0), object.max_length.unwrap_or(usize::MAX)),
        };
    }
    if has_type(&object.schema_type, &Type::Integer) {
        return Rule::Integer(least.unwrap_or(f64::MIN), most.unwrap_or(f64::MAX));
    }
    if has_type(&object.schema_type, &Type::Number) {
        return Rule::Number(least.unwrap_or(f64::MIN), most.unwrap_or(f64::MAX));
    }
    if has_type(&object.schema_type, &Type::Boolean) {
        return Rule::Bool;
    }
    if object.properties.is_empty() {
        return Rule::AnyObject;
    }
    let fields = object.properties.iter().map(|(name, schema)| {
        let (nullable, rule) = nullable_rule(schema, named);
        Field { name: name.clone(), required: object.required.contains(name), nullable, rule }
    });
    Rule::Object(fields.collect())
}

fn has_type(types: &SchemaType, wanted: &Type) -> bool {
    match types {
        SchemaType::Type(one) => one == wanted,
        SchemaType::Array(all) => all.contains(wanted),
        SchemaType::AnyValue => false,
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if matches!(object.schema_type, SchemaType::Type(Type::Null)))
}

#[allow(clippy::cast_precision_loss)]
fn bound(number: Option<&Number>) -> Option<f64> {
    number.map(|number| match *number {
        Number::Int(whole) => whole as f64,
        Number::UInt(whole) => whole as f64,
        Number::Float(real) => real,
    })
}
