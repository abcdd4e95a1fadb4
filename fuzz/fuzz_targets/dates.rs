//! Dates: what is written is what the `time` crate writes, and a text that is read is the one that
//! its parts make.

#![no_main]

use flask_fernet::http_date::{append_date, parse_date};
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;
use time::macros::format_description;

fuzz_target!(|input: (i64, bool, Vec<(u8, u8)>)| {
    let (number, is_whole, changes) = input;
    // Most 64-bit numbers are in no year of ours.
    let moment = if is_whole { number } else { number >> 26 };
    written(moment);
    read(moment, &changes);
});

fn written(moment: i64) {
    let mut ours = b"before ".to_vec();
    let is_written = append_date(moment, &mut ours);
    let format = format_description!(
        "before [weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let theirs = OffsetDateTime::from_unix_timestamp(moment).ok().filter(|one| one.year() >= 1);
    assert_eq!(is_written, theirs.is_some());
    let theirs = theirs.map_or("before ".to_owned(), |one| one.format(format).expect("writes"));
    assert_eq!(String::from_utf8(ours).expect("ASCII"), theirs);
}

/// Reads a date some of whose characters were changed.
fn read(moment: i64, changes: &[(u8, u8)]) {
    let mut date = Vec::new();
    if !append_date(moment, &mut date) {
        return;
    }
    for (at, byte) in changes {
        let at = usize::from(*at) % date.len();
        date[at] = byte & 0x7f;
    }
    let text = String::from_utf8(date).expect("ASCII");
    let Some([year, month, day, hour, minute, second]) = parse_date(&text) else {
        // Python reads years below 1000 as others.
        assert!(!changes.is_empty() || text[12..16] < *"1000", "{text}");
        return;
    };
    let weekday = &text[..3];
    assert!(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&weekday));
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::from(month) - 1];
    assert_eq!(
        text,
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    );
}
