//! Metrics, health and status over HTTP, for programs of the operator's own.
//!
//! | path | answers |
//! | --- | --- |
//! | `/metrics` | the metrics registry as OpenMetrics text |
//! | `/livez` | 200 while the node is there at all, else 503 |
//! | `/readyz` | 200 when it does its job, else 503 with the reasons |
//! | `/status` | [`NodeStatus`](crate::status::NodeStatus) as JSON |
//! | `/peers` | a list of [`PeerView`](crate::status::PeerView) as JSON: peers that are connected, and those remembered for their faults |
//!
//! and, if it is enabled, on another address of this machine
//!
//! | path | does |
//! | --- | --- |
//! | `POST /peers/{id}/ban?for=1h` | bans a peer |
//! | `POST /peers/{id}/unban` | lifts a ban |
//!
//! The first server only reads snapshots that the node publishes; a request can change nothing. Both are bounded in connections,
//! time and header bytes, and take no request bodies. Each connection carries one request, so that the time limit of a
//! connection is that of its request.

mod admin;
mod routes;
mod server;

#[cfg(test)]
mod tests;

pub use self::{
    admin::{Admin, router as admin_router},
    routes::{Views, router},
    server::{BindError, Bound, ServeError, bind},
};
