//! Columns without a server: nobody is online, and nothing is sent.
//!
//! ```text
//! command line (no server runs), tests ──▶ Unattended ──lend──▶ Columns ──▶ what a running server does, too
//! ```

use crate::clock::Now;
use crate::ids::ConnId;
use crate::im::columns::{Bounds, Columns, Effect, Hosts, Scratch};
use crate::im::directory::Directory;
use crate::im::last::Goodbyes;
use crate::metrics::Metrics;
use crate::outbox::{OutboxLimits, Outboxes};
use crate::random::Random;
use crate::storage::Store;

/// The hosted domains, by name.
#[derive(Debug)]
struct Names(Vec<String>);

impl Hosts for Names {
    fn is_hosted(&self, domain: &str) -> bool {
        self.0.iter().any(|name| name == domain)
    }

    fn component(&self, _domain: &str) -> Option<ConnId> {
        None
    }

    fn is_component(&self, _domain: &str) -> bool {
        false
    }

    fn components(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Unattended {
    directory: Directory,
    outboxes: Outboxes,
    hosts: Names,
    bounds: Bounds,
    random: Random,
    metrics: Metrics,
    effects: Vec<Effect>,
    goodbyes: Goodbyes,
    scratch: Scratch,
}

impl Unattended {
    /// For these domains.
    pub fn new(domains: impl IntoIterator<Item = String>, bounds: Bounds) -> Self {
        Self {
            directory: Directory::new((0, 0)),
            outboxes: Outboxes::new(OutboxLimits {
                bytes_max: 0,
                component_bytes_max: 0,
                total_bytes_max: 0,
                held_max: 0,
            }),
            hosts: Names(domains.into_iter().collect()),
            bounds,
            random: Random::system(),
            metrics: Metrics::default(),
            effects: Vec::new(),
            goodbyes: Goodbyes::default(),
            scratch: Scratch::default(),
        }
    }

    /// The columns for one run over `store`. There is no time here: nothing that is run like this keeps a stamp.
    pub fn lend<'a>(&'a mut self, store: &'a mut Store) -> Columns<'a> {
        self.effects.clear();
        Columns {
            directory: &mut self.directory,
            outboxes: &mut self.outboxes,
            store,
            hosts: &self.hosts,
            bounds: &self.bounds,
            random: &mut self.random,
            metrics: &mut self.metrics,
            now: Now::default(),
            effects: &mut self.effects,
            goodbyes: &mut self.goodbyes,
            hashed: None,
            scratch: &mut self.scratch,
        }
    }
}
