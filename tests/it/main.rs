//! Tests at the boundary that users touch.

mod contract;
mod hostile;
mod plugins;
mod rooms;
mod service;
mod tokens;
mod walls;
