//! Finding a cookie in a `Cookie` header.

use crate::search::{Word, position};

/// The result of looking a name up in a `Cookie` header.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The first value under the name; empty for a name without a value.
    Value(&'a str),
    /// The header has no such cookie.
    Absent,
    /// A quoted value, or control characters: Werkzeug's own parser must read the header.
    LeaveToWerkzeug,
}

/// Finds `name` in a header like Werkzeug's `parse_cookie`: the first of several cookies wins,
/// blanks around names and values are ignored, quoted values of other cookies are skipped, and so
/// is any piece between semicolons that is not `name` or `name=value`.
#[must_use]
pub fn find<'a>(header: &'a str, name: &str) -> Lookup<'a> {
    find_next(&mut Rest(header), name)
}

/// Whether a header may have several cookies `name`.
#[cold]
#[must_use]
pub fn has_several(header: &str, name: &str) -> bool {
    let mut rest = Rest(header);
    find_next(&mut rest, name) != Lookup::Absent && find_next(&mut rest, name) != Lookup::Absent
}

/// [`find`] in the rest of a header, which then begins after the cookie found.
#[inline]
fn find_next<'a>(rest: &mut Rest<'a>, name: &str) -> Lookup<'a> {
    while !rest.0.is_empty() {
        let piece = *rest;
        rest.skip_blanks();
        let key = rest.take_until(|word| {
            word.equal(b' ')
                | word.equal(b'\t')
                | word.equal(b'=')
                | word.equal(b'"')
                | word.equal(b';')
        });
        rest.skip_blanks();
        let mut value = Value::Token("");
        if rest.eat(b'=') {
            rest.skip_blanks();
            value = rest.value();
            rest.skip_blanks();
        }
        if key.bytes().any(differs_by_version) || matches!(value, Value::Unclear) {
            return Lookup::LeaveToWerkzeug;
        }
        let is_cookie = !key.is_empty() && (rest.0.is_empty() || rest.eat(b';'));
        if !is_cookie {
            *rest = piece;
            rest.take_until(|word| word.equal(b';'));
            rest.eat(b';');
        } else if key == name {
            return match value {
                Value::Token(value) => Lookup::Value(value),
                Value::Quoted | Value::Unclear => Lookup::LeaveToWerkzeug,
            };
        }
    }
    Lookup::Absent
}

/// The rest of a header, still to be read.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a str);

enum Value<'a> {
    Token(&'a str),
    Quoted,
    Unclear,
}

/// Whether versions of Werkzeug disagree about a byte.
const fn differs_by_version(byte: u8) -> bool {
    byte < b' ' && byte != b'\t'
}

impl<'a> Rest<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    #[expect(clippy::string_slice, reason = "one byte is cut off only if it is there and is ASCII")]
    fn eat(&mut self, byte: u8) -> bool {
        let here = self.0.as_bytes().first() == Some(&byte);
        self.0 = &self.0[usize::from(here)..];
        here
    }

    fn take_until(&mut self, matches: impl Fn(Word) -> u64) -> &'a str {
        let stop = position(self.0.as_bytes(), matches).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(stop);
        self.0 = rest;
        taken
    }

    #[expect(
        clippy::string_slice,
        reason = "what is left of a text is at most as long as the text, and begins at a character of it"
    )]
    fn value(&mut self) -> Value<'a> {
        if !self.0.starts_with('"') {
            // Below `#` are only blanks, control characters, the exclamation mark and the quote.
            let whole = self.0;
            loop {
                self.take_until(|word| word.below(b'#') | word.equal(b';'));
                if !self.eat(b'!') {
                    break;
                }
            }
            let token = &whole[..whole.len() - self.0.len()];
            return if self.0.bytes().next().is_some_and(differs_by_version) {
                Value::Unclear
            } else {
                Value::Token(token)
            };
        }
        let whole = self.0;
        self.eat(b'"');
        loop {
            self.take_until(|word| word.equal(b'"') | word.equal(b'\\') | word.below(b' '));
            match self.0.as_bytes() {
                [b'"', ..] => {
                    self.eat(b'"');
                    return Value::Quoted;
                }
                [b'\\', next, ..] if !differs_by_version(*next) => {
                    let mut after = self.0.chars();
                    after.nth(1);
                    self.0 = after.as_str();
                }
                [b'\t', ..] => {
                    self.eat(b'\t');
                }
                [] | [b'\\'] => {
                    // Without a closing quote it is not a value.
                    self.0 = whole;
                    return Value::Quoted;
                }
                _ => return Value::Unclear,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whether_a_name_comes_more_than_once() {
        for (header, expected) in [
            ("session=a", false),
            ("session=a; other=b", false),
            ("session=a; session=b", true),
            ("other=c; session=; d=e; session=b", true),
            ("session=\"a\"; session=b", true),
            ("xsession=a; session=b", false),
            ("", false),
        ] {
            assert_eq!(has_several(header, "session"), expected, "{header:?}");
        }
    }

    #[test]
    fn finds_the_cookie_that_werkzeug_finds() {
        // Each expectation is Werkzeug's; tests/codec/test_cookie.py compares the two
        // on generated headers.
        for (header, expected) in [
            ("session=abc", Lookup::Value("abc")),
            ("a=b; session=abc; c=d", Lookup::Value("abc")),
            ("session=first; session=second", Lookup::Value("first")),
            (" \tsession \t= \tabc \t", Lookup::Value("abc")),
            ("session=a=b==", Lookup::Value("a=b==")),
            ("session", Lookup::Value("")),
            ("session=", Lookup::Value("")),
            ("xsession=abc", Lookup::Absent),
            ("session=a b; session=c", Lookup::Value("c")),
            ("=session; sess ion=abc", Lookup::Absent),
            ("", Lookup::Absent),
            (";;;", Lookup::Absent),
            ("a; session=abc", Lookup::Value("abc")),
            ("a;session=abc", Lookup::Value("abc")),
            ("a\"; session=abc", Lookup::Value("abc")),
            ("session=\"abc\"", Lookup::LeaveToWerkzeug),
            ("a=\"b\tc\"; session=abc", Lookup::Value("abc")),
            ("a=\"b\\\u{b}c\"; session=abc", Lookup::LeaveToWerkzeug),
            ("a=\"session=abc\"", Lookup::Absent),
            ("a=\"b;c\\\"d\"; session=abc", Lookup::Value("abc")),
            ("a=\"b\\é\"; session=abc", Lookup::Value("abc")),
            ("a=\"b\\é\"", Lookup::Absent),
            ("a=\"b; session=abc", Lookup::Value("abc")),
            ("a=\"b\"c; session=abc", Lookup::Value("abc")),
            ("a=\"b\nc\"; session=abc", Lookup::LeaveToWerkzeug),
            ("se\"ssion=a; session=abc", Lookup::Value("abc")),
            ("session=a\"b; session=abc", Lookup::Value("abc")),
            ("session=a\u{b}", Lookup::LeaveToWerkzeug),
            ("session\n", Lookup::LeaveToWerkzeug),
        ] {
            assert_eq!(find(header, "session"), expected, "{header:?}");
        }
    }
}
