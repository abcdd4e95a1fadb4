//! Tagged JSON to Python objects, like Flask's `TaggedJSONSerializer.loads`.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};

use super::caches::with_cache;
use super::key_cache::KeyCache;
use super::types::Types;
use crate::http_date::parse_date;
use crate::json::scan::{Number, Scanner, Unsupported, ValueKind};
use crate::json::{MAX_DEPTH, Tag};
use crate::python::call::call;
use crate::python::unhandled::{OrNone, Unhandled};
use crate::token::base64;

impl From<Unsupported> for Unhandled {
    fn from(Unsupported: Unsupported) -> Self {
        Self::Declined
    }
}

/// Reads a whole text that is an object without a tag into `dict`. `None`, with `dict` in any state,
/// if only Python can read or refuse the text.
pub(crate) fn decode_into(
    dict: &Bound<'_, PyDict>,
    text: &str,
    cache: &Mutex<KeyCache>,
) -> PyResult<Option<()>> {
    with_decoder(dict.py(), text, cache, |decoder| {
        decoder.expect(b'{')?;
        if decoder.scanner.next_is_tag() {
            return Err(Unhandled::Declined);
        }
        decoder.members(dict, 0)
    })
}

/// Reads a whole text of any kind. `None` if only Python can read or refuse the text.
pub(super) fn decode<'py>(
    py: Python<'py>,
    text: &str,
    cache: &Mutex<KeyCache>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    with_decoder(py, text, cache, |decoder| decoder.value(0))
}

fn with_decoder<'py, T>(
    py: Python<'py>,
    text: &str,
    cache: &Mutex<KeyCache>,
    read: impl FnOnce(&mut Decoder<'_, '_, 'py>) -> Result<T, Unhandled>,
) -> PyResult<Option<T>> {
    let types = Types::get(py)?;
    with_cache(cache, |cache| {
        cache.insertions_left = KeyCache::INSERTIONS_PER_TEXT;
        let (scanner, scratch, items) = (Scanner::new(text), String::new(), Vec::new());
        let mut decoder = Decoder { py, types, scanner, scratch, items, cache };
        let result = read(&mut decoder).and_then(|value| {
            decoder.scanner.end()?;
            Ok(value)
        });
        result.or_none()
    })
}

struct Decoder<'a, 'cache, 'py> {
    py: Python<'py>,
    types: &'static Types,
    scanner: Scanner<'a>,
    scratch: String,
    /// The items of each array that is being read, the innermost array's last.
    items: Vec<Bound<'py, PyAny>>,
    cache: &'cache mut KeyCache,
}

impl<'py> Decoder<'_, '_, 'py> {
    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Unhandled> {
        if depth > MAX_DEPTH {
            return Err(Unhandled::Declined);
        }
        match self.scanner.kind()? {
            ValueKind::String => Ok(self.string()?.into_any()),
            ValueKind::Number => self.number(),
            ValueKind::Object => self.object(depth),
            ValueKind::Array => {
                let first = self.array(depth)?;
                Ok(PyList::new(self.py, self.items.drain(first..))?.into_any())
            }
            ValueKind::True => Ok(PyBool::new(self.py, true).to_owned().into_any()),
            ValueKind::False => Ok(PyBool::new(self.py, false).to_owned().into_any()),
            ValueKind::Null => Ok(self.py.None().into_bound(self.py)),
        }
    }

    fn string(&mut self) -> Result<Bound<'py, PyString>, Unhandled> {
        let plain = self.scanner.string(&mut self.scratch)?;
        Ok(PyString::new(self.py, plain.unwrap_or(&self.scratch)))
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>, Unhandled> {
        Ok(match self.scanner.number()? {
            Number::Int(int) => int.into_pyobject(self.py).map_err(PyErr::from)?.into_any(),
            Number::Float(float) => PyFloat::new(self.py, float).into_any(),
            // Python refuses more than 4300 digits; its own decoder raises the error.
            Number::BigInt(digits) => {
                call(self.types.int.bind(self.py), (digits,)).map_err(|_| Unhandled::Declined)?
            }
        })
    }

    /// Reads an array onto the stack of items. Returns where its items begin.
    fn array(&mut self, depth: usize) -> Result<usize, Unhandled> {
        let first = self.items.len();
        self.scanner.eat(b'[');
        if self.scanner.eat(b']') {
            return Ok(first);
        }
        loop {
            let item = self.value(depth + 1)?;
            self.items.push(item);
            if self.scanner.eat(b']') {
                return Ok(first);
            }
            self.expect(b',')?;
        }
    }

