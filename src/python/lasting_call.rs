//! Calls Python code that may run when the interpreter ends.
//!
//! CPython before 3.14 ends a daemon thread by `pthread_exit` when it next asks for the interpreter,
//! which unwinds the stack. PyO3's calls do not permit that, and the process would abort. As in
//! CPython 3.14 (<https://github.com/python/cpython/issues/87135>), the thread sleeps here instead,
//! until the process has ended.

use std::hint::black_box;
use std::ptr;
use std::time::Duration;

use pyo3::PyTypeInfo;
use pyo3::ffi::{self, PyObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::panics::internal_error;

type Call = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type UnwindingCall =
    unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;

/// Sleeps for ever when the stack is unwound.
struct Sleeper;

impl Drop for Sleeper {
    fn drop(&mut self) {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// Calls a method of an object.
pub(crate) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Bound<'py, PyAny>> {
    let (method, arguments) = (object.getattr(name)?, arguments.into_pyobject(object.py())?);
    #[expect(unsafe_code, reason = "PyO3 has no call that may be unwound")]
    // SAFETY: the types differ in that the second may unwind, which changes no argument. Both objects
    // are alive, and a new reference or null with an error set is what `PyObject_Call` returns. PyO3
    // does the same where it asks for the interpreter again.
    unsafe {
        // Hidden from the optimizer, which knows that PyO3 declares it as never unwinding.
        let call = std::mem::transmute::<Call, UnwindingCall>(black_box(ffi::PyObject_Call));
        let sleeper = Sleeper;
        let result = call(method.as_ptr(), arguments.as_ptr(), ptr::null_mut());
        std::mem::forget(sleeper);
        // PyO3 would print the message of a nested panic, and panic again.
        let panic = PanicException::type_object_raw(object.py()).cast();
        if result.is_null() && ffi::PyErr_ExceptionMatches(panic) != 0 {
            ffi::PyErr_Clear();
            return Err(internal_error(object.py()));
        }
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}
