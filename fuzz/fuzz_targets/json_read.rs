//! JSON read by our scanner beside `serde_json`: the same values, or left to Python.

#![no_main]

use flask_fernet::json::MAX_DEPTH;
use flask_fernet::json::scan::{Number, Scanner, Unsupported, ValueKind};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// What `serde_json` has no value for.
struct OfPython(bool);

fuzz_target!(|text: &str| {
    let mut of_python = OfPython(false);
    let mut scanner = Scanner::new(text);
    let ours =
        value(&mut scanner, 0, &mut of_python).and_then(|value| scanner.end().map(|()| value));
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let theirs = <Value as serde::Deserialize>::deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match (ours, theirs) {
        (Ok(_), _) if of_python.0 => {}
        (Ok(ours), theirs) => assert_eq!(ours.to_string(), theirs.expect("JSON").to_string()),
        // Deeper values are Python's.
        (Err(Unsupported), Ok(theirs)) => assert!(depth(&theirs) > MAX_DEPTH, "{theirs}"),
        (Err(Unsupported), Err(_)) => {}
    }
});

fn value(
    scanner: &mut Scanner<'_>,
    depth: usize,
    of_python: &mut OfPython,
) -> Result<Value, Unsupported> {
    Ok(match scanner.kind()? {
        ValueKind::Null => Value::Null,
        ValueKind::True => Value::Bool(true),
        ValueKind::False => Value::Bool(false),
        ValueKind::String => Value::String(string(scanner)?),
        ValueKind::Number => {
            let start = scanner.position();
            let number = scanner.number()?;
            let text = scanner.since(start);
            match number {
                Number::Int(value) => assert_eq!(text.parse(), Ok(value)),
                Number::BigInt(digits) => assert_eq!(digits, text),
                Number::Float(value) if text.ends_with(['N', 'y']) => {
                    of_python.0 = true;
                    assert!(!value.is_finite());
                }
                Number::Float(value) => {
                    assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
                }
            }
            if of_python.0 { Value::Null } else { serde_json::from_str(text).expect("a number") }
        }
        ValueKind::Array => {
            let mut items = Vec::new();
            scanner.eat(b'[');
            if depth == MAX_DEPTH {
                return Err(Unsupported);
            }
            while !scanner.next_is(b']') {
                if !items.is_empty() && !scanner.eat(b',') {
                    return Err(Unsupported);
                }
                items.push(value(scanner, depth + 1, of_python)?);
            }
            scanner.eat(b']');
            Value::Array(items)
        }
        ValueKind::Object => {
            let mut members = Map::new();
            let mut is_first = true;
            scanner.eat(b'{');
            if depth == MAX_DEPTH {
                return Err(Unsupported);
            }
            while !scanner.next_is(b'}') {
                if !is_first && !scanner.eat(b',') {
                    return Err(Unsupported);
                }
                is_first = false;
                if !scanner.next_is(b'"') {
                    return Err(Unsupported);
                }
                let key = string(scanner)?;
                if !scanner.eat(b':') {
                    return Err(Unsupported);
                }
                members.insert(key, value(scanner, depth + 1, of_python)?);
            }
            scanner.eat(b'}');
            Value::Object(members)
        }
    })
}

fn string(scanner: &mut Scanner<'_>) -> Result<String, Unsupported> {
    let mut scratch = String::from("what was there before");
    Ok(scanner.string(&mut scratch)?.map_or(scratch, str::to_owned))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
