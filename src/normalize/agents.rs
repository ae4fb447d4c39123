//! Which agent a resource is.

use super::kinds::RulesError;
use super::wire::{DEPTH, Malformed, Reader};
use std::borrow::Cow;
use std::net::IpAddr;
use vitals_core::ids::{mended_name, name_flaw, with_digest};
use vitals_core::series::{AgentProfile, Attributes};

/// The rule that takes the entities that a resource names.
const ENTITY: &str = "entity";

/// The rules by default; `src/default.toml` says what they mean.
pub const DEFAULT: [&str; 14] = [
    ENTITY,
    "[{service.namespace}/]{service.name}:{service.instance.id|local}@{host.name}",
    "[{service.namespace}/]{service.name}:{service.instance.id}",
    "[[{service.namespace}/]{service.name}@][{k8s.cluster.name}/][{k8s.namespace.name}/]{k8s.pod.name}",
    "[[{service.namespace}/]{service.name}@]{k8s.pod.uid}",
    "[[{service.namespace}/]{service.name}@]{container.name}@{host.name}",
    "[[{service.namespace}/]{service.name}@]{container.id}",
    "[[{service.namespace}/]{service.name}@]{container.name}",
    "[{cloud.account.id}/][{cloud.region}/]{faas.name}",
    "{service.instance.id}",
    "[[{service.namespace}/]{service.name}@]{host.name}",
    "[[{service.namespace}/]{service.name}@]{host.id}",
    "[[{service.namespace}/]{service.name}@][{k8s.cluster.name}/]{k8s.node.name}",
    "[{service.namespace}/]{service.name}",
];

/// A reference to an entity that a resource describes (`Resource.entity_refs`).
#[derive(Debug, Default, PartialEq)]
pub struct EntityRef {
    pub(super) kind: String,
    /// The attributes that identify it.
    pub(super) id_keys: Vec<String>,
}

/// The entities of a resource's bytes, which were checked.
///
/// # Errors
/// Never for bytes that were checked.
pub fn entities(resource: &[u8]) -> Result<Vec<EntityRef>, Malformed> {
    let mut reader = Reader::new(resource);
    let mut found = Vec::new();
    while !reader.is_empty() {
        match reader.key()? {
            0x1a => found.push(entity(reader.bytes()?)?),
            0x0a => drop(reader.bytes()?),
            key => reader.other(key, &[], DEPTH)?,
        }
    }
    Ok(found)
}

