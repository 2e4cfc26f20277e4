//! What the attribute accepts, and what it says when it does not.
//!
//! The texts in `fail/*.stderr` are those of one compiler version; write them anew with `TRYBUILD=overwrite`.

/// One test, as each `TestCases` is a build of its own.
#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}
