//! Flask's classes and objects, and whether those of an app are still Flask's own.

pub(crate) mod baseline;
pub(crate) mod class_cache;
pub(crate) mod objects;
pub(crate) mod overrides;
pub(crate) mod roles;
