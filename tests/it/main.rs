//! Tests at the boundary that users touch.

mod hostile;
mod plugins;
mod reload;
mod rooms;
mod service;
