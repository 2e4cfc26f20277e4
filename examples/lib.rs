//! Programs that really run: see the files beside this one.
//!
//! The code in the README is compiled as documentation tests of this package.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
