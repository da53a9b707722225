//! Herald health-checks the backends of virtual IPs and announces the healthy ones over BGP.
//!
//! Data runs one way: a worker's result → [`health`] → [`announce`] → [`rib`] → [`bgp::peer`] → bytes. [`engine`] owns
//! the cores and routes between them; [`driver`] owns the sockets, threads and clocks; [`cli`] is what an operator
//! types. Everything outside `driver` and `cli` is pure: time is an argument, actions are return values.
//!
//! For another program that wants to announce routes, [`Speaker`] is the paved path: a BGP speaker on a thread of its
//! own, with [`config`]'s types to say what it shall do. For one that wants health checks and no BGP, that is [`Director`]:
//! services with their checks go in, verdicts come out. A program with sockets and a loop of its own takes
//! [`bgp::speaker`], which has neither; [`driver::listen`] and [`bgp::receiver`] are the other side.

pub mod announce;
pub mod bgp;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod driver;
pub mod engine;
pub mod glb;
pub mod gobgp;
pub mod health;
pub mod prefix;
pub mod rib;
pub mod rng;
pub mod timers;
pub mod wall;

pub use driver::director::Director;
pub use driver::speaker::Speaker;
