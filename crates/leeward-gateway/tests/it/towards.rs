//! Towards services: how they are spoken to, and who they must be.

mod http2;
mod secure;
mod tls;
pub(crate) mod two;

pub(crate) use self::secure::Secure;
