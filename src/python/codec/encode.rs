//! Python objects to tagged JSON, byte for byte like Flask's `TaggedJSONSerializer.dumps`.

use std::sync::Mutex;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple};

use super::caches::with_cache;
use super::layout_cache::{DictLayout, LayoutCache, Member, Members};
use super::style::Style;
use super::types::Types;
use crate::http_date::append_date;
use crate::json::write::append_string;
use crate::json::{MAX_DEPTH, Tag};
use crate::python::call::{attribute, call_method};
use crate::python::dict::with_locked;
use crate::python::scalar::{append_scalar, utf8};
use crate::python::unhandled::{OrNone, Unhandled};
use crate::token::base64;

/// Appends `dict`, of any subclass, as the plain dict that it holds. `None`, with `out` in any
/// state, if only Python can write it.
pub(crate) fn encode_dict(
    dict: &Bound<'_, PyDict>,
    style: Style,
    cache: &Mutex<LayoutCache>,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    with_encoder(dict.py(), style, cache, out, |encoder| encoder.dict(dict, 0))
}

/// [`encode_dict`] for any value.
pub(super) fn encode(
    value: &Bound<'_, PyAny>,
    style: Style,
    cache: &Mutex<LayoutCache>,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    with_encoder(value.py(), style, cache, out, |encoder| encoder.value(value, 0))
}

fn with_encoder(
    py: Python<'_>,
    style: Style,
    cache: &Mutex<LayoutCache>,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Encoder<'_, '_>) -> Result<(), Unhandled>,
) -> PyResult<Option<()>> {
    let types = Types::get(py)?;
    with_cache(cache, |layouts| write(&mut Encoder { types, style, out, layouts }).or_none())
}

struct Encoder<'out, 'cache> {
    types: &'static Types,
    style: Style,
    out: &'out mut Vec<u8>,
    layouts: &'cache mut LayoutCache,
}

impl Encoder<'_, '_> {
    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Unhandled> {
        if append_scalar(value, self.style.ensure_ascii, self.out) {
            return Ok(());
        }
        self.append_non_scalar(value, depth)
    }

