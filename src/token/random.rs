//! The one source of randomness.
//!
//! Keys come from the operating system directly. Initialisation vectors, which every token shows
//! in the clear, come from a small pool per thread, which the operating system fills: one system
//! call per IV would cost as much as the rest of a short token.
//!
//! A forked child discards the pool that it inherits. A machine that is resumed twice from one image
//! of its memory (a function's snapshot, a clone) cannot tell, so a pool is good for one second of
//! wall-clock time at most, and not after the clock went back.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use super::fork;

/// Bytes in a thread's pool: 64 IVs per system call.
const POOL: usize = 1024;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

/// For how long a pool is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Pool {
    bytes: [u8; POOL],
    used: usize,
    generation: u64,
    /// When it was filled.
    filled: SystemTime,
}

thread_local! {
    static IVS: RefCell<Pool> = const {
        RefCell::new(Pool {
            bytes: [0; POOL],
            used: POOL,
            generation: 0,
            filled: SystemTime::UNIX_EPOCH,
        })
    };
}

/// Fills `bytes` from the operating system.
///
/// # Errors
/// [`NoRandomness`] when it has none to give.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(bytes).map_err(|_| NoRandomness)
}

/// Draws an initialisation vector that no other thread, process or call has drawn.
///
/// # Errors
/// [`NoRandomness`] when the operating system has none to give.
pub fn iv() -> Result<[u8; 16], NoRandomness> {
    draw()
}

/// Draws a nonce for XAES-256-GCM that no other thread, process or call has drawn.
///
/// # Errors
/// [`NoRandomness`] when the operating system has none to give.
pub fn nonce() -> Result<[u8; 24], NoRandomness> {
    draw()
}

fn draw<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut drawn = [0; N];
    match fork::generation() {
        Some(generation) => {
            let now = SystemTime::now();
            IVS.with_borrow_mut(|pool| pool.draw(generation, now, &mut drawn))?;
        }
        None => fill(&mut drawn)?,
    }
    Ok(drawn)
}

impl Pool {
    #[expect(
        clippy::indexing_slicing,
        reason = "the pool is filled again if fewer bytes are left, and no draw is longer than it"
    )]
    fn draw(
        &mut self,
        generation: u64,
        now: SystemTime,
        out: &mut [u8],
    ) -> Result<(), NoRandomness> {
        // An error if the clock went back.
        let is_fresh = now.duration_since(self.filled).is_ok_and(|age| age < GOOD_FOR);
        if self.used + out.len() > POOL || self.generation != generation || !is_fresh {
            // Marked as spent first, so that a failure leaves no old bytes to be drawn again.
            self.used = POOL;
            fill(&mut self.bytes)?;
            self.used = 0;
            self.generation = generation;
            self.filled = now;
        }
        let drawn = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(drawn);
        drawn.fill(0);
        self.used += out.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn drawn(pool: &mut Pool, now: SystemTime) -> [u8; 16] {
        let mut iv = [0; 16];
        pool.draw(1, now, &mut iv).expect("random");
        iv
    }

    #[test]
    fn machines_resumed_from_one_image_draw_different_bytes() {
        let at =
            |seconds, nanoseconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        let mut pool = IVS.with_borrow(Pool::clone);
        drawn(&mut pool, at(1000, 500));
        for (later, alike) in [
            (at(1000, 500), true),
            (at(1001, 499), true),
            (at(1001, 500), false),
            (at(5000, 0), false),
            // The clock of the image's host was ahead.
            (at(1000, 499), false),
            (at(0, 0), false),
        ] {
            let (mut first, mut second) = (pool.clone(), pool.clone());
            let (first, second) = (drawn(&mut first, later), drawn(&mut second, later));
            assert_eq!(first == second, alike, "{later:?}");
        }
    }

    #[test]
    fn nonces_and_ivs_of_one_pool_differ() {
        // Nonces alone do not fill the pool to its last byte.
        let nonces = (0..1000).map(|_| nonce().expect("random")[..16].to_vec());
        let mixed = (0..1000).map(|number| match number % 3 {
            0 => nonce().expect("random")[..16].to_vec(),
            _ => iv().expect("random").to_vec(),
        });
        assert_eq!(nonces.chain(mixed).collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn ivs_of_all_threads_differ() {
        let drawn: Vec<Vec<[u8; 16]>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1000).map(|_| iv().expect("random")).collect()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("joined")).collect()
        });
        let all: HashSet<_> = drawn.iter().flatten().collect();
        assert_eq!(all.len(), 8000);
    }
}
