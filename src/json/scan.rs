//! A pull scanner over JSON as Python's `json.loads` reads it (RFC 8259, and `NaN`, `Infinity`
//! and `-Infinity`).
//!
//! It accepts a subset of what Python accepts and gives the same values for it; anything else
//! is [`Unsupported`] and left to Python, which alone decides what is an error.

use crate::search::position;

/// Not JSON, or JSON that only Python reads: a lone surrogate, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

/// The kind of the value at which the scanner stands, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `"`
    String,
    /// A digit, a sign, `NaN` or `Infinity`.
    Number,
    /// `[`
    Array,
    /// `{`
    Object,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// A number, held exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'a> {
    /// An integer of at most 18 digits.
    Int(i64),
    /// An integer with more; its digits.
    BigInt(&'a str),
    /// A number with a fraction or an exponent, correctly rounded, `NaN` or an infinity.
    Float(f64),
}

/// A position in a text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Stands at the beginning of `text`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips blanks and consumes `byte`; `false` if another byte comes next.
    pub fn eat(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Skips blanks and tells whether `byte` comes next.
    pub fn next_is(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        self.peek() == Some(byte)
    }

    /// Skips blanks and tells whether the next key can be a tag: every tag begins with a blank,
    /// and an escape sequence may stand for one.
    #[expect(clippy::indexing_slicing, reason = "the scanner is never beyond the text")]
    pub fn next_is_tag(&mut self) -> bool {
        self.skip_blanks();
        matches!(self.text.as_bytes()[self.at..], [b'"', b' ' | b'\\', ..])
    }

    /// Consumes `text`, without skipping blanks; `false` if other text comes next.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "the scanner is never beyond the text")]
    pub fn eat_text(&mut self, text: &str) -> bool {
        let here = self.text.as_bytes()[self.at..].starts_with(text.as_bytes());
        self.at += if here { text.len() } else { 0 };
        here
    }

    /// The scanner's position, in bytes.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The text from an earlier position to this one.
    #[must_use]
    #[expect(
        clippy::string_slice,
        reason = "both positions are of this scanner, which stops between characters"
    )]
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Succeeds when nothing but blanks is left.
    ///
    /// # Errors
    /// [`Unsupported`] otherwise.
    pub fn end(&mut self) -> Result<(), Unsupported> {
        self.skip_blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(Unsupported) }
    }

    /// The kind of the next value. Consumes blanks, and `true`, `false` and `null`.
    ///
    /// # Errors
    /// [`Unsupported`] when no value begins here.
    pub fn kind(&mut self) -> Result<ValueKind, Unsupported> {
        self.skip_blanks();
        let (word, kind) = match self.peek().ok_or(Unsupported)? {
            b'"' => return Ok(ValueKind::String),
            b'-' | b'0'..=b'9' | b'N' | b'I' => return Ok(ValueKind::Number),
            b'[' => return Ok(ValueKind::Array),
            b'{' => return Ok(ValueKind::Object),
            b't' => ("true", ValueKind::True),
            b'f' => ("false", ValueKind::False),
            b'n' => ("null", ValueKind::Null),
            _ => return Err(Unsupported),
        };
        self.eat_text(word).then_some(kind).ok_or(Unsupported)
    }

    /// Reads the string at which the scanner stands. Without escapes it is a piece of the text;
    /// with escapes it is `None`, and `scratch` holds the string.
    ///
    /// # Errors
    /// [`Unsupported`] if it does not end, or holds a control character or a lone surrogate.
    #[expect(
        clippy::string_slice,
        reason = "the scanner stops at ASCII bytes, which are characters of their own"
    )]
    pub fn string(&mut self, scratch: &mut String) -> Result<Option<&'a str>, Unsupported> {
        self.at += 1;
        let start = self.at;
        if self.unescaped_run()? != b'"' {
            return self.escaped_string(start, scratch).map(|()| None);
        }
        let plain = &self.text[start..self.at];
        self.at += 1;
        Ok(Some(plain))
    }

    /// Moves to the next quote or backslash and returns it.
    #[expect(
        clippy::indexing_slicing,
        reason = "the scanner is never beyond the text, and `stop` is a position in what is left"
    )]
    fn unescaped_run(&mut self) -> Result<u8, Unsupported> {
        let rest = &self.text.as_bytes()[self.at..];
        let stop = position(rest, |word| word.below(b' ') | word.equal(b'"') | word.equal(b'\\'));
        let stop = stop.ok_or(Unsupported)?;
        self.at += stop;
        match rest[stop] {
            byte @ (b'"' | b'\\') => Ok(byte),
            _ => Err(Unsupported),
        }
    }

    #[cold]
    #[expect(
        clippy::string_slice,
        reason = "the scanner stops at ASCII bytes, which are characters of their own"
    )]
    fn escaped_string(&mut self, start: usize, scratch: &mut String) -> Result<(), Unsupported> {
        scratch.clear();
        scratch.push_str(&self.text[start..self.at]);
        loop {
            // The scanner stands at a backslash.
            let escape = *self.text.as_bytes().get(self.at + 1).ok_or(Unsupported)?;
            self.at += 2;
            scratch.push(match escape {
                b'"' => '"',
                b'\\' => '\\',
                b'/' => '/',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.unicode_escape()?,
                _ => return Err(Unsupported),
            });
            let start = self.at;
            let stop = self.unescaped_run()?;
            scratch.push_str(&self.text[start..self.at]);
            if stop == b'"' {
                self.at += 1;
                return Ok(());
            }
        }
    }

    fn unicode_escape(&mut self) -> Result<char, Unsupported> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(Unsupported);
        }
        if !self.eat_text("\\u") {
            return Err(Unsupported);
        }
        let second = self.hex4()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Unsupported);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Unsupported)
    }

    fn hex4(&mut self) -> Result<u32, Unsupported> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Unsupported)?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16).ok_or(Unsupported)?;
        }
        self.at += 4;
        Ok(value)
    }

    /// Reads the number at which the scanner stands.
    ///
    /// # Errors
    /// [`Unsupported`] if it is not written as JSON requires.
    #[expect(
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "the scanner has just read these digits, which are ASCII"
    )]
    pub fn number(&mut self) -> Result<Number<'a>, Unsupported> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        if self.eat_text("Infinity") {
            let infinity = if negative { f64::NEG_INFINITY } else { f64::INFINITY };
            return Ok(Number::Float(infinity));
        }
        if !negative && self.eat_text("NaN") {
            return Ok(Number::Float(f64::NAN));
        }
        let first = self.at;
        let mut digits = Digits::default();
        self.digits(&mut digits)?;
        if digits.count > 1 && self.text.as_bytes()[first] == b'0' {
            return Err(Unsupported);
        }
        let Some(b'.' | b'e' | b'E') = self.peek() else {
            return Ok(if digits.count <= 18 {
                let value = digits.value.cast_signed();
                Number::Int(if negative { -value } else { value })
            } else {
                Number::BigInt(&self.text[start..self.at])
            });
        };
        let whole = digits.count;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits(&mut digits)?;
        }
        let fraction = digits.count - whole;
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits(&mut Digits::default())?;
        } else if digits.count <= 15
            && let Some(power) = POWERS_OF_TEN.get(fraction)
        {
            // Both operands are exact, so the division rounds once, and correctly (W. D. Clinger,
            // "How to read floating point numbers accurately", 1990).
            let value = digits.value as f64 / power;
            return Ok(Number::Float(if negative { -value } else { value }));
        }
        let text = &self.text[start..self.at];
        Ok(Number::Float(text.parse().map_err(|_| Unsupported)?))
    }

    /// Consumes one digit or more.
    fn digits(&mut self, digits: &mut Digits) -> Result<(), Unsupported> {
        let before = digits.count;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            digits.value = digits.value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            digits.count += 1;
            self.at += 1;
        }
        if digits.count == before { Err(Unsupported) } else { Ok(()) }
    }
}

