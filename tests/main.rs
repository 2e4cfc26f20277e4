//! The behaviour of the library on real servers, one file for each way to fail.

mod attribute;
mod support_works;
