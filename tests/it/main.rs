//! Tests at the boundary that users touch.

mod data_folder;
mod hostile;
mod plugins;
mod rooms;
mod service;
