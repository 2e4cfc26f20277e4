//! The behaviour of the library on real servers, one file for each way to fail.

mod attribute;
mod auto_traits;
mod cancel;
mod cluster;
mod cost;
mod crash;
mod drop;
mod engine;
mod exec;
mod failover;
mod fairness;
mod foreign;
mod link;
mod litter;
mod loss;
mod memory;
mod names;
mod nesting;
mod renewal;
mod rwlock;
mod scripts;
mod stage;
mod support_works;
mod wait;
