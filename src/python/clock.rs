//! The one source of time: Python's `time.time`, looked up and called at each use. A clock that a
//! user's tests freeze is therefore frozen here too, whether the test replaces the function
//! (freezegun) or its code (time-machine).

use std::time::SystemTime;

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyDict, PyFloat, PyInt};

use super::call::{attribute, call};

/// The namespace of the module `time`.
static TIME: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// A result of `time.time()`.
pub(crate) struct Now<'py>(Bound<'py, PyAny>);

/// Reads the clock.
pub(crate) fn now(py: Python<'_>) -> PyResult<Now<'_>> {
    let names = TIME.get_or_try_init(py, || Ok::<_, PyErr>(py.import("time")?.dict().unbind()))?;
    let time = names.bind(py).get_item(intern!(py, "time"))?;
    let time =
        time.ok_or_else(|| PyAttributeError::new_err("module 'time' has no attribute 'time'"))?;
    Ok(Now(call(&time, ())?))
}

/// Below this limit a float holds every whole number of seconds exactly, and i64 holds the float.
const EXACT: f64 = 9e15;

impl<'py> Now<'py> {
    /// `int(time.time())`: whole seconds since the epoch.
    pub(crate) fn seconds(&self) -> PyResult<i128> {
        match self.0.cast_exact::<PyFloat>().map(PyFloatMethods::value) {
            Ok(float) if float.abs() < EXACT => Ok(i128::from(float as i64)),
            _ => call(&self.0.py().get_type::<PyInt>(), (&self.0,))?.extract(),
        }
    }

    /// `int(time.time())` as a Python object.
    pub(crate) fn seconds_int(self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.0.py();
        match self.0.cast_exact::<PyFloat>().map(PyFloatMethods::value) {
            Ok(float) if float.abs() < EXACT => Ok((float as i64).into_pyobject(py)?.into_any()),
            _ => call(&py.get_type::<PyInt>(), (self.0,)),
        }
    }

    /// Seconds since the epoch, with their fraction.
    pub(crate) fn float(&self) -> PyResult<f64> {
        self.0.extract()
    }

    /// Whether this clock shows the system's time, to the millisecond, so that nobody has frozen
    /// or moved it.
    pub(crate) fn is_of_system(&self) -> bool {
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        match (self.0.cast_exact::<PyFloat>(), system) {
            (Ok(now), Ok(system)) => (system.as_secs_f64() - now.value()).abs() < 1e-3,
            _ => false,
        }
    }

    /// Microseconds since the epoch, rounded down like those of `datetime.now`.
    pub(crate) fn microseconds(&self) -> PyResult<i64> {
        let seconds = self.float()?;
        let whole = i64::try_from(self.seconds()?)?;
        let fraction = ((seconds - whole as f64) * 1e6).floor() as i64;
        Ok(whole.saturating_mul(1_000_000).saturating_add(fraction))
    }
}

/// A `timedelta` in microseconds; `None` where i64 cannot hold it, beyond 290,000 years.
pub(crate) fn microseconds(delta: &Bound<'_, PyDelta>) -> PyResult<Option<i64>> {
    let py = delta.py();
    let days: i64 = attribute(delta, intern!(py, "days"))?.extract()?;
    let seconds: i64 = attribute(delta, intern!(py, "seconds"))?.extract()?;
    let microseconds: i64 = attribute(delta, intern!(py, "microseconds"))?.extract()?;
    let seconds = days.checked_mul(86_400).and_then(|days| days.checked_add(seconds));
    let whole = seconds.and_then(|seconds| seconds.checked_mul(1_000_000));
    Ok(whole.and_then(|whole| whole.checked_add(microseconds)))
}
