//! Tests at the boundary that users touch.

mod agree;
mod commands;
mod contract;
mod data_folder;
mod docs;
mod examples;
mod generous;
mod hostile;
mod notify;
mod plugins;
mod reload;
mod rooms;
mod service;
mod stream;
mod tokens;
mod walls;
