//! See the crate's documentation.

pub mod host;
pub mod judges;
pub mod native;
