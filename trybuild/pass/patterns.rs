//! Arguments bound by any pattern.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

struct Point {
    x: u8,
    y: Vec<u8>,
}

struct Pair(u8, Vec<u8>);

#[redis_lock(key = "<a>:<x>:<first>:<head>:<both>")]
async fn patterns(
    (a, mut b): (u8, Vec<u8>),
    Point { x, y: mut renamed }: Point,
    Pair(first, ref second): Pair,
    [head, .., _]: [u8; 4],
    &other: &u8,
    whole @ Point { .. }: Point,
    (Ok(both) | Err(both)): Result<u8, u8>,
    mut owned: Vec<u8>,
    _: String,
    _kept: Vec<u8>,
) -> Result<usize, Error> {
    b.push(a);
    renamed.push(x);
    owned.push(other);
    Ok(b.len() + renamed.len() + second.len() + owned.len() + whole.y.len())
}

pub fn main() {
    let point = || Point {
        x: 1,
        y: Vec::new(),
    };
    let _ = patterns(
        (1, Vec::new()),
        point(),
        Pair(1, Vec::new()),
        [1; 4],
        &1,
        point(),
        Ok(1),
        Vec::new(),
        String::new(),
        Vec::new(),
    );
}
