//! Tests at the boundary that users touch.

mod agree;
mod commands;
mod contract;
mod data_folder;
mod docs;
mod examples;
mod glossary;
mod hostile;
mod modules;
mod notify;
mod permissive_host;
mod plugins;
mod reload;
mod service;
mod tenant_isolation;
mod tokens;
