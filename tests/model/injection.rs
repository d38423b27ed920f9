//! No byte received before TLS changes anything after it.
//!
//! Each run is made twice, with the same seed: once with nothing in the clear but what must be there, once with more
//! before, in, with and behind the request for TLS. What comes out after the flip must be the same to the byte, but for
//! ids and nonces where the injected words had some drawn.
//!
//! CVE-2011-0411 and its class: NO STARTTLS (2021), <https://nostarttls.secvuln.info/>.

use super::bare::{Bare, DOMAIN, End, PASSWORD, policy, settings};
use stonechat::ids::ConnId;
use stonechat::random::Random;
use stonechat::sasl::base64;
use stonechat::stream::DomainPolicy;

const STREAM: &str = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
const TLS_2002: &str = "xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt'";

/// How TLS is asked for.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Rfc6120,
    Xep0035,
}

impl Ask {
    fn header(self) -> String {
        match self {
            Self::Rfc6120 => format!("<stream:stream to='{DOMAIN}' version='1.0' {STREAM}>"),
            Self::Xep0035 => format!("<stream:stream to='{DOMAIN}' {STREAM} {TLS_2002}>"),
        }
    }

    fn request(self) -> &'static str {
        match self {
            Self::Rfc6120 => "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            Self::Xep0035 => "<tls:starttls/>",
        }
    }

    /// Other headers, which say other things about who speaks and how.
    fn other_headers(self) -> Vec<String> {
        let more = [
            "from='mallory@localhost'",
            "from='romeo@localhost/balcony'",
            "xml:lang='de'",
            "xmlns:x='urn:x' xmlns:body='jabber:client'",
            "id='chosen' from='juliet@localhost' xml:lang='tlh'",
        ];
        let declared = match self {
            Self::Rfc6120 => vec![
                "version='1.0'".to_owned(),
                "version='7.12'".to_owned(),
                format!("version='1.0' {TLS_2002} xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms'"),
            ],
            // Under the prefix of the request.
            Self::Xep0035 => vec![
                TLS_2002.to_owned(),
                format!("version='0.9' {TLS_2002}"),
                format!("{TLS_2002} xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms'"),
            ],
        };
        let mut headers = Vec::new();
        for declared in &declared {
            for more in more {
                headers.push(format!("<stream:stream to='{DOMAIN}' {declared} {more} {STREAM}>"));
                // The other dialect's prefix bound to something else, another prefix for the stream.
                headers.push(format!(
                    "<?xml version='1.0'?><s:stream to='{DOMAIN}' {declared} {more} xmlns='jabber:client' \
                     xmlns:s='http://etherx.jabber.org/streams'>"
                ));
            }
        }
        headers
    }

    /// Words that are answered, or not, and leave the stream open.
    fn harmless(self) -> &'static [&'static str] {
        match self {
            Self::Rfc6120 => &[
                " ",
                "\n\t\r\n",
                "<iq xmlns='jabber:client' type='get' id='a'><query xmlns='jabber:iq:auth'><username>romeo</username></query></iq>",
                "<iq type='set' id='a'><query xmlns='jabber:iq:auth'><username>romeo</username>\
                 <password>x</password><resource>r</resource></query></iq>",
                // Behind a refused login iq:auth would end the stream; three are one too many. So these come last.
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>",
                "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>eA==</response>",
                "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            ],
            Self::Xep0035 => &[" ", "\n\t\r\n", "                "],
        }
    }
}