/// A run of digits.
#[derive(Default)]
struct Digits {
    count: usize,
    /// Their value, valid for at most 19 digits.
    value: u64,
}

/// Up to 15 digits of fraction.
const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn string(scanner: &mut Scanner<'_>) -> Result<String, Unsupported> {
        let mut scratch = String::new();
        Ok(scanner.string(&mut scratch)?.map_or(scratch, str::to_owned))
    }

    /// Reads a whole value, to compare with serde_json.
    fn read(scanner: &mut Scanner<'_>, depth: usize) -> Result<Value, Unsupported> {
        if depth > super::super::MAX_DEPTH {
            return Err(Unsupported);
        }
        Ok(match scanner.kind()? {
            ValueKind::Null => Value::Null,
            ValueKind::True => true.into(),
            ValueKind::False => false.into(),
            ValueKind::String => string(scanner)?.into(),
            ValueKind::Number => match scanner.number()? {
                Number::Int(int) => int.into(),
                Number::Float(float) => float.into(),
                Number::BigInt(digits) => serde_json::from_str(digits).map_err(|_| Unsupported)?,
            },
            ValueKind::Array => {
                let mut items = Vec::new();
                scanner.eat(b'[');
                if !scanner.eat(b']') {
                    loop {
                        items.push(read(scanner, depth + 1)?);
                        if scanner.eat(b']') {
                            break;
                        }
                        scanner.eat(b',').then_some(()).ok_or(Unsupported)?;
                    }
                }
                items.into()
            }
            ValueKind::Object => {
                let mut members = serde_json::Map::new();
                scanner.eat(b'{');
                if !scanner.eat(b'}') {
                    loop {
                        (scanner.kind()? == ValueKind::String).then_some(()).ok_or(Unsupported)?;
                        let key = string(scanner)?;
                        scanner.eat(b':').then_some(()).ok_or(Unsupported)?;
                        members.insert(key, read(scanner, depth + 1)?);
                        if scanner.eat(b'}') {
                            break;
                        }
                        scanner.eat(b',').then_some(()).ok_or(Unsupported)?;
                    }
                }
                members.into()
            }
        })
    }

    fn whole(text: &str) -> Result<Value, Unsupported> {
        let mut scanner = Scanner::new(text);
        let value = read(&mut scanner, 0)?;
        scanner.end().map(|()| value)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(value in json()) {
            let compact = serde_json::to_string(&value).expect("JSON");
            prop_assert_eq!(whole(&compact), Ok(value.clone()));
            let spaced = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert_eq!(whole(&spaced), Ok(value));
        }

        #[test]
        fn takes_nothing_that_serde_json_refuses(text in r#"[\[\]{},:"\\u0-9a-fA-F.eE+ \-ntrl]{0,24}"#) {
            if let Ok(value) = whole(&text) {
                // serde_json refuses a number that overflows, Python reads infinity. Of `-0` it makes
                // a float, Python an int.
                let has_minus_zero = text.split("-0").skip(1).any(|rest| !rest.starts_with('.'));
                if !text.contains(['e', 'E']) && !has_minus_zero {
                    prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
                }
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = whole(&text);
        }
    }

    #[test]
    fn blanks_are_skipped_where_json_has_them() {
        let mut scanner = Scanner::new(" \t\r\n{ \"a\"\n:\ttrue }\r ");
        assert!(!scanner.next_is(b'[') && scanner.next_is(b'{') && !scanner.eat(b'['));
        assert_eq!((scanner.position(), scanner.kind()), (4, Ok(ValueKind::Object)));
        assert!(scanner.eat(b'{') && scanner.next_is(b'"'));
        assert_eq!(string(&mut scanner), Ok("a".into()));
        assert!(scanner.eat(b':') && !scanner.eat_text("true"));
        assert_eq!(scanner.kind(), Ok(ValueKind::True));
        assert_eq!(scanner.end(), Err(Unsupported));
        assert!(scanner.eat(b'}'));
        assert_eq!(scanner.end(), Ok(()));
        assert_eq!(scanner.kind(), Err(Unsupported));
    }

    #[test]
    fn a_key_that_may_be_a_tag_begins_with_a_blank_or_an_escape() {
        for (text, expected) in [
            (r#"" t""#, true),
            (r#" " t""#, true),
            (r#""\u0020t""#, true),
            (r#""t""#, false),
            (r#""" t"#, false),
            (r#""#, false),
            ("\"", false),
            ("  t", false),
        ] {
            assert_eq!(Scanner::new(text).next_is_tag(), expected, "{text}");
        }
    }

    #[test]
    fn text_since_a_position_ends_at_the_scanner() {
        let mut scanner = Scanner::new("[true,null]");
        assert!(scanner.eat_text("[t") && !scanner.eat_text("x") && scanner.eat_text("rue"));
        assert_eq!((scanner.position(), scanner.since(1), scanner.since(5)), (5, "true", ""));
    }

    #[test]
    fn values_are_told_by_their_first_byte() {
        for (text, expected) in [
            ("\"\"", Ok(ValueKind::String)),
            ("-1", Ok(ValueKind::Number)),
            ("0", Ok(ValueKind::Number)),
            ("9", Ok(ValueKind::Number)),
            ("NaN", Ok(ValueKind::Number)),
            ("Infinity", Ok(ValueKind::Number)),
            ("[]", Ok(ValueKind::Array)),
            ("{}", Ok(ValueKind::Object)),
            ("true", Ok(ValueKind::True)),
            ("false", Ok(ValueKind::False)),
            ("null", Ok(ValueKind::Null)),
            ("nul", Err(Unsupported)),
            ("True", Err(Unsupported)),
            ("", Err(Unsupported)),
        ] {
            assert_eq!(Scanner::new(text).kind(), expected, "{text}");
        }
    }

    #[test]
    fn numbers() {
        let number = |text| Scanner::new(text).number();
        assert_eq!(number("-0"), Ok(Number::Int(0)));
        assert_eq!(number("999999999999999999"), Ok(Number::Int(999_999_999_999_999_999)));
        assert_eq!(number("1000000000000000000"), Ok(Number::BigInt("1000000000000000000")));
        assert_eq!(number("1e999"), Ok(Number::Float(f64::INFINITY)));
        assert_eq!(number("-Infinity"), Ok(Number::Float(f64::NEG_INFINITY)));
        assert!(matches!(number("NaN"), Ok(Number::Float(nan)) if nan.is_nan()));
        for text in ["01", "-", "1.", ".5", "1e", "-NaN", "+1", "Inf"] {
            assert_eq!(number(text), Err(Unsupported), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_rounded_as_the_standard_library_does(text in "-?(0|[1-9][0-9]{0,17})\\.[0-9]{1,18}") {
            let expected = text.parse::<f64>().expect("a number").to_bits();
            let read = Scanner::new(&text).number();
            prop_assert!(matches!(read, Ok(Number::Float(value)) if value.to_bits() == expected));
        }
    }

    #[test]
    fn strings() {
        let string = |text| string(&mut Scanner::new(text));
        assert_eq!(string(r#""plain""#), Ok("plain".into()));
        assert_eq!(string(r#""\u00e9\ud83d\ude00\/\n""#), Ok("é😀/\n".into()));
        let escapes = r#""\"\\\/\b\f\n\r\t""#;
        assert_eq!(string(escapes), Ok("\"\\/\u{8}\u{c}\n\r\t".into()));
        for text in [
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ude00""#,
            r#""\x""#,
            "\"\n\"",
            "\"open",
            r#""\u12"#,
        ] {
            assert_eq!(string(text), Err(Unsupported), "{text}");
        }
    }
}
