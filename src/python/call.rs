//! Calls Python objects and gets their attributes, which can be properties. The interpreter may end
//! during each of these calls.
//!
//! CPython before 3.14 ends a daemon thread by `pthread_exit` when it next asks for the interpreter,
//! which unwinds the stack. PyO3's calls do not permit that, and the process would abort. As in
//! CPython 3.14 (<https://github.com/python/cpython/issues/87135>), the thread sleeps here instead,
//! until the process has ended. `clippy.toml` disallows PyO3's calls for that reason.
//!
//! Rust does not define what a forced unwinding does in its frames. It runs destructors with the
//! compilers and systems that the tests run on, and no frame beyond the first is reached.

use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::panics::internal_error;

/// Positional arguments of a call.
pub(crate) trait Arguments<'py>:
    IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>
{
}

impl<'py, T> Arguments<'py> for T where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>
{
}

/// Whether the interpreter has begun to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Lets the interpreter say when it begins to end, while other threads still run.
pub(crate) fn watch_for_the_end(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[pyfunction]
    fn note_the_end() {
        ENDING.store(true, Ordering::Release);
    }
    let register = import(module.py(), "atexit", "register")?;
    call(&register, (wrap_pyfunction!(note_the_end, module)?,))?;
    Ok(())
}

/// Sleeps for ever when the stack is unwound because the interpreter ends. Anything else that
/// unwinds, such as an exception of C++, ends the process, as it does under Python alone.
struct Sleeper;

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !ENDING.load(Ordering::Acquire) {
            std::process::abort();
        }
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// Calls an object.
pub(crate) fn call<'py>(
    object: &Bound<'py, PyAny>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    perform(object, &arguments.into_pyobject(object.py()).map_err(Into::into)?, None)
}

/// Calls an object with keyword arguments too.
pub(crate) fn call_with_keywords<'py>(
    object: &Bound<'py, PyAny>,
    arguments: impl Arguments<'py>,
    keywords: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    perform(object, &arguments.into_pyobject(object.py()).map_err(Into::into)?, Some(keywords))
}

/// Calls a method of an object.
pub(crate) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&attribute(object, name)?, arguments)
}

/// Gets an attribute of an object.
pub(crate) fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    type Get = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
    type Unwinding = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
    #[expect(unsafe_code, reason = "PyO3 has no call that may be unwound")]
    // SAFETY: as in `perform`.
    unsafe {
        let get = std::mem::transmute::<Get, Unwinding>(black_box(ffi::PyObject_GetAttr));
        lasting(object.py(), || get(object.as_ptr(), name.as_ptr()))
    }
}

/// Gets an attribute of an object; `None` if it has none.
pub(crate) fn attribute_opt<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match attribute(object, name) {
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => Ok(None),
        found => found.map(Some),
    }
}

/// An object of a module.
pub(crate) fn import<'py>(
    py: Python<'py>,
    module: &str,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    attribute(py.import(module)?.as_any(), &PyString::new(py, name))
}

fn perform<'py>(
    object: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let keywords = keywords.map_or(ptr::null_mut(), |keywords| keywords.as_ptr());
    type Call = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
    type Unwinding =
        unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
    #[expect(unsafe_code, reason = "PyO3 has no call that may be unwound")]
    // SAFETY: the types differ in that the second may unwind, which changes no argument. All objects
    // are alive, and a new reference or null with an error set is what the function returns. PyO3
    // does the same where it asks for the interpreter again.
    unsafe {
        // Hidden from the optimizer, which knows that PyO3 declares it as never unwinding.
        let call = std::mem::transmute::<Call, Unwinding>(black_box(ffi::PyObject_Call));
        lasting(object.py(), || call(object.as_ptr(), arguments.as_ptr(), keywords))
    }
}

/// The result of a step that may be unwound when the interpreter ends.
///
/// # Safety
///
/// The step must return a new reference, or null with an error set.
#[inline(always)]
#[expect(unsafe_code, reason = "takes a pointer from Python's C interface")]
unsafe fn lasting(
    py: Python<'_>,
    step: impl FnOnce() -> *mut PyObject,
) -> PyResult<Bound<'_, PyAny>> {
    // Looked up first: with an error set, PyO3 would wait for ever for a type that it cannot make.
    let panic = PanicException::type_object_raw(py).cast();
    let sleeper = Sleeper;
    let result = step();
    std::mem::forget(sleeper);
    // SAFETY: the caller promises it.
    unsafe {
        // PyO3 would print the message of a nested panic, and panic again.
        if result.is_null() && ffi::PyErr_ExceptionMatches(panic) != 0 {
            ffi::PyErr_Clear();
            return Err(internal_error(py));
        }
        Bound::from_owned_ptr_or_err(py, result)
    }
}
