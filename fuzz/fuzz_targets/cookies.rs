//! Cookies found in a header beside Werkzeug's regular expression, `_cookie_re` of
//! `werkzeug/sansio/http.py`. `seeds/cookies.txt` has headers with the cookies of well-known sites
//! and frameworks.

#![no_main]

use std::sync::LazyLock;

use flask_fernet::cookie::{Lookup, find, has_several};
use libfuzzer_sys::fuzz_target;
use regex::Regex;

static COOKIE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)\A
        [\ \t]*
        ([^\ \t=";]+)
        (?:[\ \t]*=[\ \t]*
            ("(?:[^\\"]|\\[^\n])*" | [^\ \t";]*)
        )?
        [\ \t]*
        (?:;|\z)"#,
    )
    .expect("a regular expression")
});

const NAME: &str = "session";

fuzz_target!(|header: &str| {
    let found = werkzeugs(header);
    let first = found.first().copied();
    match find(header, NAME) {
        Lookup::Value(value) => assert_eq!(Some(value), first),
        Lookup::Absent => assert_eq!(first, None),
        Lookup::LeaveToWerkzeug => {
            let has_control = header.bytes().any(|byte| byte < b' ');
            assert!(has_control || first.is_some_and(|value| value.starts_with('"')));
        }
    }
    if !header.bytes().any(|byte| byte < b' ') {
        assert_eq!(has_several(header, NAME), found.len() > 1);
    }
});

/// The values under the name, as they stand in the header.
fn werkzeugs(header: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = header;
    loop {
        if let Some(pieces) = COOKIE.captures(rest) {
            if &pieces[1] == NAME {
                found.push(pieces.get(2).map_or("", |value| value.as_str()));
            }
            rest = &rest[pieces[0].len()..];
        } else if let Some(semicolon) = rest.find(';') {
            rest = &rest[semicolon + 1..];
        } else {
            return found;
        }
    }
}
