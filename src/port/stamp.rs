//! Times in XEP-0082's format, both ways, to the millisecond.

use crate::xep::time;

/// `2002-09-10T23:08:25.123Z`.
pub fn format(unix_ms: u64) -> String {
    time::stamp_ms(unix_ms)
}

/// Milliseconds since 1970-01-01 UTC: a `DateTime` of XEP-0082, or XEP-0091's `20020910T23:08:25`.
pub fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.trim_ascii().split_once('T')?;
    let digits = |text: &str, len: usize| -> Option<u64> {
        (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let date: String = date.split('-').collect();
    let (year, month, day) = (digits(date.get(..4)?, 4)?, digits(date.get(4..6)?, 2)?, digits(date.get(6..)?, 2)?);
    let (clock, zone) = rest.split_at(rest.find(['Z', '+', '-']).unwrap_or(rest.len()));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let (Some(hour), Some(minute), Some(second), None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23
        || minute > 59
        || second > 60
        || fraction.is_empty()
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds.checked_add_signed(-zone_s(zone)?)?) * 1000 + ms)
}

/// Seconds that a zone is ahead of UTC.
fn zone_s(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1) {
        None => return Some(0),
        Some(("Z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes <= 59).then(|| sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

/// Days since 1970-01-01 of a civil date from then on (Hinnant's `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for unix_ms in [0, 951_782_400_000, 1_031_699_305_123, 1_796_083_199_001, 4_107_542_400_000, 68_169_600_000] {
            assert_eq!(parse(&format(unix_ms)), Some(unix_ms), "{}", format(unix_ms));
        }
    }

    #[test]
    fn other_forms_and_no_forms() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T02:00:01.5+02:00", Some(1500)),
            ("19700101T00:00:01", Some(1000)),
            ("1970-01-01T00:00:00.123456Z", Some(123)),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("1970-13-01T00:00:00Z", None),
            ("1970-01-01T24:00:00Z", None),
            ("1970-01-01T00:00Z", None),
            ("1970-01-01T00:00:00x", None),
            ("1970-01-01", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
