//! A histogram of durations: 64 steps an octave, so a percentile is right within 1.6 %.
//!
//! Its size is fixed, and recording is a shift and an addition: it costs the generator nothing.

/// Steps between a power of two and the next.
const STEPS: u64 = 64;
/// Octaves above the first `STEPS` values, which are counted one by one: up to 2⁴⁶ ns, about 19 hours.
const OCTAVES: usize = 40;

/// Durations in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (OCTAVES + 1) * STEPS as usize], total: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, ns: u64) {
        let slot = slot(ns).min(self.counts.len() - 1);
        self.counts[slot] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The duration that `share` (0–1) of all stay at or below, in microseconds; zero when nothing was counted.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(slot) / 1000.0;
            }
        }
        0.0
    }
}

fn slot(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let octave = u64::from(ns.ilog2() - STEPS.ilog2());
    ((octave + 1) * STEPS + (ns >> octave) - STEPS) as usize
}

/// The middle of what is counted in a slot, in nanoseconds.
fn middle(slot: usize) -> f64 {
    let slot = slot as u64;
    if slot < STEPS {
        return slot as f64;
    }
    let octave = slot / STEPS - 1;
    let low = (slot % STEPS + STEPS) << octave;
    low as f64 + (1u64 << octave) as f64 / 2.0
}

/// Known answers; run before every load test.
pub(crate) fn self_check() -> Result<(), String> {
    let mut histogram = Histogram::default();
    (1..=100_000u64).for_each(|us| histogram.record(us * 1000));
    for (share, want) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
        let got = histogram.percentile_us(share);
        if (got - want).abs() > want * 0.016 {
            return Err(format!("histogram: {share} is {got}, not {want}"));
        }
    }
    Ok(())
}
