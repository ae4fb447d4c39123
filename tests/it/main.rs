//! Tests at the boundary that users touch.

mod agree;
mod claims;
mod commands;
mod containment;
mod contract;
mod data_folder;
mod docs;
mod examples;
mod first_build;
mod glossary;
mod hostile;
mod modules;
mod notify;
mod outputs;
mod people;
mod permissive_host;
mod plugin_contract;
mod plugins;
mod reload;
mod service;
mod sizes;
mod speed;
#[cfg(target_os = "linux")]
mod strangers;
mod stream;
mod tenant_isolation;
mod tokens;
mod wit;
