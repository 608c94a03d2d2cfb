//! Free UDP ports for tests that run side by side.

use super::tap::loopback;
use std::net::UdpSocket;
use std::sync::Mutex;

/// The first of `count` free ports in a row, given to nobody else in this process. They lie below those
/// that the system gives out by itself, so that a node which was stopped finds its own still free.
pub fn free(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut first = next.unwrap_or_else(|| FIRST + (std::process::id() % 64) as u16 * 200);
    for _ in 0..TRIED {
        if first + count > LAST {
            first = FIRST;
        }
        if let Some(taken) = (first..first + count).rev().find(|port| UdpSocket::bind(loopback(*port)).is_err()) {
            first = taken + 1;
            continue;
        }
        *next = Some(first + count);
        return first;
    }
    panic!("no {count} free UDP ports in a row between {FIRST} and {LAST}");
}

/// Above the services' own (DESIGN §9), below Linux's ephemeral ports.
const FIRST: u16 = 17_000;
const LAST: u16 = 32_700;
const TRIED: usize = 4_096;
