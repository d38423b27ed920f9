//! Addresses: preparing twice is preparing once, parts make the whole, nothing passes the bounds.

use stonechat::jid::{
    JID_BYTES_MAX, JID_PART_BYTES_MAX, Jid, domain_to_ascii, prepare, prepare_domainpart, prepare_localpart,
    prepare_password, prepare_resourcepart,
};

pub const SEEDS: &[&[u8]] = &[
    b"juliet@capulet.example/balcony",
    "Ἰουλιέτα@καπουλέτοι.example/\u{212B}".as_bytes(),
    "a@xn--bcher-kva.example/\u{1F4A9} b".as_bytes(),
    b"[2001:db8::1]/x@y/z",
    "\u{10D0}\u{1C90}@\u{13A0}\u{AB70}.\u{FF0E}x".as_bytes(),
];

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut scratch = String::new();
    let found = Jid::parse(text);
    assert_eq!(prepare(text, &mut scratch).map(|jid| jid.to_owned()), found, "borrowed and owned");
    if let Ok(jid) = found {
        assert!(jid.as_str().len() <= JID_BYTES_MAX);
        assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "preparing twice");
        let parts = Jid::from_parts(jid.localpart(), jid.domainpart(), jid.resourcepart());
        assert_eq!(parts.as_ref(), Ok(&jid), "from its parts");
        assert_eq!(jid.to_bare().as_str(), jid.bare());
        for part in [jid.localpart(), Some(jid.domainpart()), jid.resourcepart()].into_iter().flatten() {
            assert!(!part.is_empty() && part.len() <= JID_PART_BYTES_MAX);
        }
        assert!(!jid.as_str().chars().any(char::is_control), "{jid:?}");
        let _ascii = domain_to_ascii(jid.domainpart());
    }
    for prepare in [prepare_localpart, prepare_domainpart, prepare_resourcepart] {
        if let Ok(once) = prepare(text) {
            assert_eq!(prepare(&once).as_deref(), Ok(&*once));
        }
    }
    if let Ok(once) = prepare_password(text) {
        assert_eq!(prepare_password(&once).as_ref(), Ok(&once));
    }
}
