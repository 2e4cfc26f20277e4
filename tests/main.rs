//! The behaviour of the library on real servers, one file for each way to fail.

mod attribute;
mod auto_traits;
mod cancel;
mod cluster;
mod cost;
mod drop;
mod exec;
mod fairness;
mod names;
mod rwlock;
mod stage;
mod crash;
mod failover;
mod foreign;
mod link;
mod litter;
mod loss;
mod memory;
mod renewal;
mod scripts;
mod support_works;
mod wait;
