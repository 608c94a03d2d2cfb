//! Free ports for tests that run side by side: below those that the system gives out by itself, so that a node which
//! was stopped finds its own still free, and no stranger's socket takes one before its node does.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// The first of `count` ports in a row that are free for UDP and TCP, given to nobody else in this process.
pub fn free(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut first = next.unwrap_or_else(|| FIRST + (std::process::id() % 64) as u16 * 200);
    for _ in 0..TRIED {
        if first + count > LAST {
            first = FIRST;
        }
        if let Some(taken) = (first..first + count).rev().find(|port| is_taken(*port)) {
            first = taken + 1;
            continue;
        }
        *next = Some(first + count);
        return first;
    }
    panic!("no {count} free ports in a row between {FIRST} and {LAST}");
}

fn is_taken(port: u16) -> bool {
    let at = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(at).is_err() || TcpListener::bind(at).is_err()
}

/// Above the services' own (DESIGN §9), below Linux's ephemeral ports.
const FIRST: u16 = 17_000;
const LAST: u16 = 32_700;
const TRIED: usize = 4_096;
