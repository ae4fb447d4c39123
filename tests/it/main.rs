//! Tests at the boundary that users touch.

mod hostile;
mod plugins;
mod rooms;
mod service;
