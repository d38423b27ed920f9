//! The scanner on hand-made cases: one row a case, each fed whole, byte by byte and in seeded cuts.
//!
//! A verdict lists what came out: `header`, `frame`, `space`, `end`, then `…` if bytes are left over or
//! `Fault@offset` with the byte, counted from the start of the input, at which the fault was reported.

use stonechat::xml::{Expect, Scan, Step, StreamNs, XmlError, XmlLimits};

/// Small bounds, so that the cases that break them stay readable.
const LIMITS: XmlLimits = XmlLimits {
    frame_bytes_max: 400,
    tag_bytes_max: 200,
    depth_max: 4,
    attributes_max: 5,
    namespaces_max: 3,
    elements_max: 8,
};

/// How the bytes arrive.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    EveryByte,
    Seeded(u64),
}

impl Cut {
    /// The size of the next read.
    fn next(&mut self, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::EveryByte => 1,
            Self::Seeded(state) => {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (1 + (*state >> 33) as usize % 13).min(left)
            }
        }
    }
}

/// Feeds `input` as `cut` says and tells what came out.
fn verdict(input: &[u8], expect: Expect, mut cut: Cut) -> String {
    let (mut scan, mut ns, mut expect) = (Scan::default(), StreamNs::standard().clone(), expect);
    let (mut item, mut read) = (0, 0);
    let mut words: Vec<String> = Vec::new();
    loop {
        match scan.step(&input[item..read], expect, &ns, &LIMITS) {
            Ok(Step::Incomplete) if read < input.len() => read += cut.next(input.len() - read),
            Ok(Step::Incomplete) => break,
            Ok(step) => {
                let (word, len) = match step {
                    Step::Header { len } => {
                        ns = StreamNs::from_header(scan.head(), &input[item..read]);
                        expect = Expect::Frames;
                        ("header", len)
                    }
                    Step::Frame { len } => ("frame", len),
                    Step::StreamEnd { len } => ("end", len),
                    Step::Whitespace { len } => ("space", len),
                    Step::Incomplete => unreachable!(),
                };
                if !(word == "space" && words.last().is_some_and(|last| last == word)) {
                    words.push(word.to_owned());
                }
                item += len;
            }
            Err(error) => {
                assert_eq!(scan.step(&input[item..read], expect, &ns, &LIMITS), Err(error), "a fault stays");
                words.push(format!("{}@{}", variant(error), item as u32 + error.offset()));
                return words.join(" ");
            }
        }
    }
    if item < input.len() {
        words.push("…".to_owned());
    }
    words.join(" ")
}

fn variant(error: XmlError) -> String {
    format!("{error:?}").split(' ').next().unwrap_or_default().to_owned()
}

