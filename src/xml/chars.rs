//! Walks over character data: skips plain runs eight bytes at a time, decodes the rest strictly.
//!
//! RFC 3629 (UTF-8), XML 1.0 production [2] Char.

use super::error::XmlError;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The same byte in each lane.
const fn lanes(byte: u8) -> u64 {
    LOW * byte as u64
}

/// The high bit of each zero lane; lanes above the first zero one may be marked wrongly.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Marks lanes that are control characters or not ASCII.
#[inline(always)]
const fn unusual(word: u64) -> u64 {
    (word.wrapping_sub(lanes(0x20)) | word) & HIGH
}

/// The number of leading bytes of `run` before the first lane that `mark` marks. A space is never marked.
#[inline(always)]
fn skip(run: &[u8], mark: impl Fn(u64) -> u64) -> usize {
    let mut done = 0;
    let mut rest = run;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let marks = mark(u64::from_le_bytes(*word));
        if marks != 0 {
            return done + marks.trailing_zeros() as usize / 8;
        }
        done += 8;
        rest = tail;
    }
    let mut word = [b' '; 8];
    word.iter_mut().zip(rest).for_each(|(lane, &byte)| *lane = byte);
    let marks = mark(u64::from_le_bytes(word));
    done + rest.len().min(marks.trailing_zeros() as usize / 8)
}

/// How many bytes of `run` are plain text: printable ASCII without `<`, `>` and `&`.
#[inline]
pub(super) fn plain_text(run: &[u8]) -> usize {
    // `<` and `>` differ in one bit only, so that one comparison finds both.
    let mark = |word| unusual(word) | zeros(word ^ lanes(b'&')) | zeros((word | lanes(2)) ^ lanes(b'>'));
    let mut rest = run;
    // Long runs go by four words at once, one branch for all; written out, since a program that is built for size
    // unrolls nothing.
    while let Some((block, tail)) = rest.split_first_chunk::<32>() {
        let [a, b, c, d] = words(block);
        if mark(a) | mark(b) | mark(c) | mark(d) != 0 {
            break;
        }
        rest = tail;
    }
    run.len() - rest.len() + skip(rest, mark)
}

#[inline(always)]
fn words(block: &[u8; 32]) -> [u64; 4] {
    let word = |at: usize| {
        block.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |word| u64::from_le_bytes(*word))
    };
    [word(0), word(8), word(16), word(24)]
}

/// Whether `raw` means itself, as text and as a value: printable ASCII without `&`.
#[inline]
pub(super) fn means_itself(raw: &[u8]) -> bool {
    skip(raw, |word| unusual(word) | zeros(word ^ lanes(b'&'))) == raw.len()
}

/// How many bytes of `run` are lower-case letters of ASCII, told in whole words: of what is left some may be, too.
#[inline]
pub(super) fn letters(run: &[u8]) -> usize {
    let mut done = 0;
    let mut rest = run;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let low = word & !HIGH;
        // The high bit of each lane: whether it reaches `a`, and whether it passes `z`.
        let (reaches, passes) = (low + lanes(0x80 - b'a'), low + lanes(0x7F - b'z'));
        let others = !(reaches & !passes & !word) & HIGH;
        if others != 0 {
            return done + others.trailing_zeros() as usize / 8;
        }
        done += 8;
        rest = tail;
    }
    done
}

/// How many bytes of `run` are a plain attribute value: printable ASCII without `<`, `&` and `quote`.
#[inline]
pub(super) fn plain_value(run: &[u8], quote: u8) -> usize {
    // Either quote differs from `&` in one bit only, so that one comparison finds both.
    let (bit, both) = if quote == b'\'' { (lanes(1), lanes(b'\'')) } else { (lanes(4), lanes(b'&')) };
    skip(run, |word| unusual(word) | zeros((word | bit) ^ both) | zeros(word ^ lanes(b'<')))
}

