//! Dates beside the `time` crate's.

#![no_main]

use flask_fernet::http_date::append_date;
use libfuzzer_sys::fuzz_target;
use time::OffsetDateTime;
use time::macros::format_description;

fuzz_target!(|input: (i64, bool)| {
    // Most 64-bit numbers are in no year of ours.
    let moment = if input.1 { input.0 } else { input.0 >> 26 };
    let mut ours = b"before ".to_vec();
    let is_written = append_date(moment, &mut ours);
    let format = format_description!(
        "before [weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let theirs = OffsetDateTime::from_unix_timestamp(moment).ok().filter(|one| one.year() >= 1);
    assert_eq!(is_written, theirs.is_some());
    let theirs = theirs.map_or("before ".to_owned(), |one| one.format(format).expect("writes"));
    assert_eq!(String::from_utf8(ours).expect("ASCII"), theirs);
});
