//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

/// Appends an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`, for `time` seconds since the epoch.
/// Returns `false`, with nothing written, outside the years 1 to 9999 of Python's `datetime`.
#[expect(clippy::indexing_slicing, reason = "a weekday is below 7 and a month below 12")]
pub fn append_date(time: i64, out: &mut Vec<u8>) -> bool {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    if !(FIRST..=LAST).contains(&time) {
        return false;
    }
    let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    // Day 0 was a Thursday.
    let weekday = (days + 4).rem_euclid(7);
    let name = |names: &'static [u8], at: i64| {
        let at = usize::try_from(at).unwrap_or_default() * 3;
        &names[at..at + 3]
    };
    let mut date = *b"Sun, 00 Jan 0000 00:00:00 GMT";
    date[..3].copy_from_slice(name(b"SunMonTueWedThuFriSat", weekday));
    date[5..7].copy_from_slice(&two_digits(day));
    date[8..11].copy_from_slice(name(b"JanFebMarAprMayJunJulAugSepOctNovDec", month - 1));
    date[12..14].copy_from_slice(&two_digits(year / 100));
    date[14..16].copy_from_slice(&two_digits(year % 100));
    date[17..19].copy_from_slice(&two_digits(second / 3600));
    date[20..22].copy_from_slice(&two_digits(second / 60 % 60));
    date[23..25].copy_from_slice(&two_digits(second % 60));
    out.extend_from_slice(&date);
    true
}

/// Reads an IMF-fixdate as [`append_date`] writes it: year, month, day, hour, minute, second.
/// `None` for every other form, and for years before 1000, which Python's parser takes for
/// abbreviated ones. The caller must check that the day exists.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "the length is checked first")]
pub fn parse_date(text: &str) -> Option<[u16; 6]> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    const DAYS: &[u8; 21] = b"SunMonTueWedThuFriSat";
    let text: &[u8; 29] = text.as_bytes().try_into().ok()?;
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0, |value: u16, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u16::from(byte - b'0'))
        })
    };
    let marks = [(3, b','), (4, b' '), (7, b' '), (11, b' '), (16, b' '), (19, b':'), (22, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) || &text[25..] != b" GMT" {
        return None;
    }
    DAYS.chunks(3).find(|day| **day == text[..3])?;
    let month = MONTHS.chunks(3).position(|month| *month == text[8..11])?;
    let month = u16::try_from(month).ok()? + 1;
    let year = number(12, 16).filter(|year| *year >= 1000)?;
    Some([year, month, number(5, 7)?, number(17, 19)?, number(20, 22)?, number(23, 25)?])
}

fn two_digits(value: i64) -> [u8; 2] {
    let value = u8::try_from(value).unwrap_or_default();
    [b'0' + value / 10 % 10, b'0' + value % 10]
}

/// Days since the epoch to year, month and day of the proleptic Gregorian calendar (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Days from 1 January of year 1 to the epoch, and to the end of year 9999.
    const DAYS_TO_EPOCH: i64 = 719_162;
    const DAYS: i64 = 3_652_059;

    #[test]
    fn every_day_has_the_date_that_counting_the_days_of_months_gives() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        for number in 0..DAYS {
            assert_eq!(civil_from_days(number - DAYS_TO_EPOCH), (year, month, day));
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day = if day == last { 1 } else { day + 1 };
            month = if day > 1 { month } else { month % 12 + 1 };
            year += i64::from((month, day) == (1, 1));
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            days in 365_000..DAYS, hour in 0..24_u16, minute in 0..60_u16, second in 0..60_u16,
        ) {
            let days = days - DAYS_TO_EPOCH;
            let (year, month, day) = civil_from_days(days);
            let date = [year, month, day].map(|part| u16::try_from(part).expect("small"));
            let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
            let mut out = Vec::new();
            prop_assert!(append_date(days * 86_400 + seconds, &mut out));
            let [year, month, day] = date;
            let expected = [year, month, day, hour, minute, second];
            prop_assert_eq!(parse_date(std::str::from_utf8(&out).expect("ASCII")), Some(expected));
        }
    }

    #[test]
    fn dates_are_written_and_read_as_http_has_them() {
        for (time, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut out = Vec::new();
            assert!(append_date(time, &mut out));
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
        assert_eq!(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some([1994, 11, 6, 8, 49, 37]));
        assert_eq!(parse_date("Wed, 01 Jan 1000 00:00:00 GMT"), Some([1000, 1, 1, 0, 0, 0]));
        for text in [
            "Tue, 31 Dec 0999 23:59:59 GMT",
            "Sun; 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 0094 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xxx, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:+7 GMT",
            "",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert!(!append_date(253_402_300_800, &mut Vec::new()));
        assert!(!append_date(-62_135_596_801, &mut Vec::new()));
    }
}
