//! SCRAM's messages, read strictly by their grammar.
//!
//! Attributes come in a fixed order and hold text; only "extensions" at the end may vary, and are
//! ignored unless mandatory. What this file gives out borrows from the message.
//!
//! RFC 5802 §5.1, §7.

use super::SaslCondition;
use super::base64;
use std::borrow::Cow;

use crate::limits::NONCE_BYTES_MAX;

/// Whether and how the client binds its login to the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelFlag<'a> {
    /// `n`: the client has no channel binding.
    Unsupported,
    /// `y`: it has, and thinks that the server has not.
    Unoffered,
    /// `p=`: this type.
    Bound(&'a str),
}

/// client-first-message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: ChannelFlag<'a>,
    /// Authorization identity.
    pub(super) authzid: Option<Cow<'a, str>>,
    /// As meant: without its escapes, but not prepared.
    pub(super) username: Cow<'a, str>,
    pub(super) nonce: &'a str,
    /// Up to and with the second comma; returns in `c=`.
    pub(super) gs2_header: &'a str,
    /// The rest as received; part of what is signed.
    pub(super) bare: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, SaslCondition> {
        let text = std::str::from_utf8(data).map_err(|_| SaslCondition::MalformedRequest)?;
        Self::read(text).ok_or(SaslCondition::MalformedRequest)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let gs2_header = text.get(..text.len() - bare.len())?;
        let flag = match flag {
            "n" => ChannelFlag::Unsupported,
            "y" => ChannelFlag::Unoffered,
            flag => ChannelFlag::Bound(flag.strip_prefix("p=").filter(|name| is_binding_name(name))?),
        };
        let authzid = match authzid {
            "" => None,
            authzid => Some(unescape(authzid.strip_prefix("a=")?)?),
        };
        // A mandatory extension would stand here as "m=", so this refuses it too.
        let mut attributes = bare.split(',');
        let username = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        if nonce.len() > NONCE_BYTES_MAX || !attributes.all(is_ignorable_extension) {
            return None;
        }
        Some(Self { flag, authzid, username, nonce, gs2_header, bare })
    }
}

/// client-final-message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    /// The value of `c=`, still in base64: it has one spelling, so it is compared like that.
    pub(super) channel: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: Vec<u8>,
    /// All before the proof; part of what is signed.
    pub(super) without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, SaslCondition> {
        let text = std::str::from_utf8(data).map_err(|_| SaslCondition::MalformedRequest)?;
        Self::read(text).ok_or(SaslCondition::MalformedRequest)
    }

    fn read(text: &'a str) -> Option<Self> {
        // The proof is last, and base64 has no comma.
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let proof = base64::decode_strict(proof)?.to_vec();
        let mut attributes = without_proof.split(',');
        let channel = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        attributes.all(is_ignorable_extension).then_some(Self { channel, nonce, proof, without_proof })
    }
}

/// `saslname`: at least one character; "," and "=" only as "=2C" and "=3D", and no other "=".
fn unescape(name: &str) -> Option<Cow<'_, str>> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    let mut pieces = name.split('=');
    let first = pieces.next()?;
    if first.len() == name.len() {
        return Some(Cow::Borrowed(name));
    }
    let mut out = String::with_capacity(name.len());
    out.push_str(first);
    for piece in pieces {
        let (c, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        out.push(c);
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7E if byte != b','))
}

fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// `attr-val` with a name that is not reserved for what must be understood.
fn is_ignorable_extension(attribute: &str) -> bool {
    match attribute.as_bytes() {
        [b'm', ..] => false,
        [name, b'=', value @ ..] => name.is_ascii_alphabetic() && !value.is_empty() && !value.contains(&0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn first_messages() {
        let message = ClientFirst::parse(b"p=tls-exporter,a=a=2Cb@c,n=u=3Ds=2Cer,r=abc,x=1").expect("valid");
        assert_eq!(message.flag, ChannelFlag::Bound("tls-exporter"));
        assert_eq!(message.authzid.as_deref(), Some("a,b@c"));
        assert_eq!(message.username, "u=s,er");
        assert_eq!(message.nonce, "abc");
        assert_eq!(message.gs2_header, "p=tls-exporter,a=a=2Cb@c,");
        assert_eq!(message.bare, "n=u=3Ds=2Cer,r=abc,x=1");
        for good in ["n,,n=u,r=x", "y,,n=u,r=x", "n,,n=\u{E5},r=!~", "n,a=b@c,n=u,r=x,z=a=b"] {
            assert!(ClientFirst::parse(good.as_bytes()).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn first_messages_that_are_none() {
        let rows = [
            "",
            "n",
            "n,",
            "n,,",
            "N,,n=u,r=x",
            "x,,n=u,r=x",
            "p,,n=u,r=x",
            "p=,,n=u,r=x",
            "p=a_b,,n=u,r=x",
            "n=,,n=u,r=x",
            "n,b,n=u,r=x",
            "n,a=,n=u,r=x",
            "n,a=x=,n=u,r=x",
            "n,,n=,r=x",
            "n,,n=u",
            "n,,n=u,",
            "n,,n=u,r=",
            "n,,r=x,n=u",
            "n,,N=u,r=x",
            "n,,n=a=b,r=x",
            "n,,n=a=2,r=x",
            "n,,n=a=2c,r=x",
            "n,,n=a=,r=x",
            "n,,n=a\0,r=x",
            "n,,n=u,r=a b",
            "n,,n=u,r=\u{E5}",
            "n,,m=ext,n=u,r=x",
            "n,,n=u,r=x,m=ext",
            "n,,n=u,r=x,",
            "n,,n=u,r=x,y",
            "n,,n=u,r=x,1=y",
            "n,,n=u,r=x,y=",
            " n,,n=u,r=x",
        ];
        for text in rows {
            assert_eq!(ClientFirst::parse(text.as_bytes()), Err(SaslCondition::MalformedRequest), "{text:?}");
        }
        assert!(ClientFirst::parse(b"n,,n=\xFF,r=x").is_err());
        assert!(ClientFirst::parse(format!("n,,n=u,r={}", "x".repeat(257)).as_bytes()).is_err());
    }

    #[test]
    fn final_messages() {
        let message = ClientFinal::parse(b"c=biws,r=ab,x=y,p=AQID").expect("valid");
        assert_eq!(message.channel, "biws");
        assert_eq!(message.nonce, "ab");
        assert_eq!(message.proof, [1, 2, 3]);
        assert_eq!(message.without_proof, "c=biws,r=ab,x=y");
        let rows = [
            "",
            "c=biws,r=ab",
            "r=ab,c=biws,p=AQID",
            "c=biws,p=AQID",
            "c=biws,r=ab,p=AQI",
            "c=biws,r=ab,p=AQID,x=y",
            "c=biws,r=ab,m=x,p=AQID",
            "m=x,c=biws,r=ab,p=AQID",
            "c=biws,r=,p=AQID",
            "c=biws,r=ab,p=AQ ID",
            "p=AQID",
        ];
        for text in rows {
            assert_eq!(ClientFinal::parse(text.as_bytes()), Err(SaslCondition::MalformedRequest), "{text:?}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let pieces =
            ["n", "y", "p=", ",", "=", "=2C", "=3D", "a=", "n=", "r=", "c=", "m=", "x", "\u{E5}", "\0", "biws"];
        let mut random = Random::seeded(5802);
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..random.next_u64() % 12 {
                text.push_str(pieces[(random.next_u64() % 16) as usize]);
            }
            let mut bytes = text.into_bytes();
            if random.next_u64().is_multiple_of(4) {
                bytes.push(random.next_u64() as u8);
            }
            let _ = ClientFinal::parse(&bytes);
            if let Ok(message) = ClientFirst::parse(&bytes) {
                assert_eq!(format!("{}{}", message.gs2_header, message.bare).as_bytes(), bytes);
            }
        }
    }
}
