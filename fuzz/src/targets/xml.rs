//! Scanner, tree and relay against rxml, and against themselves in other cuts.

use super::Bytes;
use super::xml_pair::{END, HEADERS, compare, outcome};
use stonechat::xml::{Expect, Scan, Step, StreamNs, Tree, XmlLimits};

pub const SEEDS: &[&[u8]] = &[
    b"\0\x03<message to='a@b'><body xml:lang='en'>Hi &amp; &#x42;<![CDATA[<x>]]></body></message>",
    b"\x01\x07<p:x p:y='1' q:z='2'><e xmlns=''/></p:x> <iq id='&quot;'/>",
    "\x02\x01<имя ñ='1'>\u{1F600}</имя>".as_bytes(),
    b"\x03\x10<c:presence xmlns:a='u' a:b='1' b='2'>]]&gt;</c:presence>",
];

const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(65_536);

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let header = HEADERS[bytes.below(HEADERS.len())];
    let cut = 1 + bytes.below(64);
    let stream = [header.as_bytes(), bytes.0, END].concat();
    compare(&stream, "");
    let whole = outcome(&stream, || stream.len());
    assert_eq!(outcome(&stream, || cut), whole, "{:?}", String::from_utf8_lossy(&stream));
    written_again(bytes.0);
}

/// What the tree writes is accepted again, and is the same tree.
fn written_again(frame: &[u8]) {
    let (ns, mut scan) = (StreamNs::new(), Scan::default());
    let Ok(Step::Frame { len }) = scan.step(frame, Expect::Frames, &ns, &LIMITS) else { return };
    let Ok(tree) = Tree::parse(&frame[..len], scan.head(), &ns) else { panic!("accepted by the scanner alone") };
    let mut written = Vec::new();
    tree.root().write(usize::MAX, &mut written).expect("nothing is too long");
    let mut again = Scan::default();
    let step = again.step(&written, Expect::Frames, &ns, &LIMITS);
    assert_eq!(step, Ok(Step::Frame { len: written.len() }), "{:?}", String::from_utf8_lossy(&written));
    let Ok(tree) = Tree::parse(&written, again.head(), &ns) else { panic!("written and not read") };
    let mut twice = Vec::new();
    tree.root().write(usize::MAX, &mut twice).expect("nothing is too long");
    assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&written));
}
