//! Tagged JSON to Python objects, as Flask's `TaggedJSONSerializer.loads`.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};

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
pub(crate) fn decode<'py>(py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut decoder = Decoder::new(py, text)?;
    Stop::declined(decoder.value(0).and_then(|value| {
        decoder.scanner.end()?;
        Ok(value)
    }))
}

/// Reads a whole text that is one plain object into `dict`. `None`, with `dict` in any state,
/// for what only Python can read, or refuse.
pub(crate) fn decode_into(
    dict: &Bound<'_, PyDict>,
    text: &str,
    known: &Mutex<KnownKeys>,
) -> PyResult<Option<()>> {
    let mut decoder = Decoder::new(dict.py(), text)?;
    // Nobody waits: reading a value can run Python, and another thread.
    let mut known = known.try_lock().ok();
    Stop::declined(decoder.whole_object(dict, known.as_deref_mut()))
}

/// The keys that sessions have at their top, each with its text from quote to colon: an app's
/// sessions mostly have the same few, and a `str` that is there already has its hash too.
#[derive(Default)]
pub(crate) struct KnownKeys(Vec<(Box<str>, Py<PyString>)>);

impl KnownKeys {
    /// More are not remembered.
    const MOST: usize = 32;
    /// How many are looked at to find one.
    const AHEAD: usize = 8;
    /// Longer ones are not remembered.
    const LONGEST: usize = 64;

    /// Steps over a key that is known, at or after position `from`; the key and the position
    /// where to look for the next one.
    fn eat<'py>(
        &self,
        py: Python<'py>,
        scanner: &mut Scanner<'_>,
        from: usize,
    ) -> Option<(Bound<'py, PyString>, usize)> {
        let ahead = self.0.iter().enumerate().skip(from).take(Self::AHEAD);
        let mut ahead = ahead.skip_while(|(_, (text, _))| !scanner.eat_text(text));
        let (position, (_, key)) = ahead.next()?;
        Some((key.bind(py).clone(), position + 1))
    }

    fn remember(&mut self, text: &str, key: &Bound<'_, PyString>, position: usize) {
        if text.len() > Self::LONGEST || self.0.iter().any(|(known, _)| **known == *text) {
            return;
        }
        self.0.truncate(Self::MOST - 1);
        self.0.insert(position.min(self.0.len()), (text.into(), key.clone().unbind()));
    }
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    types: &'static Types,
    scanner: Scanner<'a>,
    scratch: String,
    /// The items of every array being read, the innermost last.
    items: Vec<Bound<'py, PyAny>>,
    keys: Vec<Keys<'a, 'py>>,
}

impl<'a, 'py> Decoder<'a, 'py> {
    fn new(py: Python<'py>, text: &'a str) -> PyResult<Self> {
        Ok(Self {
            py,
            types: Types::get(py)?,
            scanner: Scanner::new(text),
            scratch: String::new(),
            items: Vec::new(),
            keys: Vec::new(),
        })
    }

    fn whole_object(
        &mut self,
        dict: &Bound<'py, PyDict>,
        mut known: Option<&mut KnownKeys>,
    ) -> Result<(), Stop> {
        self.expect(b'{')?;
        let mut count = 0;
        let mut next_known = 0;
        while !self.scanner.eat(b'}') {
            if count > 0 {
                self.expect(b',')?;
            }
            let found =
                known.as_ref().and_then(|known| known.eat(self.py, &mut self.scanner, next_known));
            let key = if let Some((key, next)) = found {
                next_known = next;
                key
            } else {
                let (text, key) = self.new_key()?;
                if Tag::from_key(key.to_str()?).is_some() {
                    return Err(Stop::Decline);
                }
                if let Some(known) = &mut known {
                    known.remember(text, &key, next_known);
                }
                key
            };
            dict.set_item(key, self.value(1)?)?;
            count += 1;
        }
        self.scanner.end()?;
        // A key given twice may leave one that is a tag: for Python to sort out.
        if dict.len() == count { Ok(()) } else { Err(Stop::Decline) }
    }

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
        if self.scanner.eat(b'}') {
            return Ok(PyDict::new(self.py).into_any());
        }
        let key = self.key(depth + 1, 0)?;
        let tag = Tag::from_key(key.to_str()?);
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
        let dict = PyDict::new(self.py);
        self.members(&dict, key, value, depth + 1)?;
        Ok(dict.into_any())
    }

    /// Puts the first member, which has been read, and all others into `dict`.
    fn members(
        &mut self,
        dict: &Bound<'py, PyDict>,
        key: Bound<'py, PyString>,
        value: Bound<'py, PyAny>,
        depth: usize,
    ) -> Result<(), Stop> {
        dict.set_item(key, value)?;
        let mut count = 1;
        while !self.scanner.eat(b'}') {
            self.expect(b',')?;
            let key = self.key(depth, count)?;
            let value = self.value(depth)?;
            dict.set_item(key, value)?;
            count += 1;
        }
        // A key given twice may leave one that is a tag: for Python to sort out.
        if dict.len() == count { Ok(()) } else { Err(Stop::Decline) }
    }

    /// Reads the key that is number `position` in its object, and its colon.
    fn key(&mut self, depth: usize, position: usize) -> Result<Bound<'py, PyString>, Stop> {
        if self.keys.len() <= depth {
            self.keys.resize_with(depth + 1, Vec::new);
        }
        if let Some((text, key)) = self.keys[depth].get(position)
            && self.scanner.eat_text(text)
        {
            return Ok(key.clone());
        }
        let (text, key) = self.new_key()?;
        self.keys[depth].truncate(position);
        if self.keys[depth].len() == position {
            self.keys[depth].push((text, key.clone()));
        }
        Ok(key)
    }

    /// Reads a key and its colon, and gives their text too.
    fn new_key(&mut self) -> Result<(&'a str, Bound<'py, PyString>), Stop> {
        if !self.scanner.next_is(b'"') {
            return Err(Stop::Decline);
        }
        let start = self.scanner.position();
        let plain = self.scanner.string(&mut self.scratch)?;
        let key = PyString::new(self.py, plain.unwrap_or(&self.scratch));
        self.expect(b':')?;
        Ok((self.scanner.since(start), key))
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

/// The keys of the last object at a depth, each with its text from quote to colon: the objects
/// in a list mostly have the same ones in the same order.
type Keys<'a, 'py> = Vec<(&'a str, Bound<'py, PyString>)>;
