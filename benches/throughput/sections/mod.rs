//! The sections of the benchmark, in the order in which they run.

mod accessed;
mod bare_batch;
mod drain;
mod embedded;
mod growth;
mod late;
mod latency;
mod linear;
mod memory;
mod pages;
mod per_message;
mod sweeps;
mod tenure;
mod verify;

use crate::bench::Bench;

/// A part of the benchmark that can be run alone, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A consumer that only acknowledges.
    Drain,
    /// Publishing with confirms.
    Publish,
    /// A consumer with one transaction per message, sequential and with thirty concurrent ones.
    PerMessage,
    /// A consumer that writes the same rows in batches, without rules.
    BareBatch,
    /// Tenure with the relay off.
    Tenure,
    /// Tenure with the relay on.
    Relay,
    /// Tenure with touches only.
    Accessed,
    /// Tenure on SQLite, from a file.
    Embedded,
    /// From publishing an event to receiving its change.
    Latency,
    /// Late events in a long history.
    Late,
    /// Imports of a size and of four times that size: claims of few names, holdings of one client, late events.
    Linear,
    /// Many accesses that expire in one sweep, without and with concurrent events, and sweeps that find nothing.
    Sweeps,
    /// Verifying and rebuilding clients that are as their events say.
    Verify,
    /// Peak memory with a long backlog, and the time from the start to the first commit.
    Memory,
    /// The cost of an event as the number of clients and the length of histories grow.
    Growth,
    /// The same with so many clients that loading takes long and needs much disk.
    GrowthMost,
    /// The pages of the console with many clients.
    Pages,
}

impl Section {
    pub const ALL: [Self; 17] = [
        Self::Drain,
        Self::Publish,
        Self::PerMessage,
        Self::BareBatch,
        Self::Tenure,
        Self::Relay,
        Self::Accessed,
        Self::Embedded,
        Self::Latency,
        Self::Late,
        Self::Linear,
        Self::Sweeps,
        Self::Verify,
        Self::Memory,
        Self::Growth,
        Self::GrowthMost,
        Self::Pages,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Publish => "publish",
            Self::PerMessage => "per-message",
            Self::BareBatch => "bare-batch",
            Self::Tenure => "tenure",
            Self::Relay => "relay",
            Self::Accessed => "accessed",
            Self::Embedded => "embedded",
            Self::Latency => "latency",
            Self::Late => "late",
            Self::Linear => "linear",
            Self::Sweeps => "sweeps",
            Self::Verify => "verify",
            Self::Memory => "memory",
            Self::Growth => "growth",
            Self::GrowthMost => "growth-most",
            Self::Pages => "pages",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// All names, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether its figures are compared with those of other sections, so that it alternates with them. Other sections
    /// run once, after those.
    pub fn is_compared(self) -> bool {
        !matches!(
            self,
            Self::Latency
                | Self::Late
                | Self::Linear
                | Self::Sweeps
                | Self::Verify
                | Self::Memory
                | Self::Growth
                | Self::GrowthMost
                | Self::Pages
        )
    }

    /// Whether it takes so long that it runs only when named.
    pub fn is_long(self) -> bool {
        matches!(self, Self::Growth | Self::GrowthMost | Self::Pages)
    }

    pub fn measure(self, bench: &mut Bench<'_>) {
        match self {
            Self::Drain => drain::measure(bench),
            Self::Publish => bench.measure_publishing(),
            Self::PerMessage => per_message::measure(bench),
            Self::BareBatch => bare_batch::measure(bench),
            Self::Tenure => tenure::measure_without_relay(bench),
            Self::Relay => tenure::measure_with_relay(bench),
            Self::Accessed => accessed::measure(bench),
            Self::Embedded => embedded::measure(bench),
            Self::Latency => latency::measure(bench),
            Self::Late => late::measure(bench),
            Self::Linear => linear::measure(bench),
            Self::Sweeps => sweeps::measure(bench),
            Self::Verify => verify::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Growth => growth::measure(bench),
            Self::GrowthMost => growth::measure_most(bench),
            Self::Pages => pages::measure(bench),
        }
    }
}
