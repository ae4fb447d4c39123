//! The domain of `vitals`: the types that travel between the stages and the rules that judge them.
//!
//! Nothing here does I/O, waits, or asks the clock; time always comes in as a parameter.
//!
//! - [`ids`]: newtypes for times and identities
//! - [`attributes`]: attributes with their types, and the instrumentation scope
//! - [`series`]: what a series and an agent are, described once
//! - [`registry`]: identity to id, and id to description
//! - [`columns`]: a batch of samples, by columns
//! - [`leb128`]: numbers in as few bytes as they need
//! - [`record`]: what the log keeps and evaluation consumes
//! - [`verdict`]: what judging yields, with its evidence
//! - [`rules`]: the formulas (health score, IQR, SLA, thresholds, alerts, timeouts, data quality)
//! - [`audit`]: who did what, and when
//! - [`availability`]: from evidence of life to sessions and outages
//! - [`live_agents`]: what is known of each agent right now
//! - [`caller`]: who asks, and what they may touch
//! - [`alert_command`]: what a person does to an alert
//! - [`maintenance`]: planned maintenance windows that people set
//! - [`measurements`]: the table of an agent's measurements, and what is made of it
//! - [`measurement_role`]: which series make up an agent's measurements
//! - [`time`] converts durations
//! - [`log`], [`store`]: the contracts of the log and of the store, as traits

pub mod alert_command;
pub mod attributes;
pub mod audit;
pub mod availability;
pub mod caller;
pub mod columns;
pub mod ids;
pub mod leb128;
pub mod live_agents;
pub mod log;
pub mod maintenance;
pub mod measurement_role;
pub mod measurements;
pub mod record;
pub mod registry;
pub mod rules;
pub mod series;
pub mod store;
pub mod time;
pub mod verdict;
