//! Strings and numbers as Python's `json.dumps` writes them.

use std::collections::TryReserveError;

use crate::search::{Word, position};

/// Appends `text` as a JSON string, escaped like `json.dumps`. With `ensure_ascii` everything but
/// printable ASCII becomes `\uXXXX`, a surrogate pair beyond the Basic Multilingual Plane; without
/// it only quotes, backslashes and control characters are escaped.
///
/// # Errors
/// There is not enough memory. Part of the string may have been appended.
#[expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "each position is one that `position` found in what is left, at the beginning of a character: `append_escape` gives the length of one"
)]
pub fn append_string(
    text: &str,
    ensure_ascii: bool,
    out: &mut Vec<u8>,
) -> Result<(), TryReserveError> {
    /// Room for the longest escape of a character, a surrogate pair.
    const ESCAPE: usize = 12;
    /// Room for the quotes, and for brackets around them.
    const ROOM: usize = 16;
    out.try_reserve(text.len() + ROOM)?;
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut rest = 0;
    let next = |from: usize| {
        if ensure_ascii {
            position(&bytes[from..], |word| special(word) | word.equal(0x7f) | word.not_ascii())
        } else {
            position(&bytes[from..], special)
        }
    };
    while let Some(run) = next(rest) {
        let at = rest + run;
        out.extend_from_slice(&bytes[rest..at]);
        out.try_reserve(ESCAPE + bytes.len() - at + ROOM)?;
        rest = at + append_escape(&text[at..], out);
    }
    out.extend_from_slice(&bytes[rest..]);
    out.push(b'"');
    Ok(())
}

/// Bytes that are always escaped.
const fn special(word: Word) -> u64 {
    word.below(b' ') | word.equal(b'"') | word.equal(b'\\')
}

/// Appends the escape for the first character and returns that character's length in bytes.
#[cold]
#[expect(clippy::indexing_slicing, reason = "a number of four bits is below 16")]
fn append_escape(text: &str, out: &mut Vec<u8>) -> usize {
    let Some(character) = text.chars().next() else { return 0 };
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{c}' => b'f',
        '\u{8}' => b'b',
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(b"0123456789abcdef"[usize::from(*unit >> shift & 15)]);
                }
            }
            return character.len_utf8();
        }
    };
    out.extend_from_slice(&[b'\\', short]);
    1
}

/// Appends `value` in decimal.
pub fn append_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a float like `float.__repr__`: the shortest digits that round-trip, with an exponent of
/// at least two digits from 1e16 up and below 1e-4. Values that are not finite get `json`'s names.
pub fn append_float(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        let name: &[u8] = if value > 0.0 { b"Infinity" } else { b"-Infinity" };
        return out.extend_from_slice(name);
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        out.extend_from_slice(text.as_bytes());
    } else if let Some((mantissa, exponent)) = text.split_once('e') {
        out.extend_from_slice(mantissa.as_bytes());
        append_exponent(exponent.as_bytes(), out);
    } else {
        append_small(text, out);
    }
}

/// Rewrites 0.0000123, the form of the shortest-digits writer, as Python's 1.23e-05.
#[cold]
#[expect(clippy::indexing_slicing, reason = "there is at least one digit")]
fn append_small(text: &str, out: &mut Vec<u8>) {
    let digits = text.trim_start_matches(['-', '0', '.']);
    if text.starts_with('-') {
        out.push(b'-');
    }
    out.extend_from_slice(&digits.as_bytes()[..1]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[1..]);
    }
    let point = text.find('.').map_or(0, |point| text.len() - digits.len() - point);
    append_exponent(itoa::Buffer::new().format(-point.cast_signed()).as_bytes(), out);
}

fn append_exponent(exponent: &[u8], out: &mut Vec<u8>) {
    let (sign, digits) = match exponent {
        [b'-', digits @ ..] => (b'-', digits),
        [b'+', digits @ ..] => (b'+', digits),
        digits => (b'+', digits),
    };
    out.extend_from_slice(&[b'e', sign]);
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str, ensure_ascii: bool) -> String {
        let mut out = Vec::new();
        append_string(text, ensure_ascii, &mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    fn float(value: f64) -> String {
        let mut out = Vec::new();
        append_float(value, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    proptest! {
        #[test]
        fn strings_read_back(text: String) {
            for ensure_ascii in [true, false] {
                let written = string(&text, ensure_ascii);
                prop_assert_eq!(written.is_ascii() || !ensure_ascii, true);
                prop_assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text.clone());
            }
        }

        #[test]
        fn integers_are_decimal(value: i64) {
            let mut out = Vec::new();
            append_int(value, &mut out);
            prop_assert_eq!(String::from_utf8(out).expect("ASCII"), value.to_string());
        }

        #[test]
        fn floats_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                prop_assert_eq!(float(value).parse::<f64>().expect("float").to_bits(), bits);
            }
        }
    }

    #[test]
    fn special_characters_are_escaped_like_in_python() {
        assert_eq!(
            string("a\"\\\n\r\t\u{8}\u{c}\0\u{7f}", true),
            r#""a\"\\\n\r\t\b\f\u0000\u007f""#
        );
        assert_eq!(string("é😀", true), r#""\u00e9\ud83d\ude00""#);
        assert_eq!(string("é😀\u{7f}\u{1}", false), "\"é😀\u{7f}\\u0001\"");
    }

    #[test]
    fn floats_as_python_writes_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (0.0001, "0.0001"),
            (0.000_12, "0.00012"),
            (0.000_01, "1e-05"),
            (-0.000_012_3, "-1.23e-05"),
            (1.5e-7, "1.5e-07"),
            (1e-100, "1e-100"),
            (5e-324, "5e-324"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(value), expected);
        }
    }
}
