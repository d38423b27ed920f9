//! Base64 as the two dialects want it.
//!
//! RFC 6120 §13.9.1 has whatever is not canonical refused: a bit that nobody reads is a covert channel
//! and a second spelling. XEP-0034 is older and names RFC 2045, whose lines may be folded. What was
//! decoded may be a password, so it is wiped when dropped.
//!
//! RFC 4648 §3 and §4; RFC 2045 §6.8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Decodes what RFC 4648 §4 calls base64 and nothing else: padded, without white space, unused bits zero.
pub fn decode_strict(text: impl AsRef<[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.as_ref();
    // Reserved whole beforehand: a buffer that grows would leave a copy behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    STANDARD.decode_vec(text, &mut out).ok().map(|()| out)
}

/// The same, after white space (and only that) was taken out.
pub fn decode_2045(text: impl AsRef<[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.as_ref();
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')));
    decode_strict(packed.as_slice())
}

/// Encodes, padded, on one line.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(text: &str) -> Option<Vec<u8>> {
        decode_strict(text).map(|bytes| bytes.to_vec())
    }

    /// RFC 4648 §10.
    #[test]
    fn vectors() {
        let rows =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in rows {
            assert_eq!(encode(plain), coded);
            assert_eq!(strict(coded).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let rows = [
            "=",
            "==",
            "====",
            "Z",
            "Zg",
            "Zg=",
            "Zg===",
            "Z=g=",
            "=Zg=",
            "Zm8=Zm8=",
            "Zg==Zg==",
            "Zh==",
            "Zm9=",
            "Zm 8=",
            "Zm8=\n",
            " Zm8=",
            "Zm-_",
            "Zm8\u{E9}",
            "Zm8\0",
        ];
        for text in rows {
            assert_eq!(strict(text), None, "{text:?}");
        }
    }

    #[test]
    fn white_space_is_ignored_where_2045_holds() {
        let decode = |text: &str| decode_2045(text).map(|bytes| bytes.to_vec());
        assert_eq!(decode(" Zm\r\n\t9v YmFy\n").as_deref(), Some(b"foobar".as_slice()));
        assert_eq!(decode("  ").as_deref(), Some(b"".as_slice()));
        for text in ["Zm9v!", "Zh==", "Zg= =Zg==", "Zm\u{B}9v"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
