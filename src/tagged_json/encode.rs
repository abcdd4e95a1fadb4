//! Python objects to tagged JSON, byte for byte as Flask's `TaggedJSONSerializer.dumps`.

use std::sync::Mutex;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::known::{self, KnownShapes, Member, Members, Shape};
use super::types::Types;
use super::write::{append_float, append_int, append_string};
use super::{MAX_DEPTH, Tag};
use crate::cookie::append_date;
use crate::python::{Stop, with_entries};
use crate::token::base64;

/// The settings of Flask's `DefaultJSONProvider` that show in its output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) sort_keys: bool,
    pub(crate) ensure_ascii: bool,
}

/// Appends `value` to `out`. `None`, with `out` in any state, for what only Python can write.
pub(crate) fn encode(
    value: &Bound<'_, PyAny>,
    style: Style,
    known: &Mutex<KnownShapes>,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    with_encoder(value.py(), style, known, out, |encoder| encoder.value(value, 0))
}

/// [`encode`] for a dict of any subclass, taken for the plain dict that it holds.
pub(crate) fn encode_dict(
    dict: &Bound<'_, PyDict>,
    style: Style,
    known: &Mutex<KnownShapes>,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    with_encoder(dict.py(), style, known, out, |encoder| encoder.dict(dict, 0))
}

fn with_encoder(
    py: Python<'_>,
    style: Style,
    known: &Mutex<KnownShapes>,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Encoder<'_, '_>) -> Result<(), Stop>,
) -> PyResult<Option<()>> {
    let types = Types::get(py)?;
    known::with(known, |shapes| Stop::declined(write(&mut Encoder { types, style, out, shapes })))
}

struct Encoder<'out, 'known> {
    types: &'static Types,
    style: Style,
    out: &'out mut Vec<u8>,
    shapes: &'known mut KnownShapes,
}

impl Encoder<'_, '_> {
    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Stop> {
        if append_plain(value, self.style.ensure_ascii, self.out) {
            return Ok(());
        }
        self.no_plain(value, depth)
    }

