//! The pool, the probes and the hooks against real sockets and real programs, on loopback: every way in which a backend
//! can fail, or somebody who is told of it, and what the operator reads then.

#[path = "probes/support.rs"]
mod support;

#[path = "probes/data_plane.rs"]
mod data_plane;
#[path = "probes/datagrams.rs"]
mod datagrams;
#[path = "probes/dns.rs"]
mod dns;
#[path = "probes/exec.rs"]
mod exec;
#[path = "probes/file.rs"]
mod file;
#[path = "probes/grpc.rs"]
mod grpc;
#[path = "probes/hooks.rs"]
mod hooks;
#[path = "probes/http.rs"]
mod http;
#[path = "probes/ntp.rs"]
mod ntp;
#[path = "probes/pool.rs"]
mod pool;
#[path = "probes/raw.rs"]
mod raw;
#[path = "probes/talk.rs"]
mod talk;
#[path = "probes/tcp.rs"]
mod tcp;
#[path = "probes/tls.rs"]
mod tls;
#[path = "probes/tunnels.rs"]
mod tunnels;
#[path = "probes/udp.rs"]
mod udp;
#[path = "probes/web.rs"]
mod web;
#[path = "probes/webhooks.rs"]
mod webhooks;
