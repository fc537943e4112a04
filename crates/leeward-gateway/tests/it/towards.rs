//! Towards services: how they are spoken to, and who they must be.

mod secure;
mod tls;
