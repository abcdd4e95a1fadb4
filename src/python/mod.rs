//! The boundary to Python, and the only folder that names PyO3.
//!
//! `session` is on top: opening and saving a session natively. It uses `codec` (tagged JSON to and
//! from Python objects), `flask` (which of Flask's classes an app has overridden) and the pure core.
//! `fernet` holds the drop-in classes. The files beside this one are shared by all of them.

mod call;
mod clock;
mod codec;
mod dict;
mod errors;
mod fernet;
mod flask;
mod keys;
mod memory;
mod panics;
mod scalar;
mod session;
mod unhandled;

/// `flask_fernet._core`. Users import `flask_fernet`.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::codec::test_support::{Codec, find_cookie};
    #[pymodule_export]
    use super::fernet::fernet::{Fernet, has_fernet_shape};
    #[pymodule_export]
    use super::fernet::multi_fernet::MultiFernet;
    #[pymodule_export]
    use super::keys::record_keys::{RecordKeys, is_reference, read_reference, write_reference};
    #[pymodule_export]
    use super::keys::session_keys::{SessionKeys, derived_key};
    #[pymodule_export]
    use super::keys::wrapping::{unwrap, wrap};
    #[pymodule_export]
    use super::session::compression::{deflate, inflate};
    #[pymodule_export]
    use super::session::interface::NativeInterface;
    #[pymodule_export]
    use super::session::policy::{CookieAttributes, Policy};
    #[pymodule_export]
    use super::session::provenance::Provenance;
    #[pymodule_export]
    use super::session::state::NativeState;

    /// First byte of a compressed payload.
    #[pymodule_export]
    const COMPRESSED: u8 = crate::compress::MARK;
    /// Maximum number of bytes that a compressed payload may inflate to.
    #[pymodule_export]
    const MAX_INFLATED: usize = crate::compress::MAX_INFLATED;
    /// Seconds by which a token may be dated ahead of this clock.
    #[pymodule_export]
    const MAX_CLOCK_SKEW: u64 = crate::keys::key::MAX_CLOCK_SKEW;
    /// Key of the note that opening leaves in a session's ``__dict__``.
    #[pymodule_export]
    const PROVENANCE: &str = super::session::provenance::PROVENANCE;
    /// Key of the creation time, in a session's ``__dict__`` and in the payload that carries it.
    #[pymodule_export]
    const CREATED: &str = super::session::provenance::CREATED;

    /// Key of the note on a stored session, in its ``__dict__``.
    #[pymodule_export]
    const STORED: &str = super::session::provenance::STORED;

    /// Looks up Flask's objects now: before anything of Flask's is patched, and before another
    /// thread can fork in the middle of a look-up.
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        super::panics::hide_messages();
        crate::token::warm_up();
        super::flask::baseline::FlaskClasses::get(module.py())?;
        super::flask::objects::FlaskObjects::get(module.py())?;
        super::codec::types::Types::get(module.py())?;
        super::call::watch_for_the_end(module)
    }
}
