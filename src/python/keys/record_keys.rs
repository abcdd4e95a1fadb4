//! `RecordKeys`: the records of stored sessions, for the Python side.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::session_keys::SessionKeys;
use crate::keys::key_set::KeySet;
use crate::python::errors;
use crate::python::memory::{copied, new_bytes, room_for};
use crate::python::panics::guarded;
use crate::token::TokenError;
use crate::token::record::{self, Content};
use crate::token::reference;

/// Seals and opens the records of stored sessions. The first key encrypts, all of them open.
///
/// :param keys: the keys of the sessions.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct RecordKeys(Py<SessionKeys>);

/// Generation, creation time, renewal time, payload, and the position of the key.
type Opened<'py> = (Bound<'py, PyBytes>, u64, u64, Bound<'py, PyBytes>, usize);

#[pymethods]
impl RecordKeys {
    #[new]
    const fn new(keys: Py<SessionKeys>) -> Self {
        Self(keys)
    }

    /// Where the record of the session ``id`` lies in a store.
    fn address<'py>(&self, py: Python<'py>, id: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        guarded(py, || Ok(PyBytes::new(py, &self.set().address(id))))
    }

    /// A record for this address, under the newest key.
    ///
    /// :param generation: 8 bytes.
    /// :param created: seconds since the epoch.
    /// :param renewed_at: seconds since the epoch.
    fn seal<'py>(
        &self,
        py: Python<'py>,
        address: &[u8],
        generation: &[u8],
        created: u64,
        renewed_at: u64,
        payload: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(py, || {
            let wrong_length = |_| PyValueError::new_err("a generation has 8 bytes");
            let generation = generation.try_into().map_err(wrong_length)?;
            let content = Content { generation, created, payload };
            let mut record = room_for(record::len(payload.len()))?;
            self.set().seal_record(content, renewed_at, address, &mut record)?;
            new_bytes(py, &record)
        })
    }

    /// The contents of the record at this address: generation, creation time, renewal time, both in
    /// seconds since the epoch, payload, and the position of the key that made it.
    ///
    /// :raises SessionRejected: with the reason.
    fn open<'py>(&self, py: Python<'py>, address: &[u8], record: &[u8]) -> PyResult<Opened<'py>> {
        guarded(py, || {
            let opened = if record.len() > record::MAX {
                Err(TokenError::TooLarge)
            } else {
                self.set().open_record(copied(record)?, address)
            };
            let opened = opened.map_err(|reason| errors::session_rejected(py, reason))?;
            let payload = new_bytes(py, &opened.payload)?;
            let generation = PyBytes::new(py, &opened.generation);
            Ok((generation, opened.created, opened.renewed_at, payload, opened.key))
        })
    }

    /// Whether a record that no key opens may be under a key that this object does not have yet.
    fn may_be_newer(&self, py: Python<'_>, record: &[u8]) -> PyResult<bool> {
        guarded(py, || {
            Ok(record.len() <= record::MAX && self.set().record_may_be_newer(copied(record)?))
        })
    }

    /// The tags of a user, one for each key, that of the newest first.
    ///
    /// :param kind: a byte for the type of the user's id.
    fn owner_tags<'py>(
        &self,
        py: Python<'py>,
        kind: u8,
        user: &[u8],
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        guarded(py, || {
            Ok(self.set().owner_tags(kind, user).map(|tag| PyBytes::new(py, &tag)).collect())
        })
    }
}

impl RecordKeys {
    fn set(&self) -> &KeySet {
        self.0.get().key_set()
    }
}

/// Whether a payload is a reference to a stored session, well formed or not.
#[pyfunction]
pub(crate) fn is_reference(py: Python<'_>, payload: &[u8]) -> PyResult<bool> {
    guarded(py, || Ok(reference::is_reference(payload)))
}

/// The id and the generation in the payload of a stored session's cookie; ``None`` if it is not one.
#[pyfunction]
pub(crate) fn read_reference<'py>(
    py: Python<'py>,
    payload: &[u8],
) -> PyResult<Option<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
    guarded(py, || {
        Ok(reference::parse(payload).map(|both| {
            let (id, generation) = both.split_at(reference::ID);
            (PyBytes::new(py, id), PyBytes::new(py, generation))
        }))
    })
}

/// The payload of a stored session's cookie.
///
/// :param id: 32 bytes.
/// :param generation: 8 bytes.
#[pyfunction]
pub(crate) fn write_reference<'py>(
    py: Python<'py>,
    id: &[u8],
    generation: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    guarded(py, || {
        let wrong_length = |_| PyValueError::new_err("an id has 32 bytes and a generation 8");
        let both = [id, generation].concat().try_into().map_err(wrong_length)?;
        Ok(PyBytes::new(py, &reference::write(&both)))
    })
}
