//! Methods without arguments in a key, also of `self` and of fields.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

struct Order {
    lines: Vec<u64>,
    customer: Customer,
}

struct Customer {
    id: u64,
}

impl Customer {
    fn id(&self) -> u64 {
        self.id
    }

    fn r#type(&self) -> &Self {
        self
    }
}

impl Order {
    fn customer(&self) -> &Customer {
        &self.customer
    }

    #[redis_lock(key = "customer:<self.customer().id>:<self.customer.type().id()>")]
    async fn ship(&mut self) -> Result<(), Error> {
        self.lines.clear();
        Ok(())
    }
}

#[redis_lock(key = "<order.lines.len()>:<name.trim().len()>")]
async fn lengths(order: Order, name: String) -> Result<(Order, String), Error> {
    Ok((order, name))
}

pub fn main() {
    let mut order = Order {
        lines: Vec::new(),
        customer: Customer { id: 1 },
    };
    drop(order.ship());
    let _ = lengths(order, String::new());
}
