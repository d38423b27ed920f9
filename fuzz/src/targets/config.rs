//! The configuration: any text is judged, and what is accepted is usable.

use std::path::Path;
use stonechat::config::{Config, ConfigError};
use stonechat::server::settings;

pub const SEEDS: &[&[u8]] = &[include_bytes!("../../../docs/stonechat.example.toml"), b"[limits]\nconnections = 10\n"];

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("/etc/stonechat.toml")) {
        Ok(config) => {
            assert!(!config.domains.is_empty() && !config.listeners.is_empty());
            let settings = settings(&config);
            assert!(settings.xml.frame_bytes_max >= 10_000, "RFC 6120 §13.12");
        }
        Err(ConfigError::Faults { faults, .. }) => assert!(!faults.is_empty(), "refused without a reason"),
        Err(error) => panic!("a text cannot be unreadable: {error}"),
    }
}
