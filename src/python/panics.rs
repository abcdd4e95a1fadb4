//! A panic would be a bug of this package. It becomes `InternalError`, an `Exception`, which a server
//! answers with 500; PyO3's own `PanicException` would end gunicorn's worker.
//!
//! The message of a panic can show what was being read, and the default hook writes it to standard
//! error. Only the place in the source is kept.

use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static INTERNAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A file of this package and a line, or as much of it as fits, and zeros: nothing is allocated,
/// because memory may be what is missing.
type Place = [u8; 256];

thread_local! {
    /// Where this thread panicked last.
    static PLACE: Cell<Place> = const { Cell::new([0; 256]) };
}

/// Keeps the place of a panic, and writes it to standard error without the message. Only panics of
/// this extension come here: it has a standard library of its own.
pub(crate) fn hide_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let Some(location) = panic.location() else { return };
        let mut place = [0; 256];
        // An error means that the rest does not fit.
        let _ = write!(&mut place[..], "{}:{}", location.file(), location.line());
        let _ = writeln!(std::io::stderr(), "flask-fernet has a bug at {}", shown(&place));
        let _ = PLACE.try_with(|last| last.set(place));
    }));
}

/// The result of `step`; `InternalError` if it panics. A `PanicException` of Python code that it calls
/// is a panic too, because PyO3 panics again when it meets one.
///
/// What it changes must be in order after a panic: locks are released, and caches and Python objects
/// are changed in one step each.
pub(crate) fn guarded<T>(py: Python<'_>, step: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result,
        Err(_) => Err(internal_error(py)),
    }
}

/// The place as text. A path in a dependency begins at the dependency, not at the builder's home.
fn shown(place: &Place) -> &str {
    let text = place.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.rsplit("/registry/src/").next().unwrap_or_default()
}

/// The error for the last panic of this thread.
#[cold]
pub(crate) fn internal_error(py: Python<'_>) -> PyErr {
    match INTERNAL.import(py, "flask_fernet.errors", "InternalError") {
        Ok(class) => PyErr::from_type(class.clone(), shown(&PLACE.get()).to_owned()),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use pyo3::intern;
    use pyo3::panic::PanicException;

    use super::*;
    use crate::python::call::call_method;

    #[test]
    fn a_panic_is_an_internal_error_that_shows_nothing_but_its_place() {
        Python::attach(|py| {
            let before = std::panic::take_hook();
            hide_messages();
            let error = guarded(py, || -> PyResult<()> { panic!("a secret") });
            let nested = guarded(py, || {
                let raise = c"lambda kind: (_ for _ in ()).throw(kind('a secret'))";
                let raise = py.eval(raise, None, None)?;
                call_method(&raise, intern!(py, "__call__"), (py.get_type::<PanicException>(),))
            });
            std::panic::set_hook(before);
            for error in [error, nested.map(|_| ())] {
                let error = error.expect_err("it panicked");
                assert!(error.is_instance_of::<pyo3::exceptions::PyRuntimeError>(py));
                let text = error.to_string();
                assert!(text.starts_with("InternalError: "), "{text}");
                assert!(text.contains("src/python/panics.rs:"), "{text}");
                assert!(!text.contains("secret"), "{text}");
            }
        });
    }
}
