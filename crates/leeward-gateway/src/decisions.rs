//! What became of requests lately, and why: each core keeps the last ones, and the admin API asks for them.
//!
//! The rule: every refused request is kept, and every one that an attempt failed for, and of the others a sample. Each kind has a ring
//! of its own, so that many that went well push out none that did not. A request writes into the ring of its own core, without a lock;
//! who wants to read asks the core, which answers between two requests.
//!
//! An entry holds no header but `Host`, no query and no token: what the access log may show, and less.

mod ask;
mod attempts;
mod book;
mod record;
mod remedy;
mod ruling;
mod text;
mod view;

pub(crate) use self::ask::{Asked, Asking, Filter, Question, channels};
pub(crate) use self::attempts::{Attempts, Outcome};
pub(crate) use self::book::Book;
pub(crate) use self::record::{Decision, Fallback, Kept, Refused};
pub(crate) use self::remedy::unless;
pub(crate) use self::ruling::{Ruling, Setting};
pub(crate) use self::text::Text;
pub(crate) use self::view::View;