fn entity(message: &[u8]) -> Result<EntityRef, Malformed> {
    let mut reader = Reader::new(message);
    let mut entity = EntityRef::default();
    while !reader.is_empty() {
        let (key, text) = (reader.key()?, |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
        match key {
            0x12 => entity.kind = text(reader.bytes()?),
            0x1a => entity.id_keys.push(text(reader.bytes()?)),
            key => reader.other(key, &[], DEPTH)?,
        }
    }
    Ok(entity)
}

/// The rules by which resources are told apart, in order.
pub struct Identity(Vec<Rule>);

enum Rule {
    Entity,
    Template(Vec<Part>),
}

/// A piece of a template.
enum Part {
    Text(String),
    Attribute {
        name: String,
        /// Whether it counts only as an address that means another thing on each host.
        local: bool,
    },
    /// There if all in it are.
    Optional(Vec<Part>),
}

impl Identity {
    /// The rules as they are written in the configuration.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(rules: &[String]) -> Result<Self, RulesError> {
        rules.iter().map(|rule| self::rule(rule.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// The name of the agent that a resource is, by the first rule that has all it needs; `None` when none has.
    pub fn name(&self, attributes: &Attributes, entities: &[EntityRef]) -> Option<String> {
        let name = self.0.iter().find_map(|rule| match rule {
            Rule::Entity => by_entity(attributes, entities),
            Rule::Template(parts) => by_template(attributes, parts),
        })?;
        let name = mended_name(&name)?.into_owned();
        // What was mended may have been two names before.
        if attributes.mended() != 0 && name.contains('\u{FFFD}') {
            return Some(with_digest(&name, attributes.mended()));
        }
        Some(name)
    }
}

fn rule(text: &str) -> Result<Rule, RulesError> {
    let wrong = |why| RulesError::Identity { rule: text.to_owned(), why };
    if text == ENTITY {
        return Ok(Rule::Entity);
    }
    if !text.contains(['{', '[']) {
        // Attribute names alone, joined.
        let names = text.split('@').map(str::trim);
        if names.clone().any(str::is_empty) {
            return Err(wrong("an attribute has no name"));
        }
        let mut parts = Vec::new();
        for name in names {
            if !parts.is_empty() {
                parts.push(Part::Text("@".to_owned()));
            }
            parts.push(Part::Attribute { name: name.to_owned(), local: false });
        }
        return Ok(Rule::Template(parts));
    }
    let mut rest = text;
    let parts = parts(&mut rest, 0).map_err(wrong)?;
    if !rest.is_empty() {
        return Err(wrong("a ] has no ["));
    }
    if !parts.iter().any(|part| matches!(part, Part::Attribute { .. })) {
        return Err(wrong("no attribute must be there"));
    }
    Ok(Rule::Template(parts))
}

fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    while let Some(first) = rest.chars().next() {
        match first {
            ']' => break,
            '[' if depth > 8 => return Err("too many [ in each other"),
            '[' => {
                *rest = &rest[1..];
                parts.push(Part::Optional(self::parts(rest, depth + 1)?));
                *rest = rest.strip_prefix(']').ok_or("a [ has no ]")?;
            }
            '{' => {
                let (inner, after) = rest[1..].split_once('}').ok_or("a { has no }")?;
                let (name, local) = match inner.split_once('|') {
                    None => (inner, false),
                    Some((name, "local")) => (name, true),
                    Some(_) => return Err("only local may stand behind |"),
                };
                if name.trim().is_empty() {
                    return Err("an attribute has no name");
                }
                parts.push(Part::Attribute { name: name.trim().to_owned(), local });
                *rest = after;
            }
            _ => {
                let end = rest.find(['[', ']', '{']).unwrap_or(rest.len());
                parts.push(Part::Text(rest[..end].to_owned()));
                *rest = &rest[end..];
            }
        }
    }
    Ok(parts)
}

fn by_template(attributes: &Attributes, parts: &[Part]) -> Option<String> {
    let mut used = Vec::new();
    let name = fill(attributes, parts, &mut used)?;
    // What an SDK writes when nobody named the service: it says nothing alone.
    let unnamed = used == ["service.name"] && value(attributes, "service.name")?.starts_with("unknown_service");
    (!unnamed).then_some(name)
}

fn fill<'p>(attributes: &Attributes, parts: &'p [Part], used: &mut Vec<&'p str>) -> Option<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Attribute { name, local } => {
                let value = value(attributes, name)?;
                if *local && !is_local(value) {
                    return None;
                }
                used.push(name);
                out.push_str(value);
            }
            Part::Optional(inner) => {
                let before = used.len();
                match fill(attributes, inner, used) {
                    Some(text) => out.push_str(&text),
                    None => used.truncate(before),
                }
            }
        }
    }
    Some(out)
}

/// The value of an attribute, if it says anything.
fn value<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    let value = attributes.value(name)?.trim();
    if name_flaw(value) == Some(vitals_core::ids::NameFlaw::Blank) || name == INSTANCE && is_random(value) {
        return None;
    }
    Some(value)
}

const INSTANCE: &str = "service.instance.id";

/// Whether an instance's id is a random UUID (version 4, or 7 with its time): it names one process, and changes with every
/// restart. One of zeros names nobody.
fn is_random(id: &str) -> bool {
    uuid::Uuid::try_parse(id).is_ok_and(|id| {
        id.is_nil() || matches!(id.get_version_num(), 4 | 7) && id.get_variant() == uuid::Variant::RFC4122
    })
}

/// Whether an instance's id is an address that means another thing on each host: of the host itself, or with a name that
/// only its own network knows.
fn is_local(instance: &str) -> bool {
    let address = instance.split_once("://").map_or(instance, |(_, rest)| rest);
    let host = if let Some(inner) = address.strip_prefix('[') {
        inner.split_once(']').map_or(inner, |(host, _)| host)
    } else if address.parse::<IpAddr>().is_ok() || address == "localhost" {
        address
    } else {
        match address.rsplit_once(':') {
            Some((host, port)) if port.starts_with(|c: char| c.is_ascii_digit()) => host,
            _ => return false,
        }
    };
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(),
        Err(_) => !host.contains('.') || host.starts_with("localhost."),
    }
}

