//! The TLS adapter: a real client's bytes in any cuts, changed or not.
//!
//! Cuts alone change nothing: both sides are set up and what was said arrives. Bytes that were changed end the
//! connection or do nothing, within its bounds; never a panic, never a byte that the client has not sent.

use super::Bytes;
use super::tls_common::{ClientSettings, World};
use rustls::version::{TLS12, TLS13};
use std::io::Write as _;
use std::sync::OnceLock;
use stonechat::limits::HANDSHAKE_SAVED_BYTES_MAX;
use stonechat::transport::TlsDomains;

pub const SEEDS: &[&[u8]] =
    &[b"\0\x10\0\0\0", b"\x01\x01\0\0\0", b"\x02\xFF\x01\x05\x80\x05\x40", b"\x03\x80\x01\x02\0\x80"];

const TLS_DOMAIN: &str = "capulet.example";
/// Rounds of a conversation: a handshake takes three.
const ROUNDS_MAX: usize = 12;
const SAID: &[u8] = b"<presence/>";

struct Ground {
    _world: World,
    domains: TlsDomains,
    clients: [ClientSettings; 2],
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let world = World::new(&[TLS_DOMAIN]);
        let domains = world.load();
        let clients = [&TLS13, &TLS12].map(|version| ClientSettings::versions(&world.ca, &[version]));
        Ground { _world: world, domains, clients }
    })
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let choice = bytes.byte();
    let ground = ground();
    let mut client = ground.clients[usize::from(choice & 1)].connect(TLS_DOMAIN);
    let mut server = ground.domains.session(None, choice & 2 != 0).expect("a session");
    let cut = 1 + usize::from(bytes.byte());
    let (changed, place) = (choice & 4 != 0, usize::from(bytes.byte()) << 4 | usize::from(bytes.byte()));
    let mask = bytes.byte();
    let (mut plain, mut passed) = (Vec::new(), 0);
    client.writer().write_all(SAID).expect("the client keeps it");
    for _ in 0..ROUNDS_MAX {
        let (mut wire, mut out) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory takes everything");
        }
        if let Some(byte) = place.checked_sub(passed).and_then(|at| wire.get_mut(at)).filter(|_| changed) {
            *byte ^= mask;
        }
        passed += wire.len();
        if wire.is_empty() {
            // The end of what a client says by itself; then whatever the fuzzer has left.
            wire = std::mem::take(&mut bytes.0).to_vec();
        }
        if wire.is_empty() {
            break;
        }
        let failed = wire.chunks_mut(cut).any(|piece| server.feed(piece, &mut plain, &mut out).is_err());
        assert!(server.heap_bytes() < 3 * HANDSHAKE_SAVED_BYTES_MAX, "{} bytes are kept", server.heap_bytes());
        assert!(SAID.starts_with(&plain), "bytes that nobody sent: {plain:?}");
        if failed || client.read_tls(&mut out.as_slice()).is_err() || client.process_new_packets().is_err() {
            assert!(changed && mask != 0 || !data.is_empty(), "cuts alone break nothing");
            return;
        }
    }
    let is_whole = !changed || mask == 0;
    assert!(!is_whole || plain == SAID, "cuts alone change nothing");
}