    /// Appends what [`append_plain`] does not know.
    fn no_plain(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Stop> {
        if value.is_exact_instance_of::<PyInt>() {
            // Beyond 4300 digits this raises ValueError, as json does.
            let digits = value.str()?;
            self.append(utf8(&digits)?.as_bytes())
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.items(list.iter(), depth)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.append(b"{\" t\":")?;
            self.items(tuple.iter(), depth)?;
            self.append(b"}")
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.append(b"{\" b\":\"")?;
            base64::encode_standard_append(bytes.as_bytes(), self.out);
            self.append(b"\"}")
        } else {
            self.tagged(value)
        }
    }

    /// The types that come from a module.
    fn tagged(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Stop> {
        let class = value.get_type();
        if class.is(&self.types.markup) {
            self.append(b"{\" m\":")?;
            self.string(value.cast::<PyString>()?)?;
            self.append(b"}")
        } else if class.is(&self.types.uuid) {
            let hex = value.getattr(intern!(value.py(), "hex"))?;
            self.append(b"{\" u\":")?;
            self.string(hex.cast::<PyString>()?)?;
            self.append(b"}")
        } else if class.is(&self.types.datetime) {
            self.datetime(value)
        } else {
            Err(Stop::Decline)
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn string(&mut self, text: &Bound<'_, PyString>) -> Result<(), Stop> {
        append_string(utf8(text)?, self.style.ensure_ascii, self.out);
        Ok(())
    }

    fn items<'py>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<(), Stop> {
        let depth = deeper(depth)?;
        self.out.push(b'[');
        for (position, item) in items.enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            self.value(&item, depth)?;
        }
        self.append(b"]")
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> Result<(), Stop> {
        let depth = deeper(depth)?;
        if self.append_known(dict, depth) {
            return Ok(());
        }
        let mut members = Members::new();
        // The members are held before anything is written: writing a value can run Python,
        // and another thread may then change the dict.
        with_critical_section(dict, || {
            for (key, value) in dict {
                members.push((key.cast_into_exact::<PyString>()?, value));
            }
            Ok::<_, Stop>(())
        })?;
        match members.as_slice() {
            [(key, value)] => self.single(key, value, depth),
            members => self.members(members, depth),
        }
    }

    /// Appends a dict like the last one at this depth, with plain values alone.
    fn append_known(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> bool {
        let Some(shape) = self.shapes.last(depth - 1).filter(|shape| shape.is_plain) else {
            return false;
        };
        if shape.style != self.style {
            return false;
        }
        let begin = self.out.len();
        self.out.push(b'{');
        let ensure_ascii = self.style.ensure_ascii;
        if with_entries(dict, |entries| {
            entries.append_plain(&shape.keys, shape.parts(), ensure_ascii, self.out)
        }) {
            self.out.push(b'}');
            return true;
        }
        self.out.truncate(begin);
        false
    }

    /// No members, or several.
    fn members(&mut self, members: &[Member<'_>], depth: usize) -> Result<(), Stop> {
        // Taken out while the members are written, which may be dicts of their own.
        let mut shape = match self.shapes.take(members, self.style, depth - 1) {
            Some(shape) => shape,
            None => Shape::new(members, self.style)?,
        };
        self.out.push(b'{');
        let mut is_plain = true;
        for (member, text) in shape.parts() {
            self.out.extend_from_slice(text);
            let value = &members[member].1;
            if !append_plain(value, self.style.ensure_ascii, self.out) {
                is_plain = false;
                self.no_plain(value, depth)?;
            }
        }
        self.out.push(b'}');
        shape.is_plain = is_plain;
        self.shapes.put(shape, depth - 1);
        Ok(())
    }

    /// The one member of a dict; a key that looks like a tag is escaped.
    fn single(
        &mut self,
        key: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Result<(), Stop> {
        let looks_like_a_tag = Tag::from_key(utf8(key)?).is_some();
        if looks_like_a_tag {
            self.append(b"{\" di\":")?;
        }
        self.out.push(b'{');
        self.string(key)?;
        if looks_like_a_tag {
            self.out.pop();
            self.append(b"__\"")?;
        }
        self.out.push(b':');
        self.value(value, depth)?;
        self.append(if looks_like_a_tag { b"}}" } else { b"}" })
    }

    /// An HTTP date, for naive values and those in UTC; other zones are Python's to convert.
    fn datetime(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Stop> {
        let py = value.py();
        let zone = value.getattr(intern!(py, "tzinfo"))?;
        if !zone.is_none() && !zone.is(&self.types.utc) {
            return Err(Stop::Decline);
        }
        let ordinal: i64 = value.call_method0(intern!(py, "toordinal"))?.extract()?;
        let hour: i64 = value.getattr(intern!(py, "hour"))?.extract()?;
        let minute: i64 = value.getattr(intern!(py, "minute"))?.extract()?;
        let second: i64 = value.getattr(intern!(py, "second"))?.extract()?;
        // Python's day 1 is 1 January of year 1, 719,162 days before the epoch.
        let time = (ordinal - 719_163) * 86_400 + hour * 3600 + minute * 60 + second;
        self.append(b"{\" d\":\"")?;
        if !append_date(time, self.out) {
            return Err(Stop::Decline);
        }
        self.append(b"\"}")
    }
}

/// Appends a value that is no container, if that takes no Python to be run: a `str` with UTF-8, an
/// integer of 64 bits, a float, `True`, `False` or `None`.
#[inline]
pub(crate) fn append_plain(
    value: &Bound<'_, PyAny>,
    ensure_ascii: bool,
    out: &mut Vec<u8>,
) -> bool {
    if let Ok(text) = value.cast_exact::<PyString>() {
        let Ok(text) = text.to_str() else { return false };
        append_string(text, ensure_ascii, out);
    } else if value.is_exact_instance_of::<PyInt>() {
        let Ok(int) = value.extract() else { return false };
        append_int(int, out);
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        append_float(float.value(), out);
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else {
        return false;
    }
    true
}

fn deeper(depth: usize) -> Result<usize, Stop> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Stop::Decline) }
}

/// The text as UTF-8; lone surrogates have none.
pub(super) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str, Stop> {
    text.to_str().map_err(|_| Stop::Decline)
}