/// How many bytes of `run` need no escaping wherever they stand: printable ASCII without `<`, `>`, `&` and quotes.
#[inline]
pub(super) fn plain_anywhere(run: &[u8]) -> usize {
    // `&` and `'` differ in one bit only, too.
    skip(run, |word| {
        unusual(word)
            | zeros((word | lanes(1)) ^ lanes(b'\''))
            | zeros((word | lanes(2)) ^ lanes(b'>'))
            | zeros(word ^ lanes(b'"'))
    })
}

/// Where the run of characters beyond ASCII that begins at `bytes[at]` ends: at ASCII but for single spaces, at a
/// character that is cut off so far, or at the end.
///
/// # Errors
///
/// Those of [`decode`].
pub(super) fn skip_wide(bytes: &[u8], mut at: usize) -> Result<usize, XmlError> {
    let is_tail = |byte: u8| byte & 0xC0 == 0x80;
    loop {
        at += match bytes.get(at..).unwrap_or_default() {
            // Sequences that need no closer look: all of two bytes, and of three without special ranges.
            [0xC2..=0xDF, second, ..] if is_tail(*second) => 2,
            [0xE1..=0xEC | 0xEE, second, third, ..] if is_tail(*second) && is_tail(*third) => 3,
            // One space between two words.
            [b' ', 0x80..=0xFF, ..] => 1,
            [0x80..=0xFF, ..] => match decode(bytes, at)? {
                Some((_, len)) => len,
                None => return Ok(at),
            },
            _ => return Ok(at),
        };
    }
}

