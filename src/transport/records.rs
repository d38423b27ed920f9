//! TLS records from the outside: where they end, and how many may come without data.
//!
//! Nothing here decrypts; headers are in the clear in every version. RFC 8446 §5.1.

use super::TlsError;

/// Type, version, length.
pub(super) const RECORD_HEADER_BYTES: usize = 5;
pub use crate::limits::{IDLE_RECORD_PRICE_BYTES, IDLE_RECORDS_MAX};

/// The whole records at the front of some bytes.
pub(super) struct Whole {
    pub(super) bytes: usize,
    pub(super) count: u32,
}

pub(super) fn whole(bytes: &[u8]) -> Whole {
    let mut whole = Whole { bytes: 0, count: 0 };
    while let Some(record) = bytes.get(whole.bytes..).filter(|rest| missing(rest) == 0) {
        whole.bytes += record_bytes(record).unwrap_or(record.len());
        whole.count += 1;
    }
    whole
}

/// How many bytes the first record takes, header included, if its header is there.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, _, _, high, low, ..] => Some(RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// How many bytes the first record lacks; first those of its header, since it tells the rest.
pub(super) fn missing(bytes: &[u8]) -> usize {
    match record_bytes(bytes) {
        Some(needed) => needed.saturating_sub(bytes.len()),
        None => RECORD_HEADER_BYTES - bytes.len(),
    }
}

/// Counts records without data against data received.
#[derive(Default)]
pub(super) struct IdleRecords {
    unpaid: u32,
    purse_bytes: u32,
}

impl IdleRecords {
    pub(super) fn charge(&mut self, records: u32, data_bytes: usize) -> Result<(), TlsError> {
        self.unpaid = self.unpaid.saturating_add(records);
        if self.unpaid == 0 {
            return Ok(());
        }
        self.purse_bytes = self.purse_bytes.saturating_add(u32::try_from(data_bytes).unwrap_or(u32::MAX));
        self.unpaid = self.unpaid.saturating_sub(self.purse_bytes / IDLE_RECORD_PRICE_BYTES);
        self.purse_bytes %= IDLE_RECORD_PRICE_BYTES;
        if self.unpaid > IDLE_RECORDS_MAX { Err(TlsError::TooManyMessages) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_whole() {
        let one = [23, 3, 3, 0, 2, 7, 7];
        let rows: [(&[u8], usize, u32, usize); 6] = [
            (&[], 0, 0, 5),
            (&one[..3], 0, 0, 2),
            (&one[..5], 0, 0, 2),
            (&one, 7, 1, 0),
            (&[23, 3, 3, 0, 0, 23, 3, 3, 0, 0], 10, 2, 0),
            (&[23, 3, 3, 0, 0, 23, 3], 5, 1, 0),
        ];
        for (bytes, whole_bytes, count, lacks) in rows {
            let found = whole(bytes);
            assert_eq!((found.bytes, found.count, missing(bytes)), (whole_bytes, count, lacks), "{bytes:?}");
        }
        assert_eq!(missing(&[23, 3, 3, 255, 255]), 65_535);
    }

    #[test]
    fn data_pays_for_idle_records() {
        let mut idle = IdleRecords::default();
        for _ in 0..IDLE_RECORDS_MAX {
            assert_eq!(idle.charge(1, 1), Ok(()));
        }
        assert_eq!(idle.charge(1, 0), Err(TlsError::TooManyMessages));
        assert_eq!(idle.charge(0, 2 * IDLE_RECORD_PRICE_BYTES as usize), Ok(()));
        // Data does not buy credit for later: a gigabyte yesterday allows no flood today.
        let mut idle = IdleRecords::default();
        assert_eq!(idle.charge(0, usize::MAX), Ok(()));
        assert_eq!(idle.charge(IDLE_RECORDS_MAX + 1, 0), Err(TlsError::TooManyMessages));
    }
}
