//! The boundary to Python: one file a class, everything below it bytes.

mod classes;
mod clock;
mod codec;
mod convert;
mod entries;
mod errors;
mod fernet;
mod flask_objects;
mod multi_fernet;
mod native_path;
mod open;
mod origin;
mod rejections;
mod save;
mod sealing;
mod session_keys;
mod set_cookie;
mod settings;
mod stop;
mod wrapping;

pub(crate) use entries::with_entries;
pub(crate) use stop::Stop;

/// `flask_fernet._core`: for `flask_fernet` to import, not for users.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::codec::{Codec, deflate, find_cookie, inflate};
    #[pymodule_export]
    use super::fernet::Fernet;
    #[pymodule_export]
    use super::multi_fernet::MultiFernet;
    #[pymodule_export]
    use super::native_path::{NativePath, NativeState};
    #[pymodule_export]
    use super::origin::Origin;
    #[pymodule_export]
    use super::session_keys::{SessionKeys, derived_key};
    #[pymodule_export]
    use super::wrapping::{unwrap, wrap};

    /// What is looked up once is looked up now: before anything of Flask's is patched, and
    /// before another thread can fork in the middle of it.
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::token::warm_up();
        super::classes::Stock::get(module.py())?;
        super::flask_objects::FlaskObjects::get(module.py())?;
        Ok(())
    }
}
