//! The one source of randomness.
//!
//! Keys come from the operating system directly. Initialisation vectors, which every token shows
//! in the clear, come from a small pool per thread, which the operating system fills and a forked
//! child discards: one system call per IV would cost as much as the rest of a short token.

use std::cell::RefCell;

use super::fork;

/// Bytes in a thread's pool: 64 IVs per system call.
const POOL: usize = 1024;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
    generation: u64,
}

thread_local! {
    static IVS: RefCell<Pool> = const {
        RefCell::new(Pool { bytes: [0; POOL], used: POOL, generation: 0 })
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
        Some(generation) => IVS.with_borrow_mut(|pool| pool.draw(generation, &mut drawn))?,
        None => fill(&mut drawn)?,
    }
    Ok(drawn)
}

impl Pool {
    fn draw(&mut self, generation: u64, out: &mut [u8]) -> Result<(), NoRandomness> {
        if self.used + out.len() > POOL || self.generation != generation {
            // Marked as spent first, so that a failure leaves no old bytes to be drawn again.
            self.used = POOL;
            fill(&mut self.bytes)?;
            self.used = 0;
            self.generation = generation;
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
