//! HTTP/2 towards clients: polite ones over the `h2` crate, rude ones frame by frame.

mod floods;
mod frames;
mod polite;
