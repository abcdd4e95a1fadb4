//! Keys: as text, as the set that serves an app's sessions, and as a wrapped document.

pub mod key;
pub mod key_set;
pub mod wipe;
pub mod wrapping;