/// Entities that say where or by what something runs, and that many agents share or one agent has many of.
const NO_AGENTS: [&str; 12] = [
    "process",
    "process.runtime",
    "os",
    "telemetry.sdk",
    "telemetry.distro",
    "deployment",
    "service.namespace",
    "k8s.cluster",
    "k8s.namespace",
    "cloud",
    "cloud.account",
    "cloud.region",
];
/// Entities that a service runs on, the closest first. Types that are not known come between containers and hosts.
const CLOSE: [&str; 2] = ["k8s.pod", "container"];
const FAR: [&str; 3] = ["faas", "host", "k8s.node"];

/// The entity that is the agent: a service's instance; else the service where it runs; else the closest of what it runs on.
fn by_entity(attributes: &Attributes, entities: &[EntityRef]) -> Option<String> {
    let place = place(attributes, entities);
    let Some((service, instance)) = service(attributes, entities) else { return place };
    match (instance, place) {
        (Some(instance), Some(place)) if is_local(instance) => Some(format!("{service}:{instance}@{place}")),
        (Some(instance), _) => Some(format!("{service}:{instance}")),
        (None, Some(place)) => Some(format!("{service}@{place}")),
        // A service wherever it runs: the attributes may say where.
        (None, None) => None,
    }
}

fn place(attributes: &Attributes, entities: &[EntityRef]) -> Option<String> {
    let of = |kind: &str| entities.iter().filter(|e| e.kind == kind).find_map(|e| joined(attributes, &e.id_keys));
    let known = |kind: &str| {
        let lists = [&CLOSE[..], &FAR, &NO_AGENTS, &["service", "service.instance"]];
        lists.iter().any(|list| list.contains(&kind))
    };
    let other = || entities.iter().filter(|e| !known(&e.kind)).find_map(|e| joined(attributes, &e.id_keys));
    CLOSE.into_iter().find_map(of).or_else(other).or_else(|| FAR.into_iter().find_map(of))
}

/// The values of the attributes that identify; `None` unless all are there.
fn joined(attributes: &Attributes, keys: &[String]) -> Option<String> {
    let values: Vec<&str> = keys.iter().map(|key| value(attributes, key)).collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.join("/"))
}

/// The service among the entities, and its instance's id unless it is random.
fn service<'a>(attributes: &'a Attributes, entities: &[EntityRef]) -> Option<(String, Option<&'a str>)> {
    let services = entities.iter().filter(|e| matches!(e.kind.as_str(), "service" | "service.instance"));
    let mut keys: Vec<&str> = services.flat_map(|e| &e.id_keys).map(String::as_str).collect();
    if keys.is_empty() {
        return None;
    }
    let instance = keys.contains(&INSTANCE).then(|| value(attributes, INSTANCE)).flatten();
    keys.retain(|key| *key != INSTANCE);
    if !keys.contains(&"service.name") {
        // An instance's id is unique within its service only.
        keys.extend(["service.namespace", "service.name"]);
    }
    // From the wide to the narrow, whatever order they were sent in.
    keys.sort_by_key(|key| ["service.namespace", "service.name"].iter().position(|known| known == key).unwrap_or(2));
    keys.dedup();
    let values: Vec<&str> = keys.into_iter().filter_map(|key| value(attributes, key)).collect();
    (!values.is_empty()).then(|| (values.join("/"), instance))
}

/// The name under which a sender's own agent is known.
pub fn of_sender(fallback: &str) -> Cow<'_, str> {
    mended_name(fallback).unwrap_or(Cow::Borrowed("unknown sender"))
}

