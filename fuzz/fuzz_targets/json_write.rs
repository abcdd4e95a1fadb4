//! Text and numbers written as JSON, read again by `serde_json` and by our scanner.

#![no_main]

use arbitrary::Arbitrary;
use flask_fernet::json::scan::{Number, Scanner};
use flask_fernet::json::write::{append_float, append_int, append_string};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    text: String,
    ensure_ascii: bool,
    float: f64,
    int: i64,
}

fuzz_target!(|input: Input| {
    let Input { text, ensure_ascii, float, int } = input;
    let written = write(|out| append_string(&text, ensure_ascii, out).expect("memory"));
    assert!(!ensure_ascii || written.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
    assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
    let mut scratch = String::new();
    let read = Scanner::new(&written).string(&mut scratch).expect("read");
    assert_eq!(read.unwrap_or(&scratch), text);

    let written = write(|out| append_int(int, out));
    assert_eq!(written, int.to_string());

    let written = write(|out| append_float(float, out));
    match Scanner::new(&written).number() {
        Ok(Number::Float(read)) if float.is_nan() => assert!(read.is_nan()),
        Ok(Number::Float(read)) => assert_eq!(read.to_bits(), float.to_bits(), "{written}"),
        other => panic!("{written}: {other:?}"),
    }
    if float.is_finite() {
        assert!(written.contains(['.', 'e']), "{written} would be read as an int");
        assert!(written.len() <= 24);
    }
});

fn write(append: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    append(&mut out);
    String::from_utf8(out).expect("UTF-8")
}
