//! Herald against real routers: BIRD, FRR and GoBGP in network namespaces, nginx as backends, the real binary.
//!
//! Needs root, and the Debian packages that `tests/run` installs. What is asserted is always the router's own table
//! or the wire, never Herald's word; Herald's status only tells when it has noticed something.
//!
//! Not part of a plain `cargo test`: `cargo test --test interop`, or `tests/run`.

mod harness {
    pub(crate) mod bird;
    pub(crate) mod browser;
    pub(crate) mod capture;
    pub(crate) mod cases;
    pub(crate) mod frr;
    pub(crate) mod gobgp;
    pub(crate) mod herald;
    pub(crate) mod hub;
    pub(crate) mod lab;
    pub(crate) mod nginx;
    pub(crate) mod plan;
    pub(crate) mod process;
    pub(crate) mod router;
    pub(crate) mod site;
    pub(crate) mod switches;
    pub(crate) mod wait;
    pub(crate) mod watch;
}

mod addresses;
mod aggregates;
mod as_numbers;
mod capabilities;
mod ceases;
mod checks;
mod director;
mod doubt;
mod drains;
mod families;
mod glb;
mod gobgp_api;
mod grpc;
mod hints;
mod import;
mod judgement;
mod links;
mod loopback;
mod memory;
mod metrics;
mod neighbour_gobgp;
mod operators;
mod page;
mod passive;
mod passwords;
mod paths;
mod programs;
mod ranges;
mod reach;
mod recipes;
mod reload;
mod resolvers;
mod restart;
mod sessions;
mod speak;
mod stop;
mod story;
mod talk;
mod tunnels;
mod unnumbered;
mod web;
mod wire;
