//! A mode that is known only when the function is called.
#![deny(warnings)]

use redis_lock::{Error, Mode, redis_lock};

#[redis_lock(key = "order:<id>", mode = if urgent { Mode::Write } else { Mode::Read })]
async fn of_an_argument(id: u64, urgent: bool) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = ["order:<id>", w("log")], mode = mode)]
async fn given(id: u64, mode: &Mode) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", mode = Mode::R)]
async fn constant() -> Result<(), Error> {
    Ok(())
}

struct Shop {
    mode: Mode,
    namespace: String,
}

impl Shop {
    #[redis_lock(key = "order", mode = self.mode, namespace = &self.namespace)]
    async fn ship(&self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "order", mode = self.mode, namespace = format!("shop:{tenant}"))]
    async fn ship_for(&self, tenant: &str) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "order", namespace = "shop:<>")]
    async fn ship_in_a_strange_place(&self) -> Result<(), Error> {
        Ok(())
    }
}

pub fn main() {
    let shop = Shop {
        mode: Mode::Read,
        namespace: "shop".to_owned(),
    };
    drop((of_an_argument(1, true), given(1, &Mode::Read), constant()));
    drop((
        shop.ship(),
        shop.ship_for("a"),
        shop.ship_in_a_strange_place(),
    ));
}
