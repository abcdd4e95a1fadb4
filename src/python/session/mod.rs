//! Opening and saving a session natively.
//!
//! Imports point one way: `interface`, then `open` and `save`, then `resolve`, then `state`, then
//! `policy` and the rest.

pub(crate) mod compression;
mod counters;
pub(crate) mod interface;
mod open;
pub(crate) mod policy;
mod policy_cache;
pub(crate) mod provenance;
mod resolve;
mod resolved_policy;
mod save;
mod set_cookie;
mod settings_snapshot;
pub(crate) mod state;
