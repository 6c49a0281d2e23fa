//! Addresses for processes under test. A process cannot say which port the kernel gave it, so it is told
//! one: from a range below the kernel's own (connections are never made from there), apart from that of
//! the scripts, and from a block that is this test process's own.

use std::{
    net::{SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

const FIRST: u16 = 10_000;
const BLOCKS: u16 = 300;
const BLOCK: u16 = 32;

/// An address of 127.0.0.1 that nobody listens at and no other test is given.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(process::id() % u32::from(BLOCKS)).expect("below the number of blocks") * BLOCK;
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % (BLOCKS * BLOCK);
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + (own + next) % (BLOCKS * BLOCK)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
