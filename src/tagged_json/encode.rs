//! Python objects to tagged JSON, byte for byte as Flask's `TaggedJSONSerializer.dumps`.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use super::types::Types;
use super::write::{append_float, append_int, append_string};
use super::{MAX_DEPTH, Tag};
use crate::cookie::append_date;
use crate::python::Stop;
use crate::token::base64;

/// The settings of Flask's `DefaultJSONProvider` that show in its output.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) sort_keys: bool,
    pub(crate) ensure_ascii: bool,
}

/// Appends `value` to `out`. `None`, with `out` in any state, for what only Python can write.
pub(crate) fn encode(
    value: &Bound<'_, PyAny>,
    style: Style,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    Stop::declined(Encoder::new(value.py(), style, out)?.value(value, 0))
}

/// [`encode`] for a dict of any subclass, taken for the plain dict that it holds.
pub(crate) fn encode_dict(
    dict: &Bound<'_, PyDict>,
    style: Style,
    out: &mut Vec<u8>,
) -> PyResult<Option<()>> {
    Stop::declined(Encoder::new(dict.py(), style, out)?.dict(dict, 0))
}

struct Encoder<'out, 'py> {
    types: &'static Types,
    style: Style,
    out: &'out mut Vec<u8>,
    /// The keys of the last dict at each depth.
    shapes: Vec<Shape<'py>>,
}

type Member<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>);

/// On the stack for dicts of the usual size.
type Members<'py> = SmallVec<[Member<'py>; 16]>;

/// Whether the keys are in the order of `sort_keys`. UTF-8 sorts as code points do.
fn are_sorted(members: &[Member<'_>]) -> Result<bool, Stop> {
    let mut sorted = true;
    let mut before = "";
    for (key, _) in members {
        let key = utf8(key)?;
        sorted &= before <= key;
        before = key;
    }
    Ok(sorted)
}

/// The keys of a dict as they are written: the dicts in a list mostly have the same ones, the
/// very same objects, in the same order.
#[derive(Default)]
struct Shape<'py> {
    /// In the order of the dict. Held, so that no other object can have their address.
    keys: Vec<Bound<'py, PyString>>,
    /// In the order of writing: which member, and where its key ends in `text`.
    order: Vec<(usize, usize)>,
    /// Every key with its colon.
    text: Vec<u8>,
}

impl<'py> Shape<'py> {
    fn fits(&self, members: &[Member<'py>]) -> bool {
        self.keys.len() == members.len()
            && self.keys.iter().zip(members).all(|(known, (key, _))| known.is(key))
    }

    fn learn(&mut self, members: &[Member<'py>], style: Style) -> Result<(), Stop> {
        self.keys.clear();
        self.order.clear();
        self.text.clear();
        self.keys.extend(members.iter().map(|(key, _)| key.clone()));
        self.order.extend((0..members.len()).map(|position| (position, 0)));
        if !are_sorted(members)? && style.sort_keys {
            // Every key has just been read.
            let text = |member: &(usize, usize)| members[member.0].0.to_str().unwrap_or_default();
            self.order.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        }
        for (member, end) in &mut self.order {
            append_string(utf8(&members[*member].0)?, style.ensure_ascii, &mut self.text);
            self.text.push(b':');
            *end = self.text.len();
        }
        Ok(())
    }
}

impl<'out, 'py> Encoder<'out, 'py> {
    fn new(py: Python<'py>, style: Style, out: &'out mut Vec<u8>) -> PyResult<Self> {
        Ok(Self { types: Types::get(py)?, style, out, shapes: Vec::new() })
    }

    fn value(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Result<(), Stop> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            self.string(text)
        } else if value.is_exact_instance_of::<PyInt>() {
            self.int(value)
        } else if value.is_none() {
            self.append(b"null")
        } else if let Ok(flag) = value.cast_exact::<PyBool>() {
            self.append(if flag.is_true() { b"true" } else { b"false" })
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.items(list.iter(), depth)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.append(b"{\" t\":")?;
            self.items(tuple.iter(), depth)?;
            self.append(b"}")
        } else if let Ok(float) = value.cast_exact::<PyFloat>() {
            append_float(float.value(), self.out);
            Ok(())
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.append(b"{\" b\":\"")?;
            base64::encode_standard_append(bytes.as_bytes(), self.out);
            self.append(b"\"}")
        } else {
            self.tagged(value)
        }
    }

    /// The types that come from a module.
    fn tagged(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
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

    fn string(&mut self, text: &Bound<'py, PyString>) -> Result<(), Stop> {
        append_string(utf8(text)?, self.style.ensure_ascii, self.out);
        Ok(())
    }

    fn int(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
        if let Ok(small) = value.extract::<i64>() {
            append_int(small, self.out);
            Ok(())
        } else {
            // Beyond 4300 digits this raises ValueError, as json does.
            let digits = value.str()?;
            self.append(utf8(&digits)?.as_bytes())
        }
    }

    fn items(
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

    fn dict(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Result<(), Stop> {
        let depth = deeper(depth)?;
        let mut members = Members::new();
        // The members are held before anything is written: writing a value can run Python,
        // and another thread may then change the dict.
        with_critical_section(dict, || {
            for (key, value) in dict {
                members.push((key.cast_into_exact::<PyString>()?, value));
            }
            Ok::<_, Stop>(())
        })?;
        match members.as_mut_slice() {
            [(key, value)] => self.single(key, value, depth),
            // There is only one at the top, so it has nobody to learn from.
            members if depth == 1 => self.only_members(members),
            members => self.members(members, depth),
        }
    }

    fn only_members(&mut self, members: &mut [Member<'py>]) -> Result<(), Stop> {
        if !are_sorted(members)? && self.style.sort_keys {
            // Every key has just been read.
            members.sort_unstable_by(|(a, _), (b, _)| {
                a.to_str().unwrap_or_default().cmp(b.to_str().unwrap_or_default())
            });
        }
        self.out.push(b'{');
        for (position, (key, value)) in members.iter().enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            self.string(key)?;
            self.out.push(b':');
            self.value(value, 1)?;
        }
        self.append(b"}")
    }

    fn members(&mut self, members: &[Member<'py>], depth: usize) -> Result<(), Stop> {
        if self.shapes.len() <= depth {
            self.shapes.resize_with(depth + 1, Shape::default);
        }
        // Taken out while the members are written, which may be dicts of their own.
        let mut shape = std::mem::take(&mut self.shapes[depth]);
        if !shape.fits(members) {
            shape.learn(members, self.style)?;
        }
        self.out.push(b'{');
        let mut start = 0;
        for (member, end) in &shape.order {
            if start > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&shape.text[start..*end]);
            self.value(&members[*member].1, depth)?;
            start = *end;
        }
        self.out.push(b'}');
        self.shapes[depth] = shape;
        Ok(())
    }

    /// The one member of a dict; a key that looks like a tag is escaped.
    fn single(
        &mut self,
        key: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
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
    fn datetime(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
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

fn deeper(depth: usize) -> Result<usize, Stop> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Stop::Decline) }
}

/// The text as UTF-8; lone surrogates have none.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str, Stop> {
    text.to_str().map_err(|_| Stop::Decline)
}
