//! Reads the test vectors of `tests/vectors`, which Python reads too.

use serde_json::Value;

/// The vectors in a file, by its name without `.json`.
pub fn read(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a file of vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// [`read`] for a file that is a list of at least this many vectors.
pub fn read_list(name: &str, at_least: usize) -> Vec<Value> {
    let vectors = read(name);
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= at_least, "{name} has too few vectors");
    vectors.clone()
}

/// A field of a vector that is text.
pub fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().expect("text")
}

/// A field of a vector that is a whole number.
pub fn number(vector: &Value, field: &str) -> u64 {
    vector[field].as_u64().expect("a whole number")
}
