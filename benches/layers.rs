//! Each layer without Python, and the primitives below it: nanoseconds per call, as JSON for the
//! program behind `make bench`. Run alone: `cargo bench --no-default-features`.

#![allow(clippy::expect_used, reason = "a program for developers")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::Aes128Enc;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use flask_fernet::json::scan::{Scanner, ValueKind};
use flask_fernet::json::write;
use flask_fernet::keys::key_set::{Format, KeySet};
use flask_fernet::token::fernet::{FernetKey, Unverified};
use flask_fernet::token::{base64, random};
use flask_fernet::{cookie, http_date};
use hmac::{Hmac, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use zeroize::Zeroizing;

const SIZES: [usize; 5] = [32, 256, 1024, 3000, 65536];
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(4);

/// The nanoseconds per call of the best round: everything else on the machine only adds to them.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut count = 1_u32;
    loop {
        let start = Instant::now();
        (0..count).for_each(|_| call());
        let taken = start.elapsed();
        if taken > ROUND {
            break;
        }
        count *= 2;
    }
    let round = || {
        let start = Instant::now();
        (0..count).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    std::iter::repeat_with(round).take(ROUNDS).fold(f64::INFINITY, f64::min)
}

/// The primitives that a token of this size needs, called directly and without anything between.
fn primitives(size: usize) -> (f64, f64) {
    let plaintext = vec![b'x'; size];
    let padded = (size / 16 + 1) * 16;
    let raw = vec![0_u8; 25 + padded];
    let token = vec![0_u8; 25 + padded + 32];
    let (encrypt, decrypt) =
        (Aes128Enc::new(&[1; 16].into()), aes::Aes128Dec::new(&[1; 16].into()));
    let keyed = <Hmac<Sha256> as KeyInit>::new_from_slice(&[2; 16]).expect("any length");
    let mut buffer = plaintext.clone();
    buffer.resize(padded, 0);
    let mut ciphertext = buffer.clone();
    cbc::Encryptor::inner_iv_init(&encrypt, &[3; 16].into())
        .encrypt_padded::<Pkcs7>(&mut ciphertext, size)
        .expect("room");
    let aes_encrypt = nanoseconds(|| {
        cbc::Encryptor::inner_iv_init(&encrypt, &[3; 16].into())
            .encrypt_padded::<Pkcs7>(black_box(&mut buffer), size)
            .expect("room");
    });
    let mut scratch = ciphertext.clone();
    let aes_decrypt = nanoseconds(|| {
        scratch.copy_from_slice(&ciphertext);
        cbc::Decryptor::inner_iv_init(&decrypt, &[3; 16].into())
            .decrypt_padded::<Pkcs7>(black_box(&mut scratch))
            .expect("padding");
    });
    let hash = nanoseconds(|| {
        let mut mac = keyed.clone();
        mac.update(black_box(&raw));
        black_box(mac.finalize());
    });
    let mut text = vec![0; base64::encoded_len(token.len())];
    let encode = nanoseconds(|| base64::encode_slice(black_box(&token), &mut text));
    let decode = nanoseconds(|| {
        black_box(base64::decode(black_box(&text)));
    });
    let iv = nanoseconds(|| {
        let _ = black_box(random::iv());
    });
    (aes_encrypt + hash + encode + iv, aes_decrypt + hash + decode)
}

fn read(scanner: &mut Scanner<'_>, scratch: &mut String) -> Option<()> {
    match scanner.kind().ok()? {
        ValueKind::String => drop(scanner.string(scratch).ok()?),
        ValueKind::Number => drop(scanner.number().ok()?),
        ValueKind::Array => {
            scanner.eat(b'[');
            while !scanner.eat(b']') {
                read(scanner, scratch)?;
                scanner.eat(b',');
            }
        }
        ValueKind::Object => {
            scanner.eat(b'{');
            while !scanner.eat(b'}') {
                scanner.kind().ok()?;
                scanner.string(scratch).ok()?;
                scanner.eat(b':');
                read(scanner, scratch)?;
                scanner.eat(b',');
            }
        }
        ValueKind::True | ValueKind::False | ValueKind::Null => {}
    }
    Some(())
}

/// Session tokens of both formats.
fn formats(rows: &mut Map<String, Value>) {
    for format in [Format::Fernet, Format::Xaes] {
        let key = Zeroizing::new([7; 32]);
        let keys = KeySet::new(&[key], b"cookie-session", format, &[]).expect("a key");
        for size in [16, 100, 330, 1800] {
            let payload = vec![b'x'; size];
            let mut token = Vec::new();
            let seal = nanoseconds(|| {
                token.clear();
                keys.seal(black_box(&payload), 1_790_000_000, b"session", &mut token)
                    .expect("random");
            });
            let open = nanoseconds(|| {
                let opened = keys.open(black_box(&token), 1_790_000_000, 60, b"session");
                black_box(opened.expect("authentic"));
            });
            rows.insert(format!("{} seals {size}", format.name()), seal.into());
            rows.insert(format!("{} opens {size}", format.name()), open.into());
        }
    }
}

fn main() {
    let mut rows = Map::new();
    formats(&mut rows);
    let key = FernetKey::new(&[7; 32]);
    for size in SIZES {
        let plaintext = vec![b'x'; size];
        let mut token = Vec::new();
        let seal = nanoseconds(|| {
            token.clear();
            let iv = random::iv().expect("random");
            key.seal_append(black_box(&plaintext), 1_790_000_000, &iv, &mut token);
        });
        let open = nanoseconds(|| {
            let raw = base64::decode(black_box(&token)).expect("base64");
            let token = Unverified::parse(raw).expect("a token");
            assert!(key.verify(&token));
            black_box(key.decrypt(token));
        });
        let (sealing, opening) = primitives(size);
        let mut put = |name: &str, value: f64| rows.insert(format!("{name} {size}"), value.into());
        put("seal", seal);
        put("open", open);
        put("primitives of sealing", sealing);
        put("primitives of opening", opening);
    }
    let item = r#"{"name":"Article number 1","price":10.99,"quantity":2,"sku":"SKU-00001"}"#;
    let cart = format!("[{}]", [item; 20].join(","));
    let mut scratch = String::new();
    let scan = nanoseconds(|| {
        read(&mut Scanner::new(black_box(&cart)), &mut scratch).expect("JSON");
    });
    rows.insert("scan a cart of 20".into(), scan.into());
    let bytes = vec![b'x'; 420];
    let mut encoded = vec![0; base64::encoded_len(bytes.len())];
    let encode = nanoseconds(|| base64::encode_slice(black_box(&bytes), &mut encoded));
    rows.insert("base64 encodes 420".into(), encode.into());
    let decode = nanoseconds(|| {
        black_box(base64::decode(black_box(&encoded)));
    });
    rows.insert("base64 decodes 420".into(), decode.into());
    let text = "0123456789abcdef".repeat(8);
    let mut out = Vec::with_capacity(512);
    let string = nanoseconds(|| {
        out.clear();
        write::append_string(black_box(&text), true, &mut out).expect("memory");
    });
    rows.insert("write a string of 128".into(), string.into());
    let header =
        format!("theme=dark; _ga=GA1.1.1234567890.1234567890; session={}", "A".repeat(600));
    let find = nanoseconds(|| {
        black_box(cookie::find(black_box(&header), "session"));
    });
    rows.insert("find a cookie of 600".into(), find.into());
    let date = nanoseconds(|| {
        out.clear();
        http_date::append_date(black_box(1_790_000_000), &mut out);
    });
    rows.insert("write a date".into(), date.into());
    println!("{}", Value::Object(rows));
}
