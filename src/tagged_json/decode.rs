//! Tagged JSON to Python objects, as Flask's `TaggedJSONSerializer.loads`.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};

use super::known::{self, KnownKeys};
use super::scan::{Number, Scanner, Start, Unknown};
use super::types::Types;
use super::{MAX_DEPTH, Tag};
use crate::cookie::parse_date;
use crate::python::Stop;
use crate::token::base64;

impl From<Unknown> for Stop {
    fn from(Unknown: Unknown) -> Self {
        Self::Decline
    }
}

/// Reads a whole text. `None` for what only Python can read, or refuse.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    text: &str,
    known: &Mutex<KnownKeys>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    with_decoder(py, text, known, |decoder| decoder.value(0))
}

/// Reads a whole text that is one plain object into `dict`. `None`, with `dict` in any state,
/// for what only Python can read, or refuse.
pub(crate) fn decode_into(
    dict: &Bound<'_, PyDict>,
    text: &str,
    known: &Mutex<KnownKeys>,
) -> PyResult<Option<()>> {
    with_decoder(dict.py(), text, known, |decoder| {
        decoder.expect(b'{')?;
        if decoder.scanner.next_is_tag() {
            return Err(Stop::Decline);
        }
        decoder.members(dict, 0)
    })
}

fn with_decoder<'py, T>(
    py: Python<'py>,
    text: &str,
    known: &Mutex<KnownKeys>,
    read: impl FnOnce(&mut Decoder<'_, '_, 'py>) -> Result<T, Stop>,
) -> PyResult<Option<T>> {
    let types = Types::get(py)?;
    known::with(known, |known| {
        known.to_learn = KnownKeys::LEARNED_AT_ONCE;
        let (scanner, scratch, items) = (Scanner::new(text), String::new(), Vec::new());
        let mut decoder = Decoder { py, types, scanner, scratch, items, known };
        Stop::declined(read(&mut decoder).and_then(|value| {
            decoder.scanner.end()?;
            Ok(value)
        }))
    })
}

struct Decoder<'a, 'known, 'py> {
    py: Python<'py>,
    types: &'static Types,
    scanner: Scanner<'a>,
    scratch: String,
    /// The items of every array being read, the innermost last.
    items: Vec<Bound<'py, PyAny>>,
    known: &'known mut KnownKeys,
}

impl<'py> Decoder<'_, '_, 'py> {
    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Decline);
        }
        match self.scanner.start()? {
            Start::String => Ok(self.string()?.into_any()),
            Start::Number => self.number(),
            Start::Object => self.object(depth),
            Start::Array => {
                let first = self.array(depth)?;
                Ok(PyList::new(self.py, self.items.drain(first..))?.into_any())
            }
            Start::True => Ok(PyBool::new(self.py, true).to_owned().into_any()),
            Start::False => Ok(PyBool::new(self.py, false).to_owned().into_any()),
            Start::Null => Ok(self.py.None().into_bound(self.py)),
        }
    }

    fn string(&mut self) -> Result<Bound<'py, PyString>, Stop> {
        let plain = self.scanner.string(&mut self.scratch)?;
        Ok(PyString::new(self.py, plain.unwrap_or(&self.scratch)))
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>, Stop> {
        Ok(match self.scanner.number()? {
            Number::Int(int) => int.into_pyobject(self.py).map_err(PyErr::from)?.into_any(),
            Number::Float(float) => PyFloat::new(self.py, float).into_any(),
            // Beyond 4300 digits Python refuses: for its own decoder to say.
            Number::BigInt(digits) => {
                self.types.int.bind(self.py).call1((digits,)).map_err(|_| Stop::Decline)?
            }
        })
    }

    /// Reads an array onto the stack of items; where it begins.
    fn array(&mut self, depth: usize) -> Result<usize, Stop> {
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
    fn object(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Stop> {
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
        // No tag, or one of several members: a key like any other.
        dict.set_item(key, value)?;
        if !self.scanner.eat(b'}') {
            self.expect(b',')?;
            if self.scanner.next_is(b'}') {
                return Err(Stop::Decline);
            }
            self.members(&dict, depth)?;
        }
        Ok(dict.into_any())
    }

    /// Reads the members that are left of an object at `depth`, and its end, into `dict`.
    fn members(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Result<(), Stop> {
        let mut count = dict.len();
        let mut position = 0;
        if self.scanner.eat(b'}') {
            return Ok(());
        }
        loop {
            let found = self.known.eat(self.py, &mut self.scanner, depth, position);
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
        // A key given twice may leave one that is a tag: for Python to sort out.
        if dict.len() == count { Ok(()) } else { Err(Stop::Decline) }
    }

    /// Reads a key and its colon, and remembers it.
    fn new_key(
        &mut self,
        depth: usize,
        position: &mut usize,
    ) -> Result<Bound<'py, PyString>, Stop> {
        self.scanner.next_is(b'"');
        let start = self.scanner.position();
        let key = self.key()?;
        *position = self.known.learn(self.scanner.since(start), &key, depth, *position);
        Ok(key)
    }

    /// Reads a first key that may be a tag.
    fn tag(&mut self) -> Result<(Bound<'py, PyString>, Option<Tag>), Stop> {
        let key = self.key()?;
        let tag = Tag::from_key(key.to_str()?);
        Ok((key, tag))
    }

    fn key(&mut self) -> Result<Bound<'py, PyString>, Stop> {
        if !self.scanner.next_is(b'"') {
            return Err(Stop::Decline);
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.scanner.eat(byte) { Ok(()) } else { Err(Stop::Decline) }
    }

    fn untag(&self, tag: Tag, value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, Stop> {
        if tag == Tag::Dict {
            return self.unescape(value.cast::<PyDict>()?);
        }
        let text = value.cast::<PyString>()?;
        let utf8 = text.to_str()?;
        Ok(match tag {
            Tag::Bytes => {
                let bytes = base64::decode_standard(utf8.as_bytes()).ok_or(Stop::Decline)?;
                PyBytes::new(self.py, &bytes).into_any()
            }
            Tag::Markup => self.types.markup.bind(self.py).call1((text,))?,
            Tag::Uuid => {
                let uuid = self.types.uuid.bind(self.py).call1((text,));
                uuid.map_err(|_| Stop::Decline)?
            }
            Tag::DateTime => {
                let [year, month, day, hour, minute, second] =
                    parse_date(utf8).ok_or(Stop::Decline)?;
                let utc = self.types.utc.bind(self.py);
                let class = self.types.datetime.bind(self.py);
                let value = class.call1((year, month, day, hour, minute, second, 0, utc));
                value.map_err(|_| Stop::Decline)?
            }
            Tag::Dict | Tag::Tuple => return Err(Stop::Decline),
        })
    }

    /// Takes the escape off the only key of a dict.
    fn unescape(&self, escaped: &Bound<'py, PyDict>) -> Result<Bound<'py, PyAny>, Stop> {
        let mut members = escaped.iter();
        let (Some((key, value)), None) = (members.next(), members.next()) else {
            return Err(Stop::Decline);
        };
        let key = key.cast_into::<PyString>().map_err(|_| Stop::Decline)?;
        let key = key.to_str()?.strip_suffix("__").ok_or(Stop::Decline)?;
        let dict = PyDict::new(self.py);
        dict.set_item(key, value)?;
        Ok(dict.into_any())
    }
}
