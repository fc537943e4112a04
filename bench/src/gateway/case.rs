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
    /// Whether clients speak HTTP/2, one stream at a time on each connection, without TLS.
    pub(super) is_http2: bool,
    /// Routes of the configuration; requests go to [`ROUTES_ASKED`] of them in turn. With 0 there is one for everything.
    pub(super) routes: usize,
    /// Connections that carry requests.
    pub(super) connections: usize,
    /// Connections beside them that carried one request and then stay open.
    pub(super) idle: usize,
    /// When requests start.
    pub(super) pace: Pace,
}

/// Routes that requests go to, where there are many: spread over all of them.
const ROUTES_ASKED: usize = 1_000;

const PLAIN: Case = Case {
    name: "h1-1k-64c",
    size: Size::Small,
    posts: false,
    is_http2: false,
    routes: 0,
    connections: 64,
    idle: 0,
    pace: Pace::Closed,
};

/// The one with many routes.
pub(super) const MANY_ROUTES: Case = Case { name: "route-5000", routes: 5_000, ..PLAIN };

/// All cases. The first one comes first: the bands of the peers and the rate of the open loop are read from it.
pub(super) const CASES: [Case; 7] = [
    PLAIN,
    Case { name: "h1-64k-64c", size: Size::Large, ..PLAIN },
    Case { name: "h1-post-4k", posts: true, ..PLAIN },
    Case { name: "h2-1k-64c", is_http2: true, ..PLAIN },
    Case { name: "h1-1k-1000idle", idle: 1_000, ..PLAIN },
    MANY_ROUTES,
    Case { name: "h1-1k-half", pace: Pace::HalfOfNginx, ..PLAIN },
];

impl Case {
    /// Whether bands and rates are read from it.
    pub(super) fn is_reference(&self) -> bool {
        *self == PLAIN
    }

    /// What requests ask for, in turn.
    pub(super) fn paths(&self) -> Vec<String> {
        let file = self.size.path();
        if self.routes == 0 {
            return vec![file.to_owned()];
        }
        let stride = (self.routes / ROUTES_ASKED).max(1);
        (0..self.routes).step_by(stride).map(|at| format!("{}{file}", prefix(at))).collect()
    }
}

/// The path of route `at`: all share their beginning with a hundred others.
pub(super) fn prefix(at: usize) -> String {
    format!("/teams/t{}/apps/a{at}", at % 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_routes_are_asked_in_turn() {
        let paths = MANY_ROUTES.paths();
        assert_eq!((paths.len(), paths[1].as_str()), (ROUTES_ASKED, "/teams/t5/apps/a5/1k"));
        assert_eq!(PLAIN.paths(), ["/1k"]);
    }
}
