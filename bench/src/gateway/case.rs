//! What is asked of every engine.

/// Bytes of the body that a POST sends.
pub(super) const POST_BYTES: usize = 4_096;

/// Which body the upstream answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// 1 KiB, at `/1k`.
    Small,
    /// 64 KiB, at `/64k`.
    Large,
}

impl Size {
    /// Where it is.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Small => "/1k",
            Self::Large => "/64k",
        }
    }

    /// The body's length.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Small => 1_024,
            Self::Large => 65_536,
        }
    }
}

/// When the next request starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// As soon as the one before it on its connection is answered.
    Closed,
    /// By the clock, at half of what nginx did in the first case of the round.
    HalfOfNginx,
}

/// One way to load an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Case {
    /// Its name in the table and for `--cases`.
    pub(super) name: &'static str,
    /// What is answered.
    pub(super) size: Size,
    /// Whether requests are POSTs with a body of [`POST_BYTES`].
    pub(super) posts: bool,
    /// Connections that carry requests.
    pub(super) connections: usize,
    /// Connections beside them that carried one request and then stay open.
    pub(super) idle: usize,
    /// When requests start.
    pub(super) pace: Pace,
}

const PLAIN: Case =
    Case { name: "h1-1k-64c", size: Size::Small, posts: false, connections: 64, idle: 0, pace: Pace::Closed };

/// All cases. The first one comes first: the bands of the peers and the rate of the open loop are read from it.
pub(super) const CASES: [Case; 5] = [
    PLAIN,
    Case { name: "h1-64k-64c", size: Size::Large, ..PLAIN },
    Case { name: "h1-post-4k", posts: true, ..PLAIN },
    Case { name: "h1-1k-1000idle", idle: 1_000, ..PLAIN },
    Case { name: "h1-1k-half", pace: Pace::HalfOfNginx, ..PLAIN },
];

impl Case {
    /// Whether bands and rates are read from it.
    pub(super) fn is_reference(&self) -> bool {
        *self == PLAIN
    }
}