/// What a resource says of its agent.
pub fn profile(attributes: &Attributes) -> AgentProfile {
    let first = |keys: &[&str]| keys.iter().find_map(|key| attributes.value(key)).map(str::to_owned);
    AgentProfile {
        name: first(&["service.name", "host.name", "k8s.pod.name", "container.name", "faas.name", "k8s.node.name"]),
        version: first(&["service.version"]),
        environment: first(&["deployment.environment.name", "deployment.environment"]),
        location: first(&["cloud.region"]),
        zone: first(&["cloud.availability_zone"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    const V4: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    const V7: &str = "0198c0de-9dad-71d1-80b4-00c04fd430c8";

    /// `service.name=a host.name=b`, with values that have no blanks.
    fn attributes(text: &str) -> Attributes {
        text.split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    fn name(text: &str, entities: &[(&str, &[&str])]) -> Option<String> {
        let rules = Identity::new(&super::super::NormalizeConfig::default().agent_identity).unwrap();
        let entities: Vec<_> = entities
            .iter()
            .map(|(kind, keys)| EntityRef {
                kind: (*kind).to_owned(),
                id_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            })
            .collect();
        rules.name(&attributes(text), &entities)
    }

    #[test]
    fn names_by_rule() {
        let pod = "k8s.cluster.name=eu k8s.namespace.name=shop k8s.pod.name=web-0 k8s.pod.uid=u";
        for (resource, expect) in [
            // A service's instance, unique within its service and namespace.
            ("service.name=checkout service.instance.id=0", Some("checkout:0")),
            ("service.name=payment service.instance.id=0", Some("payment:0")),
            ("service.namespace=prod service.name=api service.instance.id=0", Some("prod/api:0")),
            ("service.instance.id=web-1 host.name=h", Some("web-1")),
            ("service.name=s service.instance.id=web-1 host.name=h", Some("s:web-1")),
            // An address on the host itself is another one on each host, one with a domain is not.
            ("service.name=node service.instance.id=localhost:9100 host.name=a", Some("node:localhost:9100@a")),
            ("service.name=node service.instance.id=127.0.0.1:9100 host.name=a", Some("node:127.0.0.1:9100@a")),
            ("service.name=node service.instance.id=[::1]:9100 host.name=a", Some("node:[::1]:9100@a")),
            ("service.name=node service.instance.id=node-exporter:9100 host.name=a", Some("node:node-exporter:9100@a")),
            ("service.name=node service.instance.id=localhost:9100", Some("node:localhost:9100")),
            (
                "service.name=node service.instance.id=web.example.com:9100 host.name=a",
                Some("node:web.example.com:9100"),
            ),
            ("service.name=node service.instance.id=10.0.0.7:9100 host.name=a", Some("node:10.0.0.7:9100")),
            // Random ids name a process.
            (&format!("service.instance.id={V4} service.name=s host.name=h"), Some("s@h")),
            (&format!("service.instance.id={V7} service.name=s host.name=h"), Some("s@h")),
            (&format!("service.instance.id={} service.name=s host.name=h", V4.replace('-', "")), Some("s@h")),
            ("service.instance.id=00000000-0000-0000-0000-000000000000 host.name=h", Some("h")),
            (&format!("service.instance.id={V1} service.name=s host.name=h"), Some(&format!("s:{V1}"))),
            // Pods, with and without a service, a cluster, a name.
            (pod, Some("eu/shop/web-0")),
            (&format!("{pod} service.name=web host.name=web-0"), Some("web@eu/shop/web-0")),
            ("service.name=web k8s.pod.name=web-x", Some("web@web-x")),
            ("service.name=web k8s.pod.name=web-y", Some("web@web-y")),
            ("k8s.namespace.name=a k8s.pod.name=web-0 k8s.container.name=c container.id=1", Some("a/web-0")),
            (&format!("k8s.pod.uid={V4}"), Some(V4)),
            // Nodes.
            ("k8s.node.name=n1", Some("n1")),
            ("k8s.cluster.name=eu k8s.node.name=n1", Some("eu/n1")),
            ("k8s.node.name=n1 host.name=h", Some("h")),
            ("k8s.node.name=n1 service.name=s", Some("s@n1")),
            // Containers: a name is unique on its host, an id everywhere.
            ("container.name=web container.id=abc host.name=h", Some("web@h")),
            ("container.name=web container.id=abc", Some("abc")),
            ("container.name=web", Some("web")),
            ("service.name=s container.id=abc host.name=h", Some("s@abc")),
            // Functions.
            ("faas.name=f faas.instance=i cloud.region=r cloud.account.id=1 service.name=f", Some("1/r/f")),
            ("faas.name=f", Some("f")),
            // Hosts, whatever process of them is described.
            ("host.name=h", Some("h")),
            ("host.name=h host.id=i os.type=linux", Some("h")),
            ("host.name=h process.pid=1 process.executable.name=x process.command=y", Some("h")),
            ("host.id=i", Some("i")),
            ("host.id=i service.name=s", Some("s@i")),
            ("process.pid=1 process.executable.name=x", None),
            // Services alone.
            ("service.name=s", Some("s")),
            ("service.namespace=n service.name=s", Some("n/s")),
            ("service.name=unknown_service:java host.name=h", Some("unknown_service:java@h")),
            ("service.name=unknown_service:java", None),
            ("host.name= service.name=s", Some("s")),
            ("host.name=\u{202e} service.name=s", Some("s")),
            ("os.type=linux", None),
        ] {
            assert_eq!(name(resource, &[]).as_deref(), expect, "{resource}");
        }
    }

    #[test]
    fn entities_come_first() {
        let all = "service.namespace=n service.name=s service.instance.id=7 host.name=h host.id=i k8s.pod.uid=p \
                   container.id=c process.pid=1 acme.rack=r";
        let service: (&str, &[&str]) = ("service", &["service.name"]);
        let instance: (&str, &[&str]) = ("service.instance", &["service.instance.id"]);
        let host: (&str, &[&str]) = ("host", &["host.id"]);
        let pod: (&str, &[&str]) = ("k8s.pod", &["k8s.pod.uid"]);
        let container: (&str, &[&str]) = ("container", &["container.id"]);
        let process: (&str, &[&str]) = ("process", &["process.pid"]);
        let rack: (&str, &[&str]) = ("acme.rack", &["acme.rack"]);
        for (entities, expect) in [
            (&[host][..], "i"),
            (&[process, host], "i"),
            (&[host, service], "s@i"),
            (&[service, instance, host], "s:7"),
            (&[instance], "n/s:7"),
            (&[("service", &["service.name", "service.namespace", "service.instance.id"])], "n/s:7"),
            (&[host, container, pod, service], "s@p"),
            (&[host, container, pod], "p"),
            (&[host, container], "c"),
            (&[host, rack], "r"),
            (&[rack], "r"),
            // One whose attributes are missing is none; nor is one that says nothing of an agent.
            (&[("host", &["host.arch"])], "n/s:7"),
            (&[process], "n/s:7"),
            (&[("host", &[])], "n/s:7"),
            (&[service], "n/s:7"),
        ] {
            assert_eq!(name(all, entities).as_deref(), Some(expect), "{entities:?}");
        }
        let random = format!("service.name=s service.instance.id={V7} host.id=i host.name=h");
        assert_eq!(name(&random, &[service, instance, host]).as_deref(), Some("s@i"));
        let local = "service.name=s service.instance.id=localhost:1 host.id=i";
        assert_eq!(name(local, &[service, instance, host]).as_deref(), Some("s:localhost:1@i"));
    }

    #[test]
    fn entities_are_read_from_bytes() {
        use opentelemetry_proto::tonic::{common::v1 as common, resource::v1::Resource};
        use prost::Message as _;
        let reference = common::EntityRef {
            r#type: "host".into(),
            id_keys: vec!["host.id".into(), "b".into()],
            description_keys: vec!["host.name".into()],
            schema_url: "https://example.com".into(),
        };
        let resource = Resource { entity_refs: vec![reference], dropped_attributes_count: 1, ..Resource::default() };
        let expect = EntityRef { kind: "host".into(), id_keys: vec!["host.id".into(), "b".into()] };
        assert_eq!(entities(&resource.encode_to_vec()), Ok(vec![expect]));
    }

    #[test]
    fn names_are_names() {
        for text in ["host.name=a\tb", "host.name=a", "host.name=.."] {
            let attributes: Attributes =
                [text.split_once('=').unwrap()].map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
            let rules = Identity::new(&["host.name".to_owned()]).unwrap();
            assert_eq!(name_flaw(&rules.name(&attributes, &[]).unwrap()), None, "{text:?}");
        }
        let mended = |digest| Attributes::new(vec![("host.name".into(), "caf\u{FFFD}".into())], "", digest);
        let rules = Identity::new(&["host.name".to_owned()]).unwrap();
        assert_ne!(rules.name(&mended(1), &[]), rules.name(&mended(2), &[]));
        assert_eq!(rules.name(&mended(0), &[]).as_deref(), Some("caf\u{FFFD}"));
        assert_eq!((&*of_sender("10.0.0.1"), &*of_sender(" \t")), ("10.0.0.1", "unknown sender"));
    }

    #[test]
    fn rules_of_ones_own() {
        let rules = |text: &str| Identity::new(&[text.to_owned()]);
        let all = attributes("a=1 b=2");
        for (rule, expect) in [
            ("a", Some("1")),
            ("a@b", Some("1@2")),
            ("{a}-{b}", Some("1-2")),
            ("[{c}/]{a}", Some("1")),
            ("[{c}/[{b}]]{a}", Some("1")),
            ("[[{c}/]{b}@]{a}", Some("2@1")),
            ("{c}", None),
        ] {
            assert_eq!(rules(rule).unwrap().name(&all, &[]).as_deref(), expect, "{rule}");
        }
        for wrong in ["", "a@", "{a", "{}", "[{a}", "{a}]", "[{a}]", "x[y]", "{a|b}"] {
            assert!(rules(wrong).is_err(), "{wrong}");
        }
    }
}
