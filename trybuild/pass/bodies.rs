//! Bodies that are easily broken by moving them: recursion, borrows in the tail, early returns, items, labels, unsafe.
#![deny(warnings)]
#![deny(unsafe_op_in_unsafe_fn)]

use std::cell::RefCell;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "<n>")]
async fn recursive(n: u64) -> Result<u64, Error> {
    if n == 0 {
        return Ok(0);
    }
    Ok(Box::pin(recursive(n - 1)).await? + 1)
}

#[redis_lock(key = "a")]
async fn borrows_in_the_tail(cell: RefCell<String>) -> Result<usize, Error> {
    Ok(cell.borrow().len())
}

#[redis_lock(key = "a:<id>")]
async fn items(id: u64) -> Result<u64, Error> {
    const MORE: u64 = 1;
    fn add(id: u64) -> u64 {
        id + MORE
    }
    let sum = 'found: {
        if id > 1 {
            break 'found add(id);
        }
        0
    };
    Ok(sum)
}

/// # Safety
///
/// None needed.
#[redis_lock(key = "a")]
async unsafe fn not_safe(pointer: &u8) -> Result<u8, Error> {
    let pointer: *const u8 = pointer;
    Ok(unsafe { *pointer })
}

fn outer() {
    #[redis_lock(key = "inner")]
    async fn inner() -> Result<(), Error> {
        Ok(())
    }
    let _ = inner();
}

#[redis_lock(key = "tx:<id>")]
async fn moves_what_the_key_names(id: String) -> Result<String, Error> {
    let task = async move { id };
    Ok(task.await)
}

fn main() {
    outer();
    let _ = (recursive(1), borrows_in_the_tail(RefCell::default()), items(1));
    let _ = moves_what_the_key_names(String::new());
    drop(unsafe { not_safe(&1) });
}
