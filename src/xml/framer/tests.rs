//! Resumption, restart, and what a scan keeps.

use super::*;
use crate::xml::{ATTRIBUTES_MAX, CHILDREN_KEPT_MAX, DEPTH_MAX, NAMESPACES_MAX};

const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(1 << 20);

/// Feeds `bytes` one by one; every step but the last is incomplete.
fn trickle(bytes: &[u8]) -> Result<Step, XmlError> {
    let mut scan = Scan::default();
    for len in 1..bytes.len() {
        let step = scan.step(&bytes[..len], Expect::Frames, StreamNs::standard(), &LIMITS);
        assert_eq!(step, Ok(Step::Incomplete), "after {len} bytes");
    }
    scan.step(bytes, Expect::Frames, StreamNs::standard(), &LIMITS)
}

/// Each of these would take minutes if a byte were looked at again for every byte behind it.
#[test]
fn bytes_that_trickle_in_are_not_read_again() {
    let long = "x".repeat(300_000);
    for text in [
        format!("<a>{long}</a>"),
        format!("<a>{}</a>", long.replace('x', " ")),
        format!("<a>{}</a>", long.replace('x', "é")),
        format!("<a><![CDATA[{long}]]></a>"),
        format!("<a>{}</a>", "<b c='d'/>".repeat(9_000)),
    ] {
        assert_eq!(trickle(text.as_bytes()), Ok(Step::Frame { len: text.len() }));
    }
}

/// Thirty namespaces that differ in their last byte only, and a thousand tags that use all: minutes of work if
/// namespaces were compared for each pair of attributes.
#[test]
fn many_attributes_of_one_name_in_long_namespaces() {
    let long = format!("&amp;{}", "u".repeat(200));
    let tag = |n: u32| format!("<a{n} xmlns:p{n}='{long}{n}'>");
    let open: String = (10..40).map(tag).collect();
    let close: String = (10..40).rev().map(|n| format!("</a{n}>")).collect();
    let attrs: String = (10..40).map(|n| format!(" p{n}:b=''")).collect();
    let frame = format!("{open}{}{close}", format!("<c{attrs}/>").repeat(1_000));
    let mut scan = Scan::default();
    let step = scan.step(frame.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
    assert_eq!(step, Ok(Step::Frame { len: frame.len() }));
    let twice = format!("{open}<c{attrs} xmlns:q='&#38;{}39' q:b=''/>{close}", "u".repeat(200));
    let step = scan.step(twice.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
    assert!(matches!(step, Err(XmlError::DuplicateAttribute { .. })), "{step:?}");
}

#[test]
fn a_restart_forgets_half_an_item_and_a_fault() {
    let (mut scan, ns) = (Scan::default(), StreamNs::standard());
    assert_eq!(scan.step(b"<a xmlns:p='u'><b", Expect::Frames, ns, &LIMITS), Ok(Step::Incomplete));
    scan.restart();
    assert_eq!(scan.step(b"<c/>", Expect::Frames, ns, &LIMITS), Ok(Step::Frame { len: 4 }));
    let fault = Err(XmlError::MismatchedTag { offset: 5 });
    assert_eq!(scan.step(b"<d></e", Expect::Frames, ns, &LIMITS), fault);
    assert_eq!(scan.step(b"<d></d>", Expect::Frames, ns, &LIMITS), fault, "spent until it is restarted");
    scan.restart();
    assert_eq!(scan.step(b"<d></d>", Expect::Frames, ns, &LIMITS), Ok(Step::Frame { len: 7 }));
}

#[test]
fn an_idle_scan_holds_no_heap_and_a_used_one_not_more_than_its_bounds_allow() {
    let mut scan = Scan::default();
    assert_eq!(scan.heap_bytes(), 0);
    let attrs: String = (0..ATTRIBUTES_MAX - NAMESPACES_MAX).map(|n| format!(" a{n}=''")).collect();
    let namespaces: String = (0..NAMESPACES_MAX).map(|n| format!(" xmlns:n{n}='u'")).collect();
    let deep = format!("<a{attrs}{namespaces}>").repeat(usize::from(DEPTH_MAX));
    let result = scan.step(deep.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
    assert!(matches!(result, Err(XmlError::TooManyNamespaces { .. })), "{result:?}");
    let wide = format!("<a{attrs}{namespaces}>{}</a>", format!("<b{attrs}/>").repeat(100));
    scan.restart();
    let result = scan.step(wide.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
    assert_eq!(result, Ok(Step::Frame { len: wide.len() }));
    let columns = 2 * usize::from(ATTRIBUTES_MAX) * size_of::<Attr>()
        + CHILDREN_KEPT_MAX * size_of::<Child>()
        + usize::from(DEPTH_MAX) * size_of::<Open>()
        + usize::from(NAMESPACES_MAX) * (size_of::<Binding>() + size_of::<Span>());
    assert!(scan.heap_bytes() <= columns, "{} > {columns}", scan.heap_bytes());
    assert!(columns < 6 * 1024 && size_of::<Scan>() <= 384, "{columns} {}", size_of::<Scan>());
}

/// A client that opens a stream inside its stream waits for an answer: it must not wait for an end tag.
#[test]
fn a_header_among_frames_is_seen_at_once() {
    let mut scan = Scan::default();
    let streams = "http://etherx.jabber.org/streams";
    for header in [
        "<stream:stream to='a'>".to_owned(),
        format!("<s:stream xmlns:s='{streams}'>"),
        format!("<stream xmlns='{streams}'>"),
    ] {
        let step = scan.step(header.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
        assert_eq!(step, Ok(Step::Header { len: header.len() }), "{header}");
    }
    for frame in ["<stream:stream/>", "<stream></stream>", "<a><stream:stream></stream:stream></a>"] {
        let step = scan.step(frame.as_bytes(), Expect::Frames, StreamNs::standard(), &LIMITS);
        assert_eq!(step, Ok(Step::Frame { len: frame.len() }), "{frame}");
    }
}