fn check(cases: &[(&str, &[u8], &str)], expect: Expect) {
    let mut failures = Vec::new();
    for &(name, input, expected) in cases {
        for cut in [Cut::Whole, Cut::EveryByte, Cut::Seeded(0x5222), Cut::Seeded(7), Cut::Seeded(35)] {
            let found = verdict(input, expect, cut);
            if found != expected {
                failures.push(format!("{name}, {cut:?}: expected {expected}, found {found}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn frames() {
    check(FRAMES, Expect::Frames);
}

#[test]
fn headers() {
    check(HEADERS, Expect::Header);
}

#[test]
fn there_are_many_cases_with_names_of_their_own() {
    let mut names: Vec<_> = FRAMES.iter().chain(HEADERS).map(|case| case.0).collect();
    assert!(names.len() >= 150, "{}", names.len());
    names.sort_unstable();
    assert_eq!(names.windows(2).find(|pair| pair[0] == pair[1]), None);
}

/// On a stream with the usual header: default namespace jabber:client, prefix stream.
const FRAMES: &[(&str, &[u8], &str)] = &[
    // What is fine.
    ("empty input", b"", ""),
    ("empty element", b"<a/>", "frame"),
    ("empty element, spaced", b"<a />", "frame"),
    ("start and end tag", b"<a></a>", "frame"),
    ("end tag with white space", b"<a></a\t\r\n >", "frame"),
    ("text", b"<a>text</a>", "frame"),
    ("nested", b"<a><b/><c>d</c></a>", "frame"),
    ("message", b"<message to='a@b' type=\"chat\"><body>Hi &amp; bye</body></message>", "frame"),
    ("two frames", b"<a/><b/>", "frame frame"),
    ("white space between frames", b"<a/> \r\n\t<b/>\n", "frame space frame space"),
    ("white space only", b" \n", "space"),
    ("the stream's end", b"</stream:stream>", "end"),
    ("the stream's end, spaced", b"</stream:stream \n>", "end"),
    ("frame and end", b"<a/>\n</stream:stream>", "frame space end"),
    ("attribute with white space around =", b"<a b \n=\t'c'/>", "frame"),
    ("attributes over lines", b"<a\nb='c'\r\n\td='e'\n/>", "frame"),
    ("other quote in value", b"<a b='\"' c=\"'\"/>", "frame"),
    ("> in value", b"<a b='>'/>", "frame"),
    ("]]> in value", b"<a b=']]>'/>", "frame"),
    ("> in text", b"<a>></a>", "frame"),
    ("]> in text", b"<a>]></a>", "frame"),
    ("]] in text", b"<a>]]</a>", "frame"),
    ("]]&gt; in text", b"<a>]]&gt;</a>", "frame"),
    ("five entities", b"<a b='&amp;&lt;&gt;&apos;&quot;'>&amp;&lt;&gt;&apos;&quot;</a>", "frame"),
    ("character references", b"<a b='&#9;&#xa;&#xD;'>&#65;&#x41;&#x1F600;&#x10FFFF;</a>", "frame"),
    ("C1 references", b"<a>&#x80;&#133;&#x9F;</a>", "frame"),
    ("reference with zeros", b"<a>&#x000000000041;</a>", "frame"),
    ("raw white space in value", b"<a b='\t\r\n'/>", "frame"),
    ("CDATA", b"<a><![CDATA[<b>&nbsp;]]</a>]]></a>", "frame"),
    ("empty CDATA", b"<a><![CDATA[]]></a>", "frame"),
    ("CDATA with brackets", b"<a><![CDATA[]]]]]]></a>", "frame"),
    ("CDATA twice, split end", b"<a><![CDATA[]]]]><![CDATA[>]]></a>", "frame"),
    ("CDATA with ]> and >", b"<a><![CDATA[]>]]>></a>", "frame"),
    ("two-byte characters", "<a b='é'>ñ\u{80}\u{7FF}</a>".as_bytes(), "frame"),
    ("three-byte characters", "<a b='€'>\u{800}\u{D7FF}\u{E000}\u{FFFD}</a>".as_bytes(), "frame"),
    ("four-byte characters", "<a b='😀'>\u{10000}\u{1FFFE}\u{10FFFF}</a>".as_bytes(), "frame"),
    ("U+007F and U+0085", "<a>\u{7F}\u{85}\u{2028}</a>".as_bytes(), "frame"),
    ("U+FEFF inside a frame", "<a>\u{FEFF}</a>".as_bytes(), "frame"),
    ("names in other scripts", "<été ñ='1'><имя.1/><名/></été>".as_bytes(), "frame"),
    ("name punctuation", b"<_a-b.c1 _='1'/>", "frame"),
    ("combining mark inside a name", "<a\u{300}\u{B7}/>".as_bytes(), "frame"),
    ("stream prefix from the header", b"<stream:error><a/></stream:error>", "frame"),
    ("prefix bound on the tag", b"<p:a xmlns:p='urn:p'/>", "frame"),
    ("prefix bound behind its use", b"<a p:b='1' xmlns:p='urn:p'/>", "frame"),
    ("prefix bound outside", b"<a xmlns:p='urn:p'><p:b p:c='1'/></a>", "frame"),
    ("prefix bound again inside", b"<a xmlns:p='u:1'><b xmlns:p='u:2'><p:c/></b><p:d/></a>", "frame"),
    ("default namespace taken away", b"<a xmlns='u'><b xmlns=''/></a>", "frame"),
    ("xml:lang", b"<a xml:lang='en'/>", "frame"),
    ("xml prefix on an element", b"<xml:a/>", "frame"),
    ("xml declared rightly", b"<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "frame"),
    ("same local name in two namespaces", b"<a xmlns:p='u:p' xmlns:q='u:q' b='1' p:b='2' q:b='3'/>", "frame"),
    ("attribute p:xmlns", b"<a xmlns:p='u:p' p:xmlns='v'/>", "frame"),
    ("names beginning with xml", b"<xmla xmlb='1' xmlnsc='2'/>", "frame"),
    ("same attribute on parent and child", b"<a b='1'><c b='1'/></a>", "frame"),
    ("four deep", b"<a><b><c><d/></c></b></a>", "frame"),
    ("five attributes", b"<a b='1' c='2' d='3' e='4' f='5'/>", "frame"),
    ("eight elements", b"<a><b/><b/><b/><b/><b/><b/><b/></a>", "frame"),
    ("declarations one behind the other", b"<a><b xmlns='1'/><b xmlns='2'/><b xmlns='3'/><b xmlns='4'/></a>", "frame"),
    ("three declarations in scope", b"<a xmlns='1'><b xmlns:p='2' xmlns:q='3'/></a>", "frame"),
    // What is not complete.
    ("cut: <", b"<", "…"),
    ("cut: name", b"<a", "…"),
    ("cut: prefix", b"<a:", "…"),
    ("cut: attribute name", b"<a b", "…"),
    ("cut: =", b"<a b =", "…"),
    ("cut: value", b"<a b='c>", "…"),
    ("cut: empty tag", b"<a/", "…"),
    ("cut: text", b"<a>b", "…"),
    ("cut: character", b"<a>\xE2\x82", "…"),
    ("cut: character in a name", b"<a\xC3", "…"),
    ("cut: entity", b"<a>&am", "…"),
    ("cut: reference", b"<a>&#x4", "…"),
    ("cut: CDATA opening", b"<a><![CDAT", "…"),
    ("cut: CDATA", b"<a><![CDATA[]]", "…"),
    ("cut: end tag", b"<a></a", "…"),
    ("cut: end tag's white space", b"<a></a ", "…"),
    ("cut: the stream's end", b"</stream:str", "…"),
    ("cut: missing end tag", b"<a><b></b>", "…"),
    ("cut: <!", b"<a><!", "…"),
    // Tags.
    ("mismatched end tag", b"<a><b></a>", "MismatchedTag@8"),
    ("overlapping tags", b"<a><b></a></b>", "MismatchedTag@8"),
    ("end tag in another case", b"<a></A>", "MismatchedTag@5"),
    ("end tag too long", b"<a></ab>", "MismatchedTag@6"),
    ("end tag too short", b"<ab></a>", "MismatchedTag@7"),
    ("end tag with the prefix missing", b"<p:a xmlns:p='u'></a>", "MismatchedTag@19"),
    ("end tag with another prefix of the namespace", b"<p:a xmlns:p='u' xmlns:q='u'></q:a>", "MismatchedTag@31"),
    ("end tag with a space in front", b"<a></ a>", "MismatchedTag@5"),
    ("end tag without name", b"<a></>", "MismatchedTag@5"),
    ("end tag with an attribute", b"<a></a b='1'>", "NotWellFormed@7"),
    ("end tag closed twice", b"<a></a/>", "MismatchedTag@6"),
    ("stray end tag", b"</a>", "MismatchedTag@2"),
    ("the stream's end without prefix", b"</stream>", "MismatchedTag@8"),
    ("the stream's end with another prefix", b"</flood:stream>", "MismatchedTag@2"),
    ("the stream's end, too long", b"</stream:streams>", "MismatchedTag@15"),
    ("the stream's end inside a frame", b"<a></stream:stream>", "MismatchedTag@5"),
    ("the stream's end with an attribute", b"</stream:stream a='b'>", "NotWellFormed@16"),
    ("no name", b"<>", "BadName@1"),
    ("space before the name", b"< a/>", "BadName@1"),
    ("two <", b"<<a/>", "BadName@1"),
    ("space inside />", b"<a / >", "NotWellFormed@4"),
    ("attribute behind /", b"<a/ b='1'>", "NotWellFormed@3"),
    ("/ in the middle", b"<a /b>", "NotWellFormed@4"),
    ("< inside a tag", b"<a <b/>", "BadName@3"),
    ("< behind a name", b"<a<b/>", "NotWellFormed@2"),
    ("= behind a name", b"<a='b'/>", "NotWellFormed@2"),
    ("quote behind a name", b"<a\"b>", "NotWellFormed@2"),
    ("form feed as white space", b"<a\x0Cb='c'/>", "NotWellFormed@2"),
    ("NUL in a tag", b"<a \x00/>", "BadName@3"),
    // Names.
    ("name begins with a digit", b"<1a/>", "BadName@1"),
    ("name begins with -", b"<-a/>", "BadName@1"),
    ("name begins with .", b"<a .b='1'/>", "BadName@3"),
    ("name begins with a colon", b"<:a/>", "BadName@1"),
    ("attribute begins with a colon", b"<a :b='1'/>", "BadName@3"),
    ("name ends with a colon", b"<a:/>", "BadName@3"),
    ("two colons", b"<a:b:c/>", "BadName@4"),
    ("two colons together", b"<a::c/>", "BadName@3"),
    ("local part begins with a digit", b"<p:1b xmlns:p='u'/>", "BadName@3"),
    ("percent in a name", b"<a%b/>", "NotWellFormed@2"),
    ("name begins with a combining mark", "<\u{300}a/>".as_bytes(), "BadName@1"),
    ("multiplication sign in a name", "<a\u{D7}/>".as_bytes(), "BadName@2"),
    ("en quad in a name", "<a\u{2000}b='1'/>".as_bytes(), "BadName@2"),
    ("bad UTF-8 in a name", b"<a\xFF/>", "BadUtf8@2"),
    // Attributes.
    ("value without quotes", b"<a b=1/>", "NotWellFormed@5"),
    ("no value", b"<a b/>", "NotWellFormed@4"),
    ("no value, more attributes", b"<a b c='1'/>", "NotWellFormed@5"),
    ("= without value", b"<a b=>", "NotWellFormed@5"),
    ("no space between attributes", b"<a b='1'c='2'/>", "NotWellFormed@8"),
    ("< in a value", b"<a b='<'/>", "NotWellFormed@6"),
    ("other quote closes", b"<a b='1\"/></a>", "NotWellFormed@10"),
    ("control character in a value", b"<a b='\x01'/>", "BadCharacter@6"),
    ("bare & in a value", b"<a b='x&y=1'/>", "NotWellFormed@9"),
    ("duplicate attribute", b"<a b='1' b='2'/>", "DuplicateAttribute@10"),
    ("duplicate behind others", b"<a b='1' c='1' b='1'/>", "DuplicateAttribute@16"),
    ("duplicate prefixed attribute", b"<a xmlns:p='u' p:b='1' p:b='2'/>", "DuplicateAttribute@26"),
    ("duplicate by expanded name", b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "DuplicateAttribute@43"),
    (
        "duplicate by expanded name, late binding",
        b"<a p:b='1' q:b='2' xmlns:p='u' xmlns:q='u'/>",
        "DuplicateAttribute@43",
    ),
    (
        "duplicate by expanded name, escaped",
        b"<a xmlns:p='u' xmlns:q='&#117;' p:b='' q:b=''/>",
        "DuplicateAttribute@46",
    ),
    (
        "duplicate by expanded name, header prefix",
        b"<a xmlns:s='http://etherx.jabber.org/streams' s:b='1' stream:b='2'/>",
        "DuplicateAttribute@67",
    ),
    (
        "duplicate by expanded name, xml declared",
        b"<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:a='1' xml:a='2'/>",
        "DuplicateAttribute@67",
    ),
    ("two default declarations", b"<a xmlns='u' xmlns='v'/>", "DuplicateAttribute@18"),
    ("two declarations of a prefix", b"<a xmlns:p='u' xmlns:p='v'/>", "DuplicateAttribute@22"),
    // Namespaces.
    ("unbound prefix", b"<p:a/>", "NamespaceFault@5"),
    ("unbound prefix on an attribute", b"<a p:b='1'/>", "NamespaceFault@11"),
    ("prefix bound on a sibling", b"<a><b xmlns:p='u'/><p:c/></a>", "NamespaceFault@24"),
    ("prefix bound inside a sibling", b"<a><b xmlns:p='u'></b><p:c/></a>", "NamespaceFault@27"),
    ("prefix bound in the frame before", b"<a xmlns:p='u'/><p:b/>", "frame NamespaceFault@21"),
    ("xmlns as element prefix", b"<xmlns:a/>", "NamespaceFault@9"),
    ("xmlns:xmlns", b"<a xmlns:xmlns='u'/>", "NamespaceFault@17"),
    ("xmlns:xmlns with its own name", b"<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", "NamespaceFault@45"),
    ("xmlns:xml with another name", b"<a xmlns:xml='u'/>", "NamespaceFault@15"),
    ("another prefix for xml", b"<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", "NamespaceFault@48"),
    ("xml as default", b"<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "NamespaceFault@46"),
    ("xml as default, escaped", b"<a xmlns='http://www.w3.org/XML/1998/n&#x61;mespace'/>", "NamespaceFault@51"),
    ("xmlns as default", b"<a xmlns='http://www.w3.org/2000/xmlns/'/>", "NamespaceFault@39"),
    ("a prefix for xmlns", b"<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", "NamespaceFault@41"),
    ("prefix bound to nothing", b"<a xmlns:p=''/>", "NamespaceFault@12"),
    // Characters and references.
    ("control character in text", b"<a>\x01</a>", "BadCharacter@3"),
    ("NUL in text", b"<a>\x00</a>", "BadCharacter@3"),
    ("escape in text", b"<a>b\x1B</a>", "BadCharacter@4"),
    ("U+FFFE in text", b"<a>\xEF\xBF\xBE</a>", "BadCharacter@5"),
    ("U+FFFF in text", b"<a>\xEF\xBF\xBF</a>", "BadCharacter@5"),
    ("U+FFFF in CDATA", b"<a><![CDATA[\xEF\xBF\xBF]]></a>", "BadCharacter@14"),
    ("control character in CDATA", b"<a><![CDATA[\x08]]></a>", "BadCharacter@12"),
    ("overlong two bytes", b"<a>\xC0\xAF</a>", "BadUtf8@3"),
    ("overlong three bytes", b"<a>\xE0\x80\xAF</a>", "BadUtf8@4"),
    ("overlong four bytes", b"<a>\xF0\x80\x80\xAF</a>", "BadUtf8@4"),
    ("surrogate", b"<a>\xED\xA0\x80</a>", "BadUtf8@4"),
    ("surrogate pair", b"<a>\xED\xA0\xBD\xED\xB8\x80</a>", "BadUtf8@4"),
    ("beyond U+10FFFF", b"<a>\xF4\x90\x80\x80</a>", "BadUtf8@4"),
    ("five-byte form", b"<a>\xF8\x88\x80\x80\x80</a>", "BadUtf8@3"),
    ("lone continuation byte", b"<a>\x80</a>", "BadUtf8@3"),
    ("Latin-1", b"<a>\xE9t\xE9</a>", "BadUtf8@4"),
    ("character cut by a tag", b"<a>\xE2\x82</a>", "BadUtf8@5"),
    ("bad UTF-8 in a value", b"<a b='\xC3'/>", "BadUtf8@7"),
    ("bare & in text", b"<a>a & b</a>", "NotWellFormed@6"),
    ("&;", b"<a>&;</a>", "NotWellFormed@4"),
    ("& before <", b"<a>&</a>", "NotWellFormed@4"),
    ("entity without ;", b"<a>&amp </a>", "NotWellFormed@7"),
    ("HTML entity", b"<a>&nbsp;</a>", "Restricted@8"),
    ("entity in capitals", b"<a>&AMP;</a>", "Restricted@7"),
    ("unknown entity in a value", b"<a b='&foo;'/>", "Restricted@10"),
    ("entity that begins like one of the five", b"<a>&ampere;</a>", "Restricted@10"),
    ("HTML entity without ;", b"<a>&copy </a>", "NotWellFormed@8"),
    ("endless entity name", b"<a>&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;</a>", "Restricted@35"),
    ("reference without digits", b"<a>&#;</a>", "NotWellFormed@5"),
    ("reference without hex digits", b"<a>&#x;</a>", "NotWellFormed@6"),
    ("reference with capital X", b"<a>&#X41;</a>", "NotWellFormed@5"),
    ("reference without ;", b"<a>&#65 </a>", "NotWellFormed@7"),
    ("reference with a hex digit in decimal", b"<a>&#6F;</a>", "NotWellFormed@6"),
    ("reference with a sign", b"<a>&#+65;</a>", "NotWellFormed@5"),
    ("reference to NUL", b"<a>&#0;</a>", "BadCharacter@6"),
    ("reference to U+0001", b"<a>&#1;</a>", "BadCharacter@6"),
    ("reference to a surrogate", b"<a>&#xD800;</a>", "BadCharacter@10"),
    ("reference to U+FFFE", b"<a>&#xFFFE;</a>", "BadCharacter@10"),
    ("reference beyond U+10FFFF", b"<a>&#x110000;</a>", "BadCharacter@11"),
    ("reference that overflows", b"<a>&#99999999999;</a>", "BadCharacter@11"),
    ("endless reference", b"<a>&#0000000000000000000000000000000000065;</a>", "TagTooLong@35"),
    ("]]> in text", b"<a>]]></a>", "NotWellFormed@5"),
    ("]]]> in text", b"<a>b]]]></a>", "NotWellFormed@7"),
    ("CDATA in lower case", b"<a><![cdata[]]></a>", "NotWellFormed@6"),
    ("CDATA with a space", b"<a><! [CDATA[]]></a>", "NotWellFormed@5"),
    // RFC 6120 section 11.1.
    ("comment", b"<a><!-- b --></a>", "Restricted@6"),
    ("comment between frames", b"<a/><!-- b -->", "frame Restricted@7"),
    ("half a comment", b"<a><!-b></a>", "NotWellFormed@6"),
    ("processing instruction", b"<a><?b c?></a>", "Restricted@4"),
    ("processing instruction between frames", b"<?b c?>", "Restricted@1"),
    ("XML declaration between frames", b"<?xml version='1.0'?><a/>", "Restricted@1"),
    ("document type", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", "Restricted@2"),
    ("entity declaration", b"<a><!ENTITY b 'c'></a>", "Restricted@5"),
    ("<!>", b"<a><!></a>", "NotWellFormed@5"),
    // Between frames.
    ("text between frames", b"<a/>b<c/>", "frame NotWellFormed@4"),
    ("text instead of a frame", b"GET / HTTP/1.1", "NotWellFormed@0"),
    ("TLS record instead of a frame", b"\x16\x03\x01", "NotWellFormed@0"),
    ("NUL between frames", b"<a/>\x00", "frame NotWellFormed@4"),
    ("byte order mark between frames", b"<a/>\xEF\xBB\xBF<b/>", "frame NotWellFormed@4"),
    ("CDATA between frames", b"<![CDATA[ ]]>", "NotWellFormed@2"),
    ("reference between frames", b"&#32;", "NotWellFormed@0"),
    // Bounds.
    ("five deep", b"<a><b><c><d><e/></d></c></b></a>", "TooDeep@13"),
    ("six attributes", b"<a b='1' c='2' d='3' e='4' f='5' g='6'/>", "TooManyAttributes@33"),
    (
        "four declarations in scope",
        b"<a xmlns='1'><b xmlns:p='2'><c xmlns:q='3' xmlns:r='4'/></b></a>",
        "TooManyNamespaces@53",
    ),
    ("nine elements", b"<a><b/><b/><b/><b/><b/><b/><b/><b/></a>", "TooManyElements@32"),
    ("tag of 200 bytes", &padded::<200>(b"<a b='", b'x', b"'/>"), "frame"),
    ("tag of 201 bytes", &padded::<201>(b"<a b='", b'x', b"'/>"), "TagTooLong@200"),
    ("endless tag", &padded::<306>(b"<a b='", b'x', b""), "TagTooLong@200"),
    ("endless name", &padded::<301>(b"<", b'x', b""), "TagTooLong@200"),
    ("endless white space in a tag", &padded::<302>(b"<a", b' ', b""), "TagTooLong@200"),
    ("endless white space in an end tag", &padded::<306>(b"<a></a", b' ', b""), "TagTooLong@203"),
    ("frame of 400 bytes", &padded::<400>(b"<a>", b'x', b"</a>"), "frame"),
    ("frame of 401 bytes", &padded::<401>(b"<a>", b'x', b"</a>"), "TooLong@400"),
    ("endless text", &padded::<503>(b"<a>", b'x', b""), "TooLong@400"),
    ("a fault before the bound wins", &padded::<505>(b"<a>&;", b'x', b""), "NotWellFormed@4"),
    ("a fault behind the bound is not seen", &padded::<504>(b"<a>", b'x', b"\x01"), "TooLong@400"),
    ("white space has no bound", &[b' '; 1000], "space"),
];

/// At the start of a stream.
const HEADERS: &[(&str, &[u8], &str)] = &[
    ("usual header", b"<?xml version='1.0'?><stream:stream to='a' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><a/></stream:stream>", "header frame end"),
    ("header without declaration", b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>", "header"),
    ("header with a default namespace only", b"<stream xmlns='http://etherx.jabber.org/streams'><a/></stream>", "header frame end"),
    ("header with another prefix", b"<flood:stream xmlns:flood='http://etherx.jabber.org/streams'><flood:a/></flood:stream>", "header frame end"),
    ("the prefix of another header", b"<flood:stream xmlns:flood='http://etherx.jabber.org/streams'><stream:a/>", "header NamespaceFault@71"),
    ("prefix from the header", b"<s:stream xmlns:s='u:s' xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt'><tls:starttls/>", "header frame"),
    ("duplicate by expanded name across header and frame", b"<s:stream xmlns:s='u:&amp;'><a xmlns:t='u:&#38;' s:b='1' t:b='2'/>", "header DuplicateAttribute@65"),
    ("header named by another word", b"<s:flood xmlns:s='u:s'><a/>", "header frame"),
    ("header behind white space", b"\r\n <?xml version='1.0'?>\n<s:stream xmlns:s='u:s'>", "space header"),
    ("declaration in double quotes", b"<?xml version=\"1.0\" encoding=\"UTF-8\" ?><a>", "header"),
    ("declaration with white space around =", b"<?xml\tversion = '1.0'\nencoding\r=\n'utf-8'?><a>", "header"),
    ("declaration of a later version", b"<?xml version='1.15'?><a>", "header"),
    ("white space behind the declaration", b"<?xml version='1.0'?> \r\n\t<a>", "header"),
    ("header over lines", b"<a\n  xmlns='b'\n  >", "header"),
    ("cut: declaration", b"<?xml version='1", "…"),
    ("cut: <?", b"<?", "…"),
    ("cut: behind the declaration", b"<?xml version='1.0'?>\n", "…"),
    ("cut: header", b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' ", "…"),
    ("empty header", b"<a/>", "NotWellFormed@2"),
    ("empty header, spaced", b"<a />", "NotWellFormed@3"),
    ("header with an unbound prefix", b"<stream:stream xmlns='jabber:client'>", "NamespaceFault@36"),
    ("end tag first", b"</stream:stream>", "NotWellFormed@1"),
    ("declaration twice", b"<?xml version='1.0'?><?xml version='1.0'?><a>", "Restricted@22"),
    ("processing instruction first", b"<?xml-stylesheet href='a'?><a>", "Restricted@5"),
    ("processing instruction behind the declaration", b"<?xml version='1.0'?><?a?><b>", "Restricted@22"),
    ("another processing instruction first", b"<?php ?><a>", "Restricted@2"),
    ("document type first", b"<?xml version='1.0'?><!DOCTYPE a><a>", "Restricted@23"),
    ("comment first", b"<!-- a --><b>", "Restricted@3"),
    ("CDATA first", b"<![CDATA[a]]>", "NotWellFormed@2"),
    ("standalone", b"<?xml version='1.0' standalone='yes'?><a>", "Restricted@29"),
    ("standalone behind encoding", b"<?xml version='1.0' encoding='UTF-8' standalone='no'?><a>", "Restricted@46"),
    ("standalone without white space", b"<?xml version='1.0'standalone='no'?><a>", "NotWellFormed@19"),
    ("encoding without white space", b"<?xml version='1.0'encoding='UTF-8'?><a>", "NotWellFormed@19"),
    ("Latin-1 declared", b"<?xml version='1.0' encoding='ISO-8859-1'?><a>", "UnsupportedEncoding@40"),
    ("UTF-16 declared", b"<?xml version='1.0' encoding='UTF-16'?><a>", "UnsupportedEncoding@36"),
    ("empty encoding", b"<?xml version='1.0' encoding=''?><a>", "NotWellFormed@30"),
    ("encoding before version", b"<?xml encoding='UTF-8'?><a>", "NotWellFormed@6"),
    ("no version", b"<?xml ?><a>", "NotWellFormed@6"),
    ("version 2", b"<?xml version='2.0'?><a>", "NotWellFormed@15"),
    ("version without digits", b"<?xml version='1.'?><a>", "NotWellFormed@17"),
    ("declaration in capitals", b"<?XML version='1.0'?><a>", "Restricted@2"),
    ("declaration ends badly", b"<?xml version='1.0'><a>", "NotWellFormed@19"),
    ("declaration without end", &padded::<300>(b"<?xml version='1.0'", b' ', b"?><a>"), "TagTooLong@256"),
    ("text behind the declaration", b"<?xml version='1.0'?>a<b>", "NotWellFormed@21"),
    ("byte order mark", b"\xEF\xBB\xBF<a>", "NotWellFormed@0"),
    ("UTF-16 bytes", b"\xFF\xFE<\x00", "UnsupportedEncoding@0"),
    ("TLS record", b"\x16\x03\x01\x02\x00", "NotWellFormed@0"),
    ("HTTP request", b"GET / HTTP/1.1\r\n", "NotWellFormed@0"),
    ("UTF-16 without a mark", b"\x00<\x00s", "UnsupportedEncoding@0"),
    ("xmlns:xmlns in the header", b"<a xmlns:xmlns='u'>", "NamespaceFault@17"),
    ("too many declarations in the header", b"<a xmlns='1' xmlns:b='2' xmlns:c='3' xmlns:d='4'>", "TooManyNamespaces@47"),
    ("header too long", &padded::<250>(b"<a b='", b'x', b"'>"), "TagTooLong@200"),
    ("white space behind the declaration without end", &padded::<450>(b"<?xml version='1.0'?>", b' ', b"<a>"), "TooLong@400"),
];

/// `front` and `back` with `fill` between them, `N` bytes in all.
const fn padded<const N: usize>(front: &[u8], fill: u8, back: &[u8]) -> [u8; N] {
    let mut bytes = [fill; N];
    let mut index = 0;
    while index < front.len() {
        bytes[index] = front[index];
        index += 1;
    }
    index = 0;
    while index < back.len() {
        bytes[N - back.len() + index] = back[index];
        index += 1;
    }
    bytes
}
