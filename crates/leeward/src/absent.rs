//! What stands in for the shop in a binary that was built without it.

/// The shop has no parts here.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Parts {}

/// The command `demo`.
pub(crate) mod demo {
    use super::{Parts, said};
    use crate::{Error, cli::Demo};

    pub(crate) fn run(_demo: &Demo, _parts: Parts) -> Result<(), Error> {
        said("demo")
    }
}

/// The command `shop`.
pub(crate) mod shop {
    use super::{Parts, said};
    use crate::{Error, cli::Shop};

    pub(crate) fn run(_shop: &Shop, _parts: Parts) -> Result<(), Error> {
        said("shop")
    }
}

fn said(command: &str) -> Result<(), crate::Error> {
    let what = format!(
        "`leeward {command}` is not in this binary: build it with the feature `demo`, or start `leeward gateway`"
    );
    Err(what.into())
}
