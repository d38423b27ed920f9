//! What a run has met, by name: a fault that never happens shows nothing.

/// How often each fault has struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// A read that brought a part of what was sent.
    pub(crate) short_reads: u64,
    /// A write of which the network took a part.
    pub(crate) short_writes: u64,
    /// A network that took nothing for a while.
    pub(crate) stalls: u64,
    /// A reader that never reads again.
    pub(crate) deaf: u64,
    /// A connection that was reset.
    pub(crate) resets: u64,
    /// Somebody who came later and was let in earlier.
    pub(crate) reordered_accepts: u64,
    /// The wall clock was set back.
    pub(crate) clock_back: u64,
    /// The wall clock was set forward.
    pub(crate) clock_forward: u64,
    /// Nothing happened for ten seconds or more: the process was stopped, the machine asleep.
    pub(crate) sleeps: u64,
    /// The disk was full for some commits.
    pub(crate) disk_full: u64,
    /// A commit was written and said to have failed.
    pub(crate) answers_lost: u64,
    /// A read of the disk failed.
    pub(crate) fetches_failed: u64,
    /// The disk did nothing for many ticks.
    pub(crate) disk_still: u64,
    /// The hashing thread never answered.
    pub(crate) hashes_lost: u64,
    /// The system counted more memory than the server.
    pub(crate) memory_scares: u64,
    /// Certificates were loaded again.
    pub(crate) reloads: u64,
    /// A component was connected.
    pub(crate) components: u64,
}

impl Met {
    /// Every count with its name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 17] {
        [
            ("short_reads", self.short_reads),
            ("short_writes", self.short_writes),
            ("stalls", self.stalls),
            ("deaf", self.deaf),
            ("resets", self.resets),
            ("reordered_accepts", self.reordered_accepts),
            ("clock_back", self.clock_back),
            ("clock_forward", self.clock_forward),
            ("sleeps", self.sleeps),
            ("disk_full", self.disk_full),
            ("answers_lost", self.answers_lost),
            ("fetches_failed", self.fetches_failed),
            ("disk_still", self.disk_still),
            ("hashes_lost", self.hashes_lost),
            ("memory_scares", self.memory_scares),
            ("reloads", self.reloads),
            ("components", self.components),
        ]
    }

    /// Adds what another has met.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            short_reads,
            short_writes,
            stalls,
            deaf,
            resets,
            reordered_accepts,
            clock_back,
            clock_forward,
            sleeps,
            disk_full,
            answers_lost,
            fetches_failed,
            disk_still,
            hashes_lost,
            memory_scares,
            reloads,
            components,
        } = *other;
        self.short_reads += short_reads;
        self.short_writes += short_writes;
        self.stalls += stalls;
        self.deaf += deaf;
        self.resets += resets;
        self.reordered_accepts += reordered_accepts;
        self.clock_back += clock_back;
        self.clock_forward += clock_forward;
        self.sleeps += sleeps;
        self.disk_full += disk_full;
        self.answers_lost += answers_lost;
        self.fetches_failed += fetches_failed;
        self.disk_still += disk_still;
        self.hashes_lost += hashes_lost;
        self.memory_scares += memory_scares;
        self.reloads += reloads;
        self.components += components;
    }
}