    /// Reads an object: a dict, or the value that a tag stands for.
    fn object(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Unhandled> {
        self.scanner.eat(b'{');
        let dict = PyDict::new(self.py);
        if !self.scanner.next_is_tag() {
            self.members(&dict, depth)?;
            return Ok(dict.into_any());
        }
        let (key, tag) = self.tag()?;
        let value = match tag {
            Some(Tag::Tuple) if self.scanner.next_is(b'[') => {
                let first = self.array(depth + 1)?;
                if self.scanner.eat(b'}') {
                    return Ok(PyTuple::new(self.py, self.items.drain(first..))?.into_any());
                }
                PyList::new(self.py, self.items.drain(first..))?.into_any()
            }
            Some(tag) => {
                let value = self.value(depth + 1)?;
                if self.scanner.eat(b'}') {
                    return self.untag(tag, &value);
                }
                value
            }
            None => self.value(depth + 1)?,
        };
        // Not a tag, or one of several members: an ordinary key.
        dict.set_item(key, value)?;
        if !self.scanner.eat(b'}') {
            self.expect(b',')?;
            if self.scanner.next_is(b'}') {
                return Err(Unhandled::Declined);
            }
            self.members(&dict, depth)?;
        }
        Ok(dict.into_any())
    }

    /// Reads the remaining members of an object at `depth`, and its end, into `dict`.
    fn members(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Result<(), Unhandled> {
        let mut count = dict.len();
        let mut position = 0;
        if self.scanner.eat(b'}') {
            return Ok(());
        }
        loop {
            let found = self.cache.eat(self.py, &mut self.scanner, depth, position);
            let key = match found {
                Some((key, next)) => {
                    position = next;
                    key
                }
                None => self.new_key(depth, &mut position)?,
            };
            let value = self.value(depth + 1)?;
            dict.set_item(key, value)?;
            count += 1;
            if self.scanner.eat(b'}') {
                break;
            }
            self.expect(b',')?;
        }
        // A repeated key may leave a single member that is a tag. Python handles that.
        if dict.len() == count { Ok(()) } else { Err(Unhandled::Declined) }
    }

    /// Reads a key and its colon, and caches the key.
    fn new_key(
        &mut self,
        depth: usize,
        position: &mut usize,
    ) -> Result<Bound<'py, PyString>, Unhandled> {
        self.scanner.next_is(b'"');
        let start = self.scanner.position();
        let key = self.key()?;
        *position = self.cache.insert(self.scanner.since(start), &key, depth, *position);
        Ok(key)
    }

    /// Reads a first key that may be a tag.
    fn tag(&mut self) -> Result<(Bound<'py, PyString>, Option<Tag>), Unhandled> {
        let key = self.key()?;
        let tag = Tag::from_key(key.to_str()?);
        Ok((key, tag))
    }

    fn key(&mut self) -> Result<Bound<'py, PyString>, Unhandled> {
        if !self.scanner.next_is(b'"') {
            return Err(Unhandled::Declined);
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unhandled> {
        if self.scanner.eat(byte) { Ok(()) } else { Err(Unhandled::Declined) }
    }

    fn untag(&self, tag: Tag, value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, Unhandled> {
        if tag == Tag::Dict {
            return self.unescape(value.cast::<PyDict>()?);
        }
        let text = value.cast::<PyString>()?;
        let utf8 = text.to_str()?;
        Ok(match tag {
            Tag::Bytes => {
                let bytes = base64::decode_standard(utf8.as_bytes()).ok_or(Unhandled::Declined)?;
                PyBytes::new(self.py, &bytes).into_any()
            }
            Tag::Markup => call(self.types.markup.bind(self.py), (text,))?,
            Tag::Uuid => {
                let uuid = call(self.types.uuid.bind(self.py), (text,));
                uuid.map_err(|_| Unhandled::Declined)?
            }
            Tag::DateTime => {
                let [year, month, day, hour, minute, second] =
                    parse_date(utf8).ok_or(Unhandled::Declined)?;
                let utc = self.types.utc.bind(self.py);
                let class = self.types.datetime.bind(self.py);
                let value = call(class, (year, month, day, hour, minute, second, 0, utc));
                value.map_err(|_| Unhandled::Declined)?
            }
            Tag::Dict | Tag::Tuple => return Err(Unhandled::Declined),
        })
    }

    /// Removes the escape from the only key of a dict.
    fn unescape(&self, escaped: &Bound<'py, PyDict>) -> Result<Bound<'py, PyAny>, Unhandled> {
        let mut members = escaped.iter();
        let (Some((key, value)), None) = (members.next(), members.next()) else {
            return Err(Unhandled::Declined);
        };
        let key = key.cast_into::<PyString>().map_err(|_| Unhandled::Declined)?;
        let key = key.to_str()?.strip_suffix("__").ok_or(Unhandled::Declined)?;
        let dict = PyDict::new(self.py);
        dict.set_item(key, value)?;
        Ok(dict.into_any())
    }
}
