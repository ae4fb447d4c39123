//! It asks for the time of day.

use std::time::SystemTime;

hostile::detector!("read-clock", |_| hostile::got(&[SystemTime::now() > SystemTime::UNIX_EPOCH]));
