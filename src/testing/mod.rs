//! A store and a log in memory, for the tests of the stages that write to them or read from them. Both pass the
//! conformance suites, called in `store::tests` and `log::tests`.

mod log;
mod store;

pub(crate) use log::{MemoryLog, Partitions};
pub(crate) use store::{Contents, MemoryStore};
