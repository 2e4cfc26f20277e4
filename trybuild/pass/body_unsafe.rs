//! An `unsafe` function; its body is as unsafe as it was.
#![deny(warnings, unsafe_op_in_unsafe_fn)]

use redis_lock::{Error, redis_lock};

/// # Safety
///
/// None needed.
#[redis_lock(key = "a")]
async unsafe fn not_safe(value: &u8) -> Result<u8, Error> {
    let pointer: *const u8 = value;
    Ok(unsafe { *pointer })
}

/// # Safety
///
/// None needed.
#[allow(unsafe_op_in_unsafe_fn)]
#[redis_lock(key = "a")]
async unsafe fn without_a_block(value: &u8) -> Result<u8, Error> {
    let pointer: *const u8 = value;
    Ok(*pointer)
}

pub fn main() {
    drop(unsafe { (not_safe(&1), without_a_block(&1)) });
}
