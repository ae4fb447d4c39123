//! Tests at the boundary that users touch.

mod contract;
mod data_folder;
mod hostile;
mod plugins;
mod rooms;
mod service;
mod walls;
