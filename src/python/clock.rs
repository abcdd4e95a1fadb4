//! The one place where time comes from: Python's `time.time`, looked up and called at each use,
//! so that a clock frozen in a user's tests is the clock here too, whether by another function in
//! its place (freezegun) or by other code in the function (time-machine).

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt};

/// The names of the module.
static TIME: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// What `time.time()` answered.
pub(crate) struct Now<'py>(Bound<'py, PyAny>);

pub(crate) fn now(py: Python<'_>) -> PyResult<Now<'_>> {
    let names = TIME.get_or_try_init(py, || Ok::<_, PyErr>(py.import("time")?.dict().unbind()))?;
    let time = names.bind(py).get_item(intern!(py, "time"))?;
    Ok(Now(time.ok_or_else(|| PyAttributeError::new_err("time.time is gone"))?.call0()?))
}

/// Up to here a float holds every whole number of seconds, and i64 every such float.
const EXACT: f64 = 9e15;

impl<'py> Now<'py> {
    /// `int(time.time())`: whole seconds since the epoch.
    pub(crate) fn seconds(&self) -> PyResult<i128> {
        match self.0.cast_exact::<PyFloat>().map(PyFloatMethods::value) {
            #[allow(clippy::cast_possible_truncation)]
            Ok(float) if float.abs() < EXACT => Ok(i128::from(float as i64)),
            _ => self.0.py().get_type::<PyInt>().call1((&self.0,))?.extract(),
        }
    }

    /// `int(time.time())` as Python has it.
    pub(crate) fn seconds_int(self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.0.py();
        match self.0.cast_exact::<PyFloat>().map(PyFloatMethods::value) {
            #[allow(clippy::cast_possible_truncation)]
            Ok(float) if float.abs() < EXACT => Ok((float as i64).into_pyobject(py)?.into_any()),
            _ => py.get_type::<PyInt>().call1((self.0,)),
        }
    }

    /// Seconds since the epoch, with their fraction.
    pub(crate) fn float(&self) -> PyResult<f64> {
        self.0.extract()
    }

    /// Microseconds since the epoch, rounded down, as `datetime.now` has them.
    pub(crate) fn microseconds(&self) -> PyResult<i64> {
        let seconds = self.float()?;
        let whole = i64::try_from(self.seconds()?)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let fraction = ((seconds - whole as f64) * 1e6).floor() as i64;
        Ok(whole.saturating_mul(1_000_000).saturating_add(fraction))
    }
}