/// The code point at `bytes[at]`, which is not ASCII, and its length; `None` if it is cut off so far.
///
/// # Errors
///
/// `BadUtf8` at the first byte that cannot belong to a shortest-form sequence; `BadCharacter` for
/// U+FFFE and U+FFFF, which UTF-8 can write but XML forbids.
pub(super) fn decode(bytes: &[u8], at: usize) -> Result<Option<(u32, usize)>, XmlError> {
    let bad = |offset: usize| XmlError::BadUtf8 { offset: offset as u32 };
    let Some(&first) = bytes.get(at) else { return Ok(None) };
    // The range of the second byte excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    let (len, low, high) = match first {
        0xC2..=0xDF => (2, 0x80, 0xBF),
        0xE0 => (3, 0xA0, 0xBF),
        0xED => (3, 0x80, 0x9F),
        0xE1..=0xEF => (3, 0x80, 0xBF),
        0xF0 => (4, 0x90, 0xBF),
        0xF1..=0xF3 => (4, 0x80, 0xBF),
        0xF4 => (4, 0x80, 0x8F),
        _ => return Err(bad(at)),
    };
    let mut c = u32::from(first) & (0x7F >> len);
    for index in 1..len {
        let Some(&byte) = bytes.get(at + index) else { return Ok(None) };
        let range = if index == 1 { low..=high } else { 0x80..=0xBF };
        if !range.contains(&byte) {
            return Err(bad(at + index));
        }
        c = c << 6 | u32::from(byte & 0x3F);
    }
    if c == 0xFFFE || c == 0xFFFF {
        return Err(XmlError::BadCharacter { offset: (at + 2) as u32 });
    }
    Ok(Some((c, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_stop_where_a_byte_loop_stops() {
        for byte in 0..=255_u8 {
            for place in 0..70 {
                let mut run = [b'x'; 71];
                run[place] = byte;
                run[place + 1] = 0;
                let plain = (0x20..0x80).contains(&byte) && !b"<&>".contains(&byte);
                assert_eq!(plain_text(&run), place + usize::from(plain), "text {byte} at {place}");
                let plain = (0x20..0x80).contains(&byte) && !b"<&'".contains(&byte);
                assert_eq!(plain_value(&run, b'\''), place + usize::from(plain), "value {byte} at {place}");
                let plain = (0x20..0x80).contains(&byte) && !b"<&\"".contains(&byte);
                assert_eq!(plain_value(&run, b'"'), place + usize::from(plain), "value {byte} at {place}");
                let plain = (0x20..0x80).contains(&byte) && !b"<>&'\"".contains(&byte);
                assert_eq!(plain_anywhere(&run), place + usize::from(plain), "anywhere {byte} at {place}");
            }
        }
        for byte in 0..=255_u8 {
            for place in 0..16 {
                let mut run = [b'm'; 17];
                run[place] = byte;
                run[place + 1] = b'-';
                let letters_there = place + usize::from(byte.is_ascii_lowercase());
                // In the last, broken word nothing is told.
                assert_eq!(letters(&run), letters_there.min(16), "letters {byte} at {place}");
            }
        }
        // Runs of every short length: their last bytes are no whole word.
        for len in 0..=20 {
            for place in 0..=len {
                for byte in [b'<', b'&', b'"', 0x1F, 0x7F, 0x80, 0xFF, b' ', b'x'] {
                    let mut run = vec![b'~'; len];
                    run.iter_mut().skip(place).take(1).for_each(|at| *at = byte);
                    let is_plain = |byte: &&u8| (0x20..0x80).contains(*byte) && !b"<&\"".contains(*byte);
                    let expected = run.iter().take_while(is_plain).count();
                    assert_eq!(plain_value(&run, b'"'), expected, "{run:?}");
                    assert_eq!(means_itself(&run), run.iter().all(|byte| (0x20..0x80).contains(byte) && *byte != b'&'));
                }
            }
        }
        assert_eq!((letters(b"abc"), letters(b"abcdefghi")), (0, 8));
        assert_eq!(plain_text(b""), 0);
        assert_eq!(plain_value(b"'''", b'"'), 3);
    }

    #[test]
    fn decode_agrees_with_the_standard_library() {
        let mut bytes = [0; 4];
        for first in 0x80..=0xFF_u8 {
            for second in 0..=0xFF_u8 {
                for tail in [0x00, 0x7F, 0x80, 0xBE, 0xBF, 0xC0] {
                    bytes = [first, second, tail, 0x80];
                    let ours = decode(&bytes, 0).ok().flatten();
                    let theirs = (2..=4)
                        .find_map(|len| std::str::from_utf8(&bytes[..len]).ok().filter(|s| s.chars().count() == 1))
                        .and_then(|s| s.chars().next())
                        .filter(|&c| c != '\u{FFFE}' && c != '\u{FFFF}')
                        .map(|c| (c as u32, c.len_utf8()));
                    assert_eq!(ours, theirs, "{bytes:x?}");
                }
            }
        }
        assert_ne!(bytes, [0; 4]);
    }

    #[test]
    fn a_wide_run_ends_where_decoding_one_by_one_ends() {
        for text in ["é", "жж", "éж€", "日本", "\u{FFFD}\u{E000}", "😀é", "\u{D7FF}", "a", ""] {
            for end in ["", "x", "\u{80}x"] {
                let bytes = [text, end].concat().into_bytes();
                for cut in 0..=bytes.len() {
                    let mut at = 0;
                    while let Ok(Some((_, len))) = decode(&bytes[..cut], at).or(Ok::<_, ()>(None)) {
                        at += len;
                    }
                    assert_eq!(skip_wide(&bytes[..cut], 0), Ok(at), "{text:?} {end:?} {cut}");
                }
            }
        }
        assert_eq!(skip_wide(b"\xC3\xA9\xC3(", 0), Err(XmlError::BadUtf8 { offset: 3 }));
        assert_eq!(skip_wide(b"\xE4\xB8\xE4", 0), Err(XmlError::BadUtf8 { offset: 2 }));
    }

    #[test]
    fn decode_waits_only_for_what_can_still_be_good() {
        assert_eq!(decode(b"\xE2\x82", 0), Ok(None));
        assert_eq!(decode(b"\xE0\x80", 0), Err(XmlError::BadUtf8 { offset: 1 }));
        assert_eq!(decode(b"\xED\xA0", 0), Err(XmlError::BadUtf8 { offset: 1 }));
        assert_eq!(decode(b"\xF4\x90", 0), Err(XmlError::BadUtf8 { offset: 1 }));
        assert_eq!(decode(b"\xC0", 0), Err(XmlError::BadUtf8 { offset: 0 }));
        assert_eq!(decode(b"\xEF\xBF\xBF", 0), Err(XmlError::BadCharacter { offset: 2 }));
    }
}
