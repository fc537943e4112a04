//! Configuration documents: YAML in which every value knows where it stands, read by typed getters that
//! collect all mistakes.
//!
//! A getter that meets a mistake records it and yields `None`, so that reading goes on with a default and
//! [`Document::finish`] reports everything at once: path, what was given, what is allowed, the nearest known
//! name, and the place in the file or the environment key. A key that no getter asked for is a mistake as
//! well: a misspelt option never passes silently.
//!
//! The getter decides the type, not YAML: `port: 8080` and `port: "8080"` are the same, and `country: no`
//! read as text is `no`.
//!
//! What a reader asks for is recorded as well: [`describe`] turns it into a description of every option, from which a schema can
//! be made; [`Document::origins`] says where each value was given. [`Node::over`] lays a map over others, whose values stand in
//! where it has none.
//!
//! Of YAML, anchors and aliases are supported and tags and merge keys (`<<`) are not. What lies deeper than [`DEPTH_MAX`], or
//! comes to more than [`VALUES_MAX`] values or [`TEXT_BYTES_MAX`] of text with all aliases followed, is refused before anything is read.
//!
//! ```
//! use leeward_runtime::{Env, config::Document};
//! use std::time::Duration;
//!
//! let env = Env::default();
//! let doc = Document::parse("leeward.yaml", "listen:\n  prot: 8080\n  drain: 5 parsecs\n", &env)?;
//! let listen = doc.root().get("listen");
//! let port = listen.get("port").env("LEEWARD_PORT").int(1..=u16::MAX).unwrap_or(8080);
//! let drain = listen.get("drain").duration(Duration::ZERO..=Duration::from_secs(60)).unwrap_or(Duration::from_secs(5));
//!
//! let problems = doc.finish().expect_err("two mistakes").to_string();
//! assert!(problems.contains("leeward.yaml:2:3: listen.prot: unknown key"));
//! assert!(problems.contains("did you mean: port"));
//! assert!(problems.contains("leeward.yaml:3:10: listen.drain: `5 parsecs` is not a duration"));
//! # assert_eq!((port, drain), (8080, Duration::from_secs(5)));
//! # Ok::<(), leeward_runtime::config::Problems>(())
//! ```

mod document;
mod getters;
mod node;
mod notes;
mod origins;
mod policy;
mod problem;
mod secret;
mod shape;
mod suggest;
mod trails;
mod tree;

pub use self::document::{DOCUMENT_BYTES_MAX, Document, join};
pub use self::node::Node;
pub use self::origins::{Leaf, Origins, leaves};
pub use self::problem::{Origin, PROBLEMS_MAX, Problem, Problems};
pub use self::secret::{SECRET_BYTES_MAX, Secret};
pub use self::shape::{Bounds, Form, Shape, Shapes, describe};
pub use self::suggest::nearest;
pub use self::tree::{DEPTH_MAX, TEXT_BYTES_MAX, VALUES_MAX};
