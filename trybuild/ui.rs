//! What the attribute says when it does not accept: `fail/*.stderr`, in the words of one compiler version. Write them anew
//! with `TRYBUILD=overwrite`. What it accepts is in the library of this package.

#[test]
fn refuses() {
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