/// What a client does inside TLS: each way to a session, and a word with it.
fn conversations() -> Vec<(&'static str, Vec<String>)> {
    let plain = base64::encode(format!("\0juliet\0{PASSWORD}"));
    let modern = format!("<stream:stream to='{DOMAIN}' version='1.0' {STREAM}>");
    let echo = "<message to='juliet@localhost/r' id='m'><body>&amp;</body></message>".to_owned();
    let query = "<iq type='get' id='q'><query xmlns='jabber:iq:roster'/></iq>".to_owned();
    let session = |password: &str| {
        format!(
            "<iq type='set' id='b'><query xmlns='jabber:iq:auth'><username>juliet</username>{password}\
             <resource>r</resource></query></iq>"
        )
    };
    vec![
        (
            "rfc6120",
            vec![
                modern.clone(),
                format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"),
                modern.clone(),
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>"
                    .into(),
                echo.clone(),
                query.clone(),
            ],
        ),
        (
            "xep-0034",
            vec![
                format!("<stream:stream to='{DOMAIN}' {STREAM} xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms'>"),
                format!("<sasl:auth mechanism='PLAIN'>{plain}</sasl:auth>"),
                session(""),
                echo.clone(),
                query.clone(),
            ],
        ),
        (
            "xep-0078",
            vec![
                format!("<stream:stream to='{DOMAIN}' {STREAM}>"),
                session(&format!("<password>{PASSWORD}</password>")),
                echo,
                query,
            ],
        ),
        // Every attempt that there is inside TLS is there whatever was tried before.
        (
            "three wrong passwords",
            vec![
                modern,
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>".repeat(3),
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>".into(),
            ],
        ),
        // Prefixes of the clear mean nothing here.
        (
            "prefixes",
            vec![format!("<stream:stream to='{DOMAIN}' version='1.0' {STREAM}>"), "<tls:starttls/>".into()],
        ),
    ]
}

/// What a run in the clear came to.
enum Clear {
    /// TLS is on the socket.
    Flipped(Box<Bare>, ConnId),
    Ended(End),
    /// It goes on in the clear.
    Open,
}

/// `segments` in the clear; the last one asks for TLS.
fn in_the_clear(tls_required: bool, segments: &[String]) -> Clear {
    let policy = DomainPolicy { tls_required, sasl_attempts_max: 3, ..policy() };
    let mut bare = Bare::new(policy, settings(), 0x0411);
    let id = bare.connect(false);
    for segment in segments {
        bare.send(id, segment.as_bytes());
    }
    match (bare.end(id), bare.tls(id).0) {
        (Some(end), _) => Clear::Ended(end),
        (None, false) => Clear::Open,
        (None, true) => {
            bare.heard(id);
            Clear::Flipped(Box::new(bare), id)
        }
    }
}

/// All that comes out inside TLS.
fn inside(mut bare: Box<Bare>, id: ConnId, words: &[String]) -> String {
    bare.secure(id);
    let mut heard = String::new();
    for word in words {
        bare.send(id, word.as_bytes());
        while bare.hashing() > 0 {
            bare.hash(true);
        }
        heard.push_str(&bare.heard(id));
        heard.push('\n');
    }
    heard
}

/// Ids and what is drawn are not learnt from the peer.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(" id='") {
        let (id, after) = behind.split_once('\'').unwrap_or_default();
        out.push_str(before);
        out.push_str(if id.len() == 22 { " id=DRAWN" } else { " id=" });
        out.push_str(if id.len() == 22 { "" } else { id });
        rest = after;
    }
    out + rest
}

/// The same words inside TLS behind each of `preludes` as behind the plainest one.
fn assert_nothing_crosses(tls_required: bool, ask: Ask, preludes: &[Vec<String>]) {
    for (name, words) in conversations() {
        let Clear::Flipped(bare, id) = in_the_clear(tls_required, &[ask.header(), ask.request().into()]) else {
            panic!("{ask:?} leads to TLS")
        };
        let plain = inside(bare, id, &words);
        for prelude in preludes {
            let Clear::Flipped(bare, id) = in_the_clear(tls_required, prelude) else {
                panic!("{ask:?}: {prelude:?} does not lead to TLS")
            };
            let found = inside(bare, id, &words);
            assert_eq!(without_ids(&found), without_ids(&plain), "{name} behind {prelude:?}");
            // Before TLS is up each header draws one id, and nothing else is drawn: the very bytes are the same.
            assert!(!tls_required || found == plain, "{name} behind {prelude:?}");
        }
    }
}

#[test]
fn what_stands_in_the_clear_header_is_forgotten() {
    for ask in [Ask::Rfc6120, Ask::Xep0035] {
        for tls_required in [true, false] {
            let preludes: Vec<Vec<String>> =
                ask.other_headers().into_iter().map(|header| vec![header, ask.request().into()]).collect();
            assert_nothing_crosses(tls_required, ask, &preludes);
        }
    }
}

