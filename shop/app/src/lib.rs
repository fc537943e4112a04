//! The shop put together: which services there are, what each is given, and where it is found.
//!
//! A [`Host`] is what one process brings: a data folder, a bus, a directory of who is where. [`Host::start`] starts one
//! service on it. All seven on one host are a modular monolith; each on a host of its own, told by URL where the others
//! are, is the same code cut into processes.
//!
//! ```no_run
//! # async fn run() -> Result<(), shop_app::Error> {
//! use leeward_runtime::Tasks;
//! use shop_app::{Host, HostOptions};
//!
//! let host = Host::open(HostOptions::new("leeward-data", Tasks::new())).await?;
//! for name in shop_app::SERVICES {
//!     host.start(name, ([127, 0, 0, 1], 0).into()).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It is deliberately no part of the platform, which knows nothing of any shop.

mod bus;
mod error;
mod host;
mod peers;
pub mod seed;

pub use bus::BusAt;
pub use error::Error;
pub use host::{GATEWAY, Host, HostOptions, MakeProvider, Parts};
pub use peers::{follow, parse_at};

/// The services of the shop, in the order in which a host starts them: whoever is called first comes first.
pub const SERVICES: [&str; 7] = [
    shop_users::NAME,
    shop_catalog::NAME,
    shop_inventory::NAME,
    shop_payments::NAME,
    shop_shipping::NAME,
    shop_notifications::NAME,
    shop_orders::NAME,
];

/// The outside payment provider, simulated.
pub const PROVIDER: &str = shop_payments::PROVIDER;

/// The port of a service that runs on its own: 4001 to 4007 in alphabetical order, 4008 for the provider.
#[must_use]
pub fn own_port(name: &str) -> Option<u16> {
    let mut names = SERVICES;
    names.sort_unstable();
    let index = names.iter().chain(&[PROVIDER]).position(|known| *known == name)?;
    u16::try_from(4001 + index).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_service_has_a_port_of_its_own() {
        let ports: std::collections::BTreeSet<_> =
            super::SERVICES.iter().map(|name| super::own_port(name)).collect();
        assert_eq!(ports.len(), 7);
        assert_eq!((super::own_port("catalog"), super::own_port("provider")), (Some(4001), Some(4008)));
        assert_eq!(super::own_port("nobody"), None);
    }
}
