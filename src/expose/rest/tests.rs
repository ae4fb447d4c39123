//! The API over real sockets, with the store and evaluation in memory: shapes against the contract's schemas, walls between
//! tenants, validation at its bounds.

mod agent;
mod alerts;
mod answers;
mod audit;
mod availability;
mod components;
mod contract;
mod csv;
mod document;
mod evaluation;
mod health;
mod limits;
mod maintenance;
mod origins;
mod page;
mod parameters;
mod queries;
mod schemas;
mod service;
mod stream;
mod walls;

use self::schemas::{contract, document, fits, operations, violations, within, written};
use self::service::Service;
use crate::expose::{ExposeConfig, LARGEST_BODY};
use crate::net::Refusal;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vitals_core::availability::{Interval, State};
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::live_agents::{LiveAgent, Liveness, Observed};
use vitals_core::record::{Measurements, Record};
use vitals_core::rules::health::{HealthConfig, score};
use vitals_core::series::{AgentProfile, MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::verdict::{AgentHealth, Alert, HealthStatus};

const NOW: UnixNanos = UnixNanos(1_770_000_000_000_000_000);

const MINUTE: i64 = 60 * UnixNanos::SECOND;

const HOUR: i64 = 60 * MINUTE;

const DAY: i64 = 24 * 60 * MINUTE;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn at(offset: i64) -> String {
    super::time::Time(NOW.plus(offset)).to_string()
}

fn beat(id: &str) -> Value {
    json!({
        "agent_info": {
            "agent_id": id, "agent_version": "1.0", "environment": "test", "geographic_location": "eu"
        },
        "health_status": "healthy",
        "timestamp": at(0),
        "cpu_usage_percent": 97.0,
        "memory_usage_mb": 1024,
        "response_time_ms": 1500,
        "unknown_field": {"is": "ignored"},
    })
}

fn system(id: &str) -> Value {
    json!({
        "system_id": id,
        "timestamp": at(0),
        "environment": "test",
        "collection_method": "push",
        "component_name": "pool",
        "metrics": [
            {"metric_name": "cpu", "metric_type": "cpu_usage", "value": 90.0, "unit": "percent"},
            {"metric_name": "rows", "metric_type": "custom", "value": 2e6, "unit": "1", "dimensions": {"b": 1, "a": "x"}},
        ],
    })
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut value } else { value.pointer_mut(parent).unwrap() };
    match new {
        Value::String(text) if text == "<absent>" => {
            parent.as_object_mut().unwrap().remove(key);
        }
        new => parent[key] = new,
    }
    value
}

/// An agent known to the registry, by no heartbeat.
fn known(service: &Service, key: &str, location: Option<&str>) -> AgentId {
    let profile = AgentProfile { location: location.map(str::to_owned), ..AgentProfile::default() };
    service.registry.intern_agent(&"default".into(), key, NOW.plus(-400 * DAY), &profile).unwrap()
}

/// Intervals in minutes before now, each up to the next one's start; the last one lasts.
fn lived(service: &Service, agent: AgentId, parts: &[(i64, State)]) {
    let mut recent = Vec::new();
    for (at, &(start, state)) in parts.iter().enumerate() {
        let end = parts.get(at + 1).map(|&(end, _)| NOW.plus(-end * MINUTE));
        let interval = Interval { start: NOW.plus(-start * MINUTE), end, state };
        service.store.change(|held| held.intervals.insert((agent, interval.start), interval));
        recent.push(interval);
    }
    let liveness = match parts.last() {
        Some((_, State::Silent)) => Liveness::Offline,
        Some((_, State::Maintenance)) => Liveness::Maintenance,
        _ => Liveness::OnTime,
    };
    service.evaluation.live_agents.put([(agent, LiveAgent { recent, ..live(liveness) })]);
}

/// An agent that was heard of just now, and of which nothing else is known.
fn live(liveness: Liveness) -> LiveAgent {
    LiveAgent {
        liveness,
        last_evidence: NOW,
        interval: MINUTE,
        timeout: 3 * MINUTE,
        measurements: Measurements::default(),
        reported: None,
        health: None,
        recent: Vec::new(),
        clock_skew: None,
        sla: None,
    }
}