#[test]
fn what_is_said_in_front_of_the_request_is_forgotten() {
    for ask in [Ask::Rfc6120, Ask::Xep0035] {
        let harmless = ask.harmless();
        let mut preludes = Vec::new();
        for seed in 0..12 {
            let mut random = Random::seeded(seed);
            let mut below = |bound: usize| usize::try_from(random.next_u64() % bound as u64).unwrap_or_default();
            let mut prelude = vec![ask.header()];
            for _ in 0..=below(2) {
                prelude.push(harmless[below(harmless.len())].to_owned());
            }
            prelude.sort_by_key(|word| harmless.iter().position(|one| one == word));
            // In front of it in the same segment, or in one of its own.
            match below(2) {
                0 => prelude.push(ask.request().into()),
                _ => {
                    let last = prelude.pop().unwrap_or_default();
                    prelude.push(format!("{last}{}", ask.request()));
                }
            }
            preludes.push(prelude);
        }
        // All in one segment, header included: nothing is behind the request.
        preludes.push(vec![format!("{}{}", ask.header(), ask.request())]);
        assert_nothing_crosses(true, ask, &preludes);
    }
}

/// Behind the request in the same segment: no go-ahead, no TLS, nothing that could be changed.
#[test]
fn what_comes_with_the_request_ends_the_connection() {
    let behind = [
        " ",
        "\n",
        "<",
        "</stream:stream>",
        "<presence/>",
        "<stream:stream to='localhost' version='1.0'>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>",
        "\u{16}\u{3}\u{1}",
        "\0",
    ];
    for ask in [Ask::Rfc6120, Ask::Xep0035] {
        for tls_required in [true, false] {
            for behind in behind {
                let segments = [ask.header(), format!("{}{behind}", ask.request())];
                let Clear::Ended(end) = in_the_clear(tls_required, &segments) else { panic!("{ask:?} {behind:?}") };
                assert_eq!(end, End::FlushAndDrop, "{ask:?} {behind:?}");
                let whole = [segments.concat()];
                assert!(matches!(in_the_clear(tls_required, &whole), Clear::Ended(End::FlushAndDrop)), "{whole:?}");
            }
        }
    }
}

/// Behind it in a segment of its own, before or after the flip: it is no ClientHello, and never XML.
#[test]
fn what_comes_behind_the_request_is_no_xml() {
    for ask in [Ask::Rfc6120, Ask::Xep0035] {
        for behind in ["<presence/>", " ", "</stream:stream>", "<stream:stream to='localhost' version='1.0'>"] {
            for before_flip in [true, false] {
                let mut bare = Bare::new(policy(), settings(), 1);
                bare.drains = false;
                let id = bare.connect(false);
                bare.send(id, ask.header().as_bytes());
                bare.send(id, ask.request().as_bytes());
                if !before_flip {
                    bare.drain(id);
                }
                bare.heard(id);
                bare.send(id, behind.as_bytes());
                bare.drain(id);
                assert_eq!((bare.heard(id).as_str(), bare.end(id)), ("", Some(End::FlushAndDrop)), "{ask:?} {behind}");
                assert_eq!(bare.core.sessions(), 0);
            }
        }
    }
}

/// What the clear header was for does not open, or close, a door inside.
#[test]
fn only_the_header_inside_names_the_domain() {
    let header = Ask::Rfc6120.header().replace(DOMAIN, "elsewhere.example");
    let Clear::Open = in_the_clear(true, &[header]) else { panic!("a stream error leaves time to end the stream") };
    let Clear::Flipped(bare, id) = in_the_clear(true, &[Ask::Rfc6120.header(), Ask::Rfc6120.request().into()]) else {
        panic!("no TLS")
    };
    let elsewhere = Ask::Rfc6120.header().replace(DOMAIN, "elsewhere.example");
    assert!(inside(bare, id, &[elsewhere]).contains("<host-unknown"));
}
