//! The tables of RFC 7622 §3.5, what lies between their lines, and the two paths held equal.

use super::*;
use crate::random::Random;

fn parse(input: &str) -> Result<String, JidError> {
    Jid::parse(input).map(|jid| jid.as_str().to_owned())
}

/// Table 1, with the parts that each address has and the text that is compared.
#[test]
fn rfc7622_legal() {
    type Row = (u8, &'static str, Option<&'static str>, &'static str, Option<&'static str>);
    let rows: [Row; 15] = [
        (1, "juliet@example.com", Some("juliet"), "example.com", None),
        (2, "juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
        (3, "juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
        (4, "juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
        (5, "foo\\20bar@example.com", Some("foo\\20bar"), "example.com", None),
        (6, "fussball@example.com", Some("fussball"), "example.com", None),
        (7, "fu\u{DF}ball@example.com", Some("fu\u{DF}ball"), "example.com", None),
        (8, "\u{3C0}@example.com", Some("\u{3C0}"), "example.com", None),
        (9, "\u{3A3}@example.com/foo", Some("\u{3C3}"), "example.com", Some("foo")),
        (10, "\u{3C3}@example.com/foo", Some("\u{3C3}"), "example.com", Some("foo")),
        (11, "\u{3C2}@example.com/foo", Some("\u{3C2}"), "example.com", Some("foo")),
        (12, "king@example.com/\u{265A}", Some("king"), "example.com", Some("\u{265A}")),
        (13, "example.com", None, "example.com", None),
        (14, "example.com/foobar", None, "example.com", Some("foobar")),
        (15, "a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
    ];
    for (number, input, localpart, domainpart, resourcepart) in rows {
        let jid = Jid::parse(input).unwrap_or_else(|error| panic!("example {number}: {error}"));
        assert_eq!(jid.localpart(), localpart, "example {number}");
        assert_eq!(jid.domainpart(), domainpart, "example {number}");
        assert_eq!(jid.resourcepart(), resourcepart, "example {number}");
        assert_eq!(jid.is_bare(), resourcepart.is_none(), "example {number}");
        let bare = localpart.map_or(domainpart.to_owned(), |local| format!("{local}@{domainpart}"));
        assert_eq!(jid.bare(), bare, "example {number}");
        assert_eq!(jid.to_bare().as_str(), bare, "example {number}");
    }
}

/// The notes under table 1: 6 and 7 differ, 9 and 10 are the same address, 11 is another.
#[test]
fn rfc7622_comparisons() {
    assert_ne!(parse("fussball@example.com"), parse("fu\u{DF}ball@example.com"));
    assert_eq!(Jid::parse("\u{3A3}@example.com/foo"), Jid::parse("\u{3C3}@example.com/foo"));
    assert_ne!(Jid::parse("\u{3C3}@example.com/foo"), Jid::parse("\u{3C2}@example.com/foo"));
}

/// Table 2.
#[test]
fn rfc7622_violations() {
    use JidError::*;
    use PartFault::*;
    let rows = [
        (16, "\"juliet\"@example.com", Localpart(Disallowed)),
        (17, "foo bar@example.com", Localpart(Disallowed)),
        (18, "juliet@example.com/ foo", Resourcepart(Disallowed)),
        (19, "@example.com/", Localpart(Empty)),
        (20, "henry\u{2163}@example.com", Localpart(Disallowed)),
        (21, "\u{265A}@example.com", Localpart(Disallowed)),
        (22, "juliet@", Domainpart(Empty)),
        (23, "/foobar", Domainpart(Empty)),
    ];
    for (number, input, error) in rows {
        assert_eq!(parse(input), Err(error), "example {number}");
    }
}

#[test]
fn domains() {
    let rows: &[(&str, Option<&str>)] = &[
        ("EXAMPLE.com", Some("example.com")),
        ("example.com.", Some("example.com")),
        ("example.com..", None),
        (".", None),
        (".example.com", None),
        ("a..b", None),
        ("localhost", Some("localhost")),
        ("127.0.0.1", Some("127.0.0.1")),
        ("[::1]", Some("[::1]")),
        ("[2001:DB8:0:0::1]", Some("[2001:db8::1]")),
        ("[::1].", Some("[::1]")),
        ("[fe80::1%25eth0]", Some("[fe80::1%25eth0]")),
        ("[fe80::1%25]", None),
        ("[fe80::1%eth0]", None),
        ("[fe80::1%25a/b]", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[127.0.0.1]", None),
        ("[]", None),
        ("xn--fiq228c.example", Some("\u{4E2D}\u{6587}.example")),
        ("XN--FIQ228C.example", Some("\u{4E2D}\u{6587}.example")),
        ("xn--n3h.example", None), // a snowman: UTS #46 would have it, IDNA2008 has not
        ("\u{2603}.example", None),
        ("xn--a.example", None),
        ("xn--example-.example", None),
        ("xn--.example", None),
        ("b\u{FC}cher.example", Some("b\u{FC}cher.example")),
        ("BU\u{308}CHER.example", Some("b\u{FC}cher.example")),
        ("xn--bcher-kva.example", Some("b\u{FC}cher.example")),
        ("stra\u{DF}e.example", Some("stra\u{DF}e.example")),
        ("\u{FF45}xample.com", Some("example.com")),
        ("a\u{3002}b", Some("a.b")),
        ("a\u{3002}", None),
        ("\u{5D0}\u{5D1}.example", Some("\u{5D0}\u{5D1}.example")),
        ("\u{5D0}a.example", None), // the Bidi rule
        ("l\u{B7}l.example", Some("l\u{B7}l.example")),
        ("a\u{B7}b.example", None),    // CONTEXTO
        ("a\u{200D}b.example", None),  // CONTEXTJ
        ("a\u{20D0}.example", None),   // RFC 5892 §2.4
        ("\u{1F600}.example", None),   // a symbol
        ("under_score.example", None), // neither NR-LDH nor U-label
        ("sp ace.example", None),
        ("-a.example", None),
        ("a-.example", None),
        ("ab--cd.example", None),
        ("example.com:5222", None),
        ("a\u{AD}b.example", Some("ab.example")),
        ("b@c", None),
    ];
    for (input, expected) in rows {
        let got = prepare_domainpart(input).ok();
        assert_eq!(got.as_deref(), *expected, "{input:?}");
    }
}

#[test]
fn domains_in_the_form_of_dns() {
    assert_eq!(domain_to_ascii("example.com").as_deref(), Some("example.com"));
    assert_eq!(domain_to_ascii("b\u{FC}cher.example").as_deref(), Some("xn--bcher-kva.example"));
    assert_eq!(domain_to_ascii("[::1]"), None);
}

#[test]
fn localparts() {
    let rows: &[(&str, Option<&str>)] = &[
        ("Juliet", Some("juliet")),
        ("j!#$%()*+,-.;=?[\\]^_`{|}~", Some("j!#$%()*+,-.;=?[\\]^_`{|}~")),
        ("\u{FF2A}uliet", Some("juliet")),
        ("a\u{FF20}b", None), // a full-width "@" becomes one: after splitting, as §3.1 notes
        ("a\u{2100}b", None), // "a/c" to compatibility mappings; refused, so it cannot become a separator
        ("\u{C5}", Some("\u{E5}")),
        ("A\u{30A}", Some("\u{E5}")),
        ("a\u{7F}", None),
        ("a\u{A0}b", None),
        ("\u{5D0}\u{5D1}", Some("\u{5D0}\u{5D1}")),
        ("\u{5D0}a", None),
        ("\u{1F600}", None),
        ("", None),
    ];
    for (input, expected) in rows {
        let got = prepare_localpart(input).ok();
        assert_eq!(got.as_deref(), *expected, "{input:?}");
    }
    for c in "\"&'/:<>@ \u{0}\t\n".chars() {
        assert_eq!(prepare_localpart(&format!("a{c}")), Err(JidError::Localpart(PartFault::Disallowed)), "{c:?}");
    }
}

#[test]
fn resourceparts() {
    let rows: &[(&str, Option<&str>)] = &[
        ("Balcony", Some("Balcony")),
        ("a/b/c", Some("a/b/c")),
        ("trailing ", Some("trailing ")),
        ("a\u{A0}b", Some("a b")),
        ("\u{3000}b", None), // becomes a leading space
        ("A\u{30A}", Some("\u{C5}")),
        ("\u{2163}", Some("\u{2163}")),
        ("\u{1F600}", Some("\u{1F600}")),
        ("\u{1F973}", Some("\u{1F973}")), // Unicode 11
        ("\u{1FAE0}", Some("\u{1FAE0}")), // Unicode 14
        ("\u{180F}", None),               // default-ignorable since Unicode 14
        ("\u{110CD}", None),              // a format character since Unicode 11
        ("\u{378}", None),                // not assigned
        ("\u{E000}", None),               // private use
        ("\u{FFFF}", None),
        ("a\u{200B}", None),
        ("tab\t", None),
        ("\u{7F}", None),
        ("", None),
    ];
    for (input, expected) in rows {
        let got = prepare_resourcepart(input).ok();
        assert_eq!(got.as_deref(), *expected, "{input:?}");
    }
}

/// RFC 8265 §4.3, examples 12–15, and the violations 16 and 17.
#[test]
fn passwords() {
    let rows: &[(&str, Option<&str>)] = &[
        ("correct horse battery staple", Some("correct horse battery staple")),
        ("Correct Horse Battery Staple", Some("Correct Horse Battery Staple")),
        ("\u{3C0}\u{DF}\u{E5}", Some("\u{3C0}\u{DF}\u{E5}")),
        ("Jack of \u{2666}s", Some("Jack of \u{2666}s")),
        ("foo\u{1680}bar", Some("foo bar")),
        (" leading", Some(" leading")),
        ("\u{1F973}", Some("\u{1F973}")),
        ("", None),
        ("my cat is a \u{9}by", None),
        ("nul\u{0}", None),
    ];
    for (input, expected) in rows {
        let got = prepare_password(input).ok();
        assert_eq!(got.as_ref().map(|text| text.as_str()), *expected, "{input:?}");
    }
    assert_eq!(prepare_password(""), Err(JidError::Password(PartFault::Empty)));
    assert!(prepare_password(&"p".repeat(PASSWORD_BYTES_MAX)).is_ok());
    let long = prepare_password(&"p".repeat(PASSWORD_BYTES_MAX + 1));
    assert_eq!(long, Err(JidError::Password(PartFault::TooLong)));
}

/// §3.2–3.4: 1023 octets after preparation. A domain meets DNS's own limits long before.
#[test]
fn lengths() {
    let full = "x".repeat(JID_PART_BYTES_MAX);
    let over = "x".repeat(JID_PART_BYTES_MAX + 1);
    let long = format!("{full}@example.com/{full}");
    let jid = Jid::parse(&long).expect("longest parts");
    assert_eq!(jid.localpart(), Some(full.as_str()));
    assert_eq!(jid.resourcepart(), Some(full.as_str()));
    assert_eq!(parse(&format!("{over}@example.com")), Err(JidError::Localpart(PartFault::TooLong)));
    assert_eq!(parse(&format!("example.com/{over}")), Err(JidError::Resourcepart(PartFault::TooLong)));

    // Octets, not characters; and what counts is what preparation leaves.
    let wide = "\u{E5}".repeat(511);
    assert!(prepare_localpart(&format!("{wide}x")).is_ok());
    assert_eq!(prepare_localpart(&format!("{wide}xx")), Err(JidError::Localpart(PartFault::TooLong)));
    let decomposed = "a\u{30A}".repeat(511);
    assert!(decomposed.len() > JID_PART_BYTES_MAX);
    assert_eq!(prepare_localpart(&decomposed).as_deref(), Ok(wide.as_str()));
    let huge = "a\u{30A}".repeat(100_000);
    assert_eq!(prepare_localpart(&huge), Err(JidError::Localpart(PartFault::TooLong)));
    assert_eq!(prepare_resourcepart(&huge), Err(JidError::Resourcepart(PartFault::TooLong)));
    assert_eq!(prepare_domainpart(&huge), Err(JidError::Domainpart(PartFault::TooLong)));

    let label = "d".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", "d".repeat(61));
    assert_eq!(prepare_domainpart(&name).as_deref(), Ok(name.as_str()));
    assert_eq!(prepare_domainpart(&format!("{name}d")), Err(JidError::Domainpart(PartFault::TooLong)));
    assert_eq!(prepare_domainpart(&"d".repeat(64)), Err(JidError::Domainpart(PartFault::TooLong)));
}

/// A row of digits of which each must look at all the others.
#[test]
fn contextual_code_points_are_bounded() {
    let pieces =
        ["\u{660}", "\u{6F0}", "l\u{B7}l", "\u{375}\u{3B1}", "\u{5D0}\u{5F3}", "\u{5D0}\u{5F4}", "\u{30A2}\u{30FB}"];
    for piece in pieces.into_iter().chain(["\u{94D}\u{200C}", "\u{94D}\u{200D}"]) {
        assert!(prepare_resourcepart(&piece.repeat(64)).is_ok(), "{piece:?}");
        let more = piece.repeat(65);
        assert_eq!(prepare_resourcepart(&more), Err(JidError::Resourcepart(PartFault::Disallowed)), "{piece:?}");
    }
}

#[test]
fn canonical_input_is_borrowed() {
    let mut scratch = String::new();
    let input = "juliet@example.com/balcony";
    let jid = prepare(input, &mut scratch).expect("canonical");
    assert!(std::ptr::eq(jid.as_str(), input));
    assert_eq!(scratch.capacity(), 0);
}

#[test]
fn with_resource_and_from_parts() {
    let bare = Jid::from_parts(Some("Juliet"), "EXAMPLE.com.", None).expect("parts");
    assert_eq!(bare.as_str(), "juliet@example.com");
    let full = bare.with_resource("b\u{A0}c").expect("resource");
    assert_eq!(full.as_str(), "juliet@example.com/b c");
    assert_eq!(full.with_resource("other").expect("resource").as_str(), "juliet@example.com/other");
    assert_eq!(bare.with_resource(""), Err(JidError::Resourcepart(PartFault::Empty)));
    assert_eq!(full.to_bare(), bare);
    // A part that was given as a part is never split again.
    assert_eq!(Jid::from_parts(Some("a@b"), "c", None), Err(JidError::Localpart(PartFault::Disallowed)));
    assert_eq!(Jid::from_parts(Some(""), "c", None), Err(JidError::Localpart(PartFault::Empty)));
}

#[test]
fn a_map_of_addresses_can_be_asked_with_text() {
    let jid = Jid::parse("juliet@example.com").expect("address");
    let map = std::collections::BTreeMap::from([(jid, 1)]);
    assert_eq!(map.get("juliet@example.com"), Some(&1));
}

/// What garbage is made of: all of ASCII, separators more often, and code points of every troublesome kind.
fn garbage(random: &mut Random, ascii: bool) -> String {
    const WIDE: &[char] = &[
        '\u{DF}',
        '\u{130}',
        '\u{149}',
        '\u{1F0}',
        '\u{345}',
        '\u{390}',
        '\u{3A3}',
        '\u{3C2}',
        '\u{5D0}',
        '\u{5B0}',
        '\u{660}',
        '\u{6F0}',
        '\u{94D}',
        '\u{B7}',
        '\u{200C}',
        '\u{200D}',
        '\u{200B}',
        '\u{AD}',
        '\u{1E9E}',
        '\u{1FBC}',
        '\u{212B}',
        '\u{2163}',
        '\u{2603}',
        '\u{3000}',
        '\u{3002}',
        '\u{30FB}',
        '\u{30A}',
        '\u{301}',
        '\u{AC00}',
        '\u{1100}',
        '\u{1161}',
        '\u{FB01}',
        '\u{FF21}',
        '\u{FF0E}',
        '\u{FF0F}',
        '\u{FF20}',
        '\u{FFFE}',
        '\u{1F600}',
        '\u{1F973}',
        '\u{13A0}',
        '\u{AB70}',
        '\u{10400}',
        '\u{1D15E}',
        '\u{2F800}',
        '\u{E0001}',
        '\u{300}',
        '\u{1D11E}',
        '\u{958}',
        '\u{FB2A}',
        '\u{0F73}',
    ];
    let length = random.next_u64() % 12;
    (0..length)
        .filter_map(|_| {
            let draw = random.next_u64();
            match draw % 8 {
                0 => Some(['@', '/', '.', '-', '[', ']', 'x', 'n'][(draw >> 8) as usize % 8]),
                1 | 2 if !ascii => Some(WIDE[(draw >> 8) as usize % WIDE.len()]),
                3 if !ascii => char::from_u32((draw >> 8) as u32 % 0x11_0000),
                4 | 5 => Some(char::from(b'a' + (draw >> 8) as u8 % 26)),
                _ => Some(char::from((draw >> 8) as u8 % 128)),
            }
        })
        .collect()
}

/// The fast path says nothing that PRECIS and IDNA would not say: every ASCII character, then mixtures.
#[test]
fn the_fast_path_equals_the_slow_path() {
    let check = |text: &str| {
        let fast = prepare_localpart(text).ok();
        assert_eq!(fast, precis::slow_localpart(text).ok(), "localpart {text:?}");
        let fast = prepare_resourcepart(text).ok();
        assert_eq!(fast, precis::slow_resourcepart(text).ok(), "resourcepart {text:?}");
        let fast = prepare_domainpart(text).ok();
        assert_eq!(fast, domain::slow(text).ok(), "domainpart {text:?}");
    };
    for byte in 0..128 {
        let c = char::from(byte);
        for text in [format!("{c}"), format!("a{c}b"), format!("{c}a"), format!("a{c}"), format!("a{c}{c}b")] {
            check(&text);
        }
    }
    let mut random = Random::seeded(0x7622);
    for _ in 0..5_000 {
        check(&garbage(&mut random, true));
    }
}

/// Preparing twice changes nothing, whole and in parts; nothing panics; parts agree with the whole.
#[test]
fn preparation_is_idempotent() {
    let mut random = Random::seeded(0x5222);
    let mut valid = 0;
    for round in 0..20_000 {
        let text = match round % 2 {
            0 => garbage(&mut random, false),
            _ => format!("{}@b.example/{}", garbage(&mut random, false), garbage(&mut random, false)),
        };
        let _ = prepare_password(&text);
        for part in [prepare_localpart(&text), prepare_resourcepart(&text), prepare_domainpart(&text)].iter().flatten()
        {
            assert!(!part.is_empty() && part.len() <= JID_PART_BYTES_MAX);
        }
        let Ok(jid) = Jid::parse(&text) else { continue };
        valid += 1;
        assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "{text:?}");
        let again = Jid::from_parts(jid.localpart(), jid.domainpart(), jid.resourcepart());
        assert_eq!(again.as_ref(), Ok(&jid), "{text:?}");
    }
    assert!(valid > 1_000, "only {valid} of the garbage was valid: the test shows little");
}

/// Rules are applied until they change nothing (RFC 8264 §7): the ano teleia needs it.
#[test]
fn rules_are_applied_again() {
    assert_eq!(prepare_password("\u{387}"), Err(JidError::Password(PartFault::Disallowed)));
    assert_eq!(prepare_resourcepart("l\u{387}l").as_deref(), Ok("l\u{B7}l"));
}
