//! Which characters XML allows: bytes by a table, the rest by ranges.
//!
//! XML 1.0 (fifth edition) productions [2] Char, [4] NameStartChar, [4a] NameChar, without the colon,
//! which Namespaces in XML keeps for prefixes.

/// The byte may begin a name.
pub(super) const START: u8 = 1;
/// The byte may continue a name.
pub(super) const NAME: u8 = 2;
/// The byte is white space.
pub(super) const SPACE: u8 = 4;

/// What each ASCII byte may be; bytes from 0x80 on have no bit and take the slow path.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        table[byte] = if c.is_ascii_alphabetic() || c == b'_' {
            START | NAME
        } else if c.is_ascii_digit() || c == b'-' || c == b'.' {
            NAME
        } else if matches!(c, b' ' | b'\t' | b'\r' | b'\n') {
            SPACE
        } else {
            0
        };
        byte += 1;
    }
    table
};

/// The class bits of a byte.
#[inline(always)]
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// Whether the byte is XML white space.
#[inline(always)]
pub(super) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// NameStartChar from U+0080 on, in order.
const START_RANGES: [(u32, u32); 12] = [
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0x2FF),
    (0x370, 0x37D),
    (0x37F, 0x1FFF),
    (0x200C, 0x200D),
    (0x2070, 0x218F),
    (0x2C00, 0x2FEF),
    (0x3001, 0xD7FF),
    (0xF900, 0xFDCF),
    (0xFDF0, 0xFFFD),
    (0x1_0000, 0xE_FFFF),
];

/// What NameChar adds to NameStartChar from U+0080 on.
const MORE_RANGES: [(u32, u32); 3] = [(0xB7, 0xB7), (0x300, 0x36F), (0x203F, 0x2040)];

/// Whether a code point from U+0080 on may begin a name.
pub(super) fn is_start_char(c: u32) -> bool {
    START_RANGES.iter().any(|&(low, high)| (low..=high).contains(&c))
}

/// Whether a code point from U+0080 on may continue a name.
pub(super) fn is_name_char(c: u32) -> bool {
    is_start_char(c) || MORE_RANGES.iter().any(|&(low, high)| (low..=high).contains(&c))
}

/// XML's `Char`: what a document may hold at all, written out or as a reference.
pub(super) fn is_xml_char(c: u32) -> bool {
    matches!(c, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for byte in 0..=255_u8 {
            let c = char::from(byte);
            assert_eq!(class(byte) & SPACE != 0, matches!(c, ' ' | '\t' | '\r' | '\n'), "{byte}");
            assert_eq!(class(byte) & START != 0, c.is_ascii_alphabetic() || c == '_', "{byte}");
            assert_eq!(class(byte) & NAME != 0, c.is_ascii_alphanumeric() || "_-.".contains(c), "{byte}");
        }
    }

    #[test]
    fn ranges() {
        let cases = [
            (0xB7, false, true),
            (0xD7, false, false),
            (0xE9, true, true),
            (0x300, false, true),
            (0x37E, false, false),
            (0x2000, false, false),
            (0x203F, false, true),
            (0xFDD0, false, false),
            (0xFFFD, true, true),
            (0xFFFE, false, false),
            (0x1_F600, true, true),
            (0xF_0000, false, false),
        ];
        for (c, start, name) in cases {
            assert_eq!((is_start_char(c), is_name_char(c)), (start, name), "U+{c:04X}");
        }
    }

    #[test]
    fn xml_chars() {
        for c in [0x0, 0x8, 0xB, 0x1F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x11_0000] {
            assert!(!is_xml_char(c), "U+{c:04X}");
        }
        for c in [0x9, 0xA, 0xD, 0x20, 0x7F, 0x85, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0x1_FFFE, 0x10_FFFF] {
            assert!(is_xml_char(c), "U+{c:04X}");
        }
    }
}
