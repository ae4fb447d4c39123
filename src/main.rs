//! The `vitals` program; everything is in the library.

fn main() {}
