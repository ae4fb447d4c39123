//! Tests at the boundary that users touch.

mod commands;
mod contract;
mod data_folder;
mod hostile;
mod notify;
mod plugins;
mod reload;
mod rooms;
mod service;
mod tokens;
mod walls;
