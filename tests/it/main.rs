//! Tests at the boundary that users touch.

mod rooms;
