//! Shards against plugins, a store and a log that live in memory.
