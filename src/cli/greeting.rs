//! What a starting server says: what it loaded, where it listens, and what to do next.

use super::{VERSION_LINE, quoted, source};
use crate::boot::{Boot, BootDomain};
use crate::config::{Config, ConfigSource, ListenerKind};
use std::fmt::Write as _;
use std::path::Path;

/// Domains that are listed; more are only counted.
const DOMAINS_SHOWN_MAX: usize = 16;

/// A place that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// How TLS begins there.
    pub kind: ListenerKind,
    /// The address with its real port, or the path of a Unix socket.
    pub place: String,
}

/// Who speaks, and what it goes by.
pub(super) fn configuration(from: &ConfigSource) -> String {
    format!("{VERSION_LINE}\nconfiguration: {}", source(from))
}

/// The data folder and the domains.
pub(super) fn loaded(boot: &Boot) -> String {
    let is_new = if boot.data_dir_is_new { " (made now)" } else { "" };
    let mut text = format!("data folder:   {}{is_new}", boot.data_dir.display());
    for domain in boot.domains.iter().take(DOMAINS_SHOWN_MAX) {
        let _ = write!(text, "\ndomain:        {}, {}", domain.name, certificate(domain));
    }
    if let more @ 1.. = boot.domains.len().saturating_sub(DOMAINS_SHOWN_MAX) {
        let _ = write!(text, "\n               … and {more} more");
    }
    text
}

fn certificate(domain: &BootDomain) -> String {
    let Some(fingerprint) = &domain.fingerprint else { return "without TLS".to_owned() };
    let kind = match (domain.self_signed, domain.is_new) {
        (true, true) => "self-signed certificate (made now)",
        (true, false) => "self-signed certificate",
        (false, _) => "certificate",
    };
    format!("{kind}\n               SHA-256 {fingerprint}")
}

/// Where clients are awaited.
pub(super) fn listening(listening: &[Listening]) -> String {
    let mut lines = Vec::new();
    let kinds = [
        (ListenerKind::StartTls, "STARTTLS"),
        (ListenerKind::Direct, "direct TLS"),
        (ListenerKind::Component, "components"),
    ];
    for (kind, name) in kinds {
        let places = listening.iter().filter(|one| one.kind == kind).map(|one| one.place.as_str());
        let places: Vec<&str> = places.collect();
        if !places.is_empty() {
            lines.push(format!("listening:     {} ({name})", places.join(" ")));
        }
    }
    lines.join("\n")
}

/// What to do next: the very command that adds a user.
pub(super) fn next_steps(config: &Config, boot: &Boot, program: &str, named: Option<&Path>) -> String {
    let option = named.map_or_else(String::new, |path| format!(" --config {}", quoted(&path.to_string_lossy())));
    let domain = config.domains.first().map_or("localhost", |domain| &domain.name);
    if boot.has_accounts {
        return format!("Ready. More about running it: {program} --help");
    }
    let mut text = format!(
        "Ready. Nobody can log in yet: add a user, in another terminal and the same folder, with\n    \
         {program}{option} user add {}\nthen log in with any XMPP client",
        quoted(&format!("alice@{domain}"))
    );
    text.push_str(match boot.domains.first() {
        Some(first) if first.self_signed => ", and have it trust the fingerprint above.",
        _ => ".",
    });
    text
}
