//! The limits that are no server: what the TLS provider's own arithmetic takes, and the writing of a record.
//!
//! The echoes are the other limits (`echo.rs`). All are measured in the run whose figures stand beside them.

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, NamedGroup, ServerConnection, SignatureScheme};

use crate::population::{ITERATIONS, SALT};
use crate::process;
use crate::scram::{self, Hash};
use crate::tls;

/// How long each is measured, in processor time.
const MEASURE_NS: u64 = 200_000_000;
/// Operations between two looks at the processor time.
const BATCH: u32 = 64;
/// Bytes written before the other end is read: the socket's buffer takes them.
const WRITTEN_MAX: usize = 128 * 1024;

/// As long as what TLS 1.3 signs (RFC 8446 §4.4.3).
const SIGNED: [u8; 130] = [0x20; 130];

/// What a full handshake cannot do without, in microseconds of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arithmetic {
    /// A signature with P-256.
    pub(crate) sign_us: f64,
    /// The same verified.
    pub(crate) verify_us: f64,
    /// A key pair of X25519 and the agreement with another's.
    pub(crate) exchange_us: f64,
    /// PBKDF2 of a password, as an account's keys take it.
    pub(crate) hash_us: f64,
}

impl Arithmetic {
    /// The server's side of a full handshake; of one in which the client shows a certificate, which has a signature and
    /// proves with another; of a resumed one.
    pub(crate) fn handshake_us(&self, certified: bool, resumed: bool) -> f64 {
        let proof_us = if certified { 2.0 * self.verify_us } else { 0.0 };
        self.exchange_us + if resumed { 0.0 } else { self.sign_us + proof_us }
    }

    /// Measures the provider that server and generator are built with.
    pub(crate) fn measure() -> Result<Self, Box<dyn Error>> {
        let provider = tls::provider();
        let (pair, identity) = tls::key_pair()?;
        let key = provider.key_provider.load_private_key(identity)?;
        let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).ok_or("no ECDSA with P-256")?;
        let sign_us = time(BATCH, || signer.sign(&SIGNED).map(drop))?;
        let (public, signature) = (pair.public_key_raw(), signer.sign(&SIGNED)?);
        let schemes = provider.signature_verification_algorithms.mapping;
        let found = schemes.iter().find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
        let verifier =
            found.and_then(|(_, all)| all.iter().find(|one| one.verify_signature(public, &SIGNED, &signature).is_ok()));
        let verifier = verifier.ok_or("no verification of P-256")?;
        let verify_us = time(BATCH, || {
            verifier.verify_signature(public, &SIGNED, &signature).map_err(|_| rustls::Error::General("P-256".into()))
        })?;
        let group = provider.kx_groups.iter().find(|group| group.name() == NamedGroup::X25519).ok_or("no X25519")?;
        let peer = group.start()?.pub_key().to_vec();
        let exchange_us = time(BATCH, || group.start()?.complete(&peer).map(drop))?;
        let hash_us = time(1, || {
            black_box(scram::stored(Hash::Sha256, black_box("secret"), SALT, ITERATIONS));
            Ok(())
        })?;
        Ok(Self { sign_us, verify_us, exchange_us, hash_us })
    }
}

/// Processor microseconds of one `operation`.
fn time(batch: u32, mut operation: impl FnMut() -> Result<(), rustls::Error>) -> Result<f64, rustls::Error> {
    let (begun_ns, mut count) = (process::thread_cpu_ns(), 0u64);
    loop {
        for _ in 0..batch {
            operation()?;
        }
        count += u64::from(batch);
        let spent_ns = process::thread_cpu_ns() - begun_ns;
        if spent_ns >= MEASURE_NS {
            return Ok(spent_ns as f64 / 1000.0 / count as f64);
        }
    }
}

/// Processor microseconds of `size` bytes written to a socket: as they are, or as one TLS record.
///
/// The write goes through the kernel's loopback up to the other socket's buffer, as a server's does. Whoever
/// reads there is not counted.
pub(crate) fn write_us(secure: bool, size: usize) -> Result<f64, Box<dyn Error>> {
    let (mut tls, mut socket, mut reader) = secure_pair()?;
    // What the peer is sent is read by nobody who would understand it.
    let (data, mut sink) = (vec![b'x'; size], vec![0; (size + 256) * BATCH as usize]);
    let (mut spent_ns, mut count) = (0, 0u64);
    while spent_ns < MEASURE_NS {
        let (begun_ns, mut length) = (process::thread_cpu_ns(), 0);
        // Long enough that a look at the clock costs nothing beside it.
        let mut batch = 0;
        while batch < BATCH && length + size < WRITTEN_MAX {
            batch += 1;
            if !secure {
                socket.write_all(&data)?;
                length += size;
                continue;
            }
            tls.writer().write_all(&data)?;
            while tls.wants_write() {
                length += tls.write_tls(&mut socket)?;
            }
        }
        spent_ns += process::thread_cpu_ns() - begun_ns;
        count += u64::from(batch);
        reader.read_exact(&mut sink[..length])?;
    }
    Ok(spent_ns as f64 / 1000.0 / count as f64)
}

/// A server's end of TLS with its socket, and the socket at the other end. The handshake goes through memory.
fn secure_pair() -> Result<(ServerConnection, TcpStream, TcpStream), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let reader = TcpStream::connect(listener.local_addr()?)?;
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut server = ServerConnection::new(tls::server_config()?)?;
    let name = ServerName::try_from("echo.local")?;
    let mut client = ClientConnection::new(Arc::new(tls::Client::default().config()?), name)?;
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        client.write_tls(&mut wire)?;
        server.read_tls(&mut wire.as_slice())?;
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
        wire.clear();
    }
    Ok((server, socket, reader))
}
