//! The store from outside: what it keeps, what it gives up, and what it survives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod crash;
mod damage;
mod decide;
mod disk;
mod faulty;
mod fixture;
mod insert;
mod lifecycle;
mod model;
mod open;
mod plain;
mod power;
mod prune;
mod ranges;
mod reopen;
mod repair;
mod schema;
mod undecided;
mod upkeep;
mod work;
