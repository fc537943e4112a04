/// When a task stops, in relation to the others. The order of the variants is the order of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// What lets work in: listeners and accept loops.
    Edge,
    /// What serves work that came in: connections and their requests.
    Serve,
    /// Work of our own: consumers, executors, relays, health checks.
    Work,
    /// What everything above writes to: databases, the bus, telemetry export.
    Store,
}

impl Stage {
    /// All stages in their stop order.
    pub const ALL: [Self; 4] = [Self::Edge, Self::Serve, Self::Work, Self::Store];

    /// The stage's name in logs and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Serve => "serve",
            Self::Work => "work",
            Self::Store => "store",
        }
    }

    /// The stages that stop after this one.
    pub(crate) fn later(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |stage| *stage > self)
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Edge => 0,
            Self::Serve => 1,
            Self::Work => 2,
            Self::Store => 3,
        }
    }
}
