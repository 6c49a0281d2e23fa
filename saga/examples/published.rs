//! Prints every definition that this release knows, in the form of `published.txt`.

use waybill_saga::{Defaults, order_fulfilment};

fn main() {
    print!("{}", waybill_saga::published(&order_fulfilment(&Defaults::default())));
}
