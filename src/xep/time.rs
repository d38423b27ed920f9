//! XEP-0202: Entity Time, in the formats of XEP-0082.
//!
//! The server keeps no time zone: `tzo` is always `Z`'s `+00:00`.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::Stop;
use crate::xml::Writer;

const NS: &str = "urn:xmpp:time";

/// The table.
pub const EXTENSION: Extension =
    Extension { server_features: &[NS], account_features: &[], iq: &[IqEntry { ns: NS, name: "time", handler: time }] };

fn time(request: &IqRequest<'_>, _: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set || request.target != Target::Server {
        return Ok(Outcome::Pass);
    }
    let mut xml = Writer::new(out);
    xml.open("time").attr("xmlns", NS);
    xml.open("tzo").text("+00:00").close();
    xml.open("utc").text(&stamp(request.now.unix_s())).close();
    xml.close();
    Ok(Outcome::Handled)
}

/// A UTC time in XEP-0082's `DateTime` format, such as `2002-09-10T23:08:25Z`.
pub fn stamp(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The same with milliseconds, such as `2002-09-10T23:08:25.123Z`.
pub fn stamp_ms(unix_ms: u64) -> String {
    let mut stamp = stamp(unix_ms / 1000);
    stamp.pop();
    format!("{stamp}.{:03}Z", unix_ms % 1000)
}

/// The civil date of a day since 1970-01-01 (Hinnant's `civil_from_days`, for days from then on).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_those_of_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_031_699_305, "2002-09-10T23:08:25Z"),
            (1_796_083_199, "2026-11-30T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(stamp(unix_s), expected);
        }
    }
}
