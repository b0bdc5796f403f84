//! The life of the process: stop signals, and the tasks that make up the node.
//!
//! A [`Supervisor`] owns every long task. The first of them that fails, panics or just ends takes the node down in
//! order; which one it was is the result of [`Supervisor::run`]. Tasks belong to a [`Stage`], and stages stop one after
//! another: what brings work in first, what the others stand on last.

mod signals;
mod supervisor;

pub use self::{
    signals::{EXIT_SIGINT, EXIT_SIGTERM, stop_on_signals},
    supervisor::{Stage, Supervisor, TaskError, TaskFailure},
};