    /// Appends a value that [`append_scalar`] does not handle.
    fn append_non_scalar(
        &mut self,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Result<(), Unhandled> {
        if value.is_exact_instance_of::<PyInt>() {
            // Beyond 4300 digits this raises ValueError, like `json`: the fallback names the place.
            let digits = value.str().map_err(|_| Unhandled::Declined)?;
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
            self.make_room(base64::encoded_len(bytes.as_bytes().len()))?;
            base64::encode_standard_append(bytes.as_bytes(), self.out);
            self.append(b"\"}")
        } else {
            self.tagged(value)
        }
    }

    /// Appends a value of a type that comes from a module.
    fn tagged(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Unhandled> {
        let class = value.get_type();
        if class.is(&self.types.markup) {
            self.append(b"{\" m\":")?;
            self.string(value.cast::<PyString>()?)?;
            self.append(b"}")
        } else if class.is(&self.types.uuid) {
            let hex = attribute(value, intern!(value.py(), "hex"))?;
            self.append(b"{\" u\":")?;
            self.string(hex.cast::<PyString>()?)?;
            self.append(b"}")
        } else if class.is(&self.types.datetime) {
            self.datetime(value)
        } else {
            Err(Unhandled::Declined)
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Unhandled> {
        self.make_room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for more bytes, and some brackets. Declines if there is no memory: Python then says
    /// so, or makes do with less.
    fn make_room(&mut self, bytes: usize) -> Result<(), Unhandled> {
        self.out.try_reserve(bytes + 16).map_err(|_| Unhandled::Declined)
    }

    fn string(&mut self, text: &Bound<'_, PyString>) -> Result<(), Unhandled> {
        let written = append_string(utf8(text)?, self.style.ensure_ascii, self.out);
        written.map_err(|_| Unhandled::Declined)
    }

    fn items<'py>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<(), Unhandled> {
        let depth = deeper(depth)?;
        self.append(b"[")?;
        for (position, item) in items.enumerate() {
            if position > 0 {
                self.append(b",")?;
            }
            self.value(&item, depth)?;
        }
        self.append(b"]")
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> Result<(), Unhandled> {
        let depth = deeper(depth)?;
        if self.append_like_last(dict, depth) {
            return Ok(());
        }
        let mut members = Members::new();
        members.try_reserve(dict.len()).map_err(|_| Unhandled::Declined)?;
        // Hold the members before writing any: writing a value can run Python code, and another
        // thread may then change the dict.
        with_locked(dict, |dict| {
            dict.try_for_each(|key, value| {
                members.push((key.cast_into_exact::<PyString>()?, value));
                Ok::<_, Unhandled>(())
            })
        })?;
        match members.as_slice() {
            [(key, value)] => self.single(key, value, depth),
            members => self.members(members, depth),
        }
    }

    /// Appends a dict that has the keys of the last one at this depth, and scalars alone. Returns
    /// `false`, with nothing appended, for any other dict.
    fn append_like_last(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> bool {
        let Some(layout) = self.layouts.last(depth - 1).filter(|layout| layout.all_scalars) else {
            return false;
        };
        if layout.style != self.style {
            return false;
        }
        let begin = self.out.len();
        self.out.push(b'{');
        let ensure_ascii = self.style.ensure_ascii;
        if with_locked(dict, |dict| {
            dict.append_scalars(&layout.keys, layout.segments(), ensure_ascii, self.out)
        }) {
            self.out.push(b'}');
            return true;
        }
        self.out.truncate(begin);
        false
    }

    /// Appends a dict that has no member, or several.
    #[expect(
        clippy::indexing_slicing,
        reason = "a layout has the positions of as many members as it was found for"
    )]
    fn members(&mut self, members: &[Member<'_>], depth: usize) -> Result<(), Unhandled> {
        // Taken out of the cache, because the members may be dicts that use it.
        let mut layout = match self.layouts.take(members, self.style, depth - 1) {
            Some(layout) => layout,
            None => DictLayout::new(members, self.style)?,
        };
        self.append(b"{")?;
        let mut all_scalars = true;
        for (member, text) in layout.segments() {
            self.append(text)?;
            let value = &members[member].1;
            if !append_scalar(value, self.style.ensure_ascii, self.out) {
                all_scalars = false;
                self.append_non_scalar(value, depth)?;
            }
        }
        self.append(b"}")?;
        layout.all_scalars = all_scalars;
        self.layouts.put(layout, depth - 1);
        Ok(())
    }

    /// Appends a dict with one member. A key that looks like a tag is escaped.
    fn single(
        &mut self,
        key: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        depth: usize,
    ) -> Result<(), Unhandled> {
        let looks_like_a_tag = Tag::from_key(utf8(key)?).is_some();
        if looks_like_a_tag {
            self.append(b"{\" di\":")?;
        }
        self.append(b"{")?;
        self.string(key)?;
        if looks_like_a_tag {
            self.out.pop();
            self.append(b"__\"")?;
        }
        self.append(b":")?;
        self.value(value, depth)?;
        self.append(if looks_like_a_tag { b"}}" } else { b"}" })
    }

    /// Appends an HTTP date for a naive value or one in UTC. Declines other zones, which Python
    /// converts.
    fn datetime(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Unhandled> {
        let py = value.py();
        let zone = attribute(value, intern!(py, "tzinfo"))?;
        if !zone.is_none() && !zone.is(&self.types.utc) {
            return Err(Unhandled::Declined);
        }
        // A subclass that has taken the class's place may give any numbers.
        let ordinal: i64 = call_method(value, intern!(py, "toordinal"), ())?.extract()?;
        let hour: i64 = attribute(value, intern!(py, "hour"))?.extract()?;
        let minute: i64 = attribute(value, intern!(py, "minute"))?.extract()?;
        let second: i64 = attribute(value, intern!(py, "second"))?.extract()?;
        // Python's day 1 is 1 January of year 1, 719,162 days before the epoch.
        let days = i128::from(ordinal) - 719_163;
        let of_day = i128::from(hour) * 3600 + i128::from(minute) * 60 + i128::from(second);
        let time = i64::try_from(days * 86_400 + of_day).map_err(|_| Unhandled::Declined)?;
        self.append(b"{\" d\":\"")?;
        if !append_date(time, self.out) {
            return Err(Unhandled::Declined);
        }
        self.append(b"\"}")
    }
}

fn deeper(depth: usize) -> Result<usize, Unhandled> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Unhandled::Declined) }
}
