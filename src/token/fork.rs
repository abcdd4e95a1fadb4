//! Whether this process is still the one it was: a page that the kernel empties in every child.
//!
//! A pool of random bytes that a forked child inherits would hand parent and child the same
//! IVs. Python's own fork hooks do not see a fork by C code, and `pthread_atfork` does not see
//! a raw `clone`, so the answer comes from the kernel: `MADV_WIPEONFORK` (Linux 4.14).

#[cfg(target_os = "linux")]
mod imp {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Zero in a process that has not looked since it was forked.
    static WORD: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    /// An ordinary variable: a child goes on from its parent's value, so that no number that the
    /// child inherited in a pool is given out again.
    static LAST: AtomicU64 = AtomicU64::new(0);

    /// A number that differs between a process and every process forked from it; `None` where
    /// the kernel cannot tell.
    pub(crate) fn generation() -> Option<u64> {
        let word = (*WORD.get_or_init(wiped_on_fork))?;
        match word.load(Ordering::Relaxed) {
            0 => {
                let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
                match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => Some(fresh),
                    Err(other) => Some(other),
                }
            }
            generation => Some(generation),
        }
    }

    #[allow(unsafe_code)]
    fn wiped_on_fork() -> Option<&'static AtomicU64> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
        let size = rustix::param::page_size();
        // SAFETY: a fresh private anonymous mapping of one page aliases nothing. It is never
        // unmapped, so the reference is good for 'static; it is page-aligned and zeroed, which
        // is a valid AtomicU64; the kernel writes to it only in a child, before that child runs.
        // On failure of `madvise` the page is leaked, once a process.
        unsafe {
            let page = mmap_anonymous(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
            .ok()?;
            madvise(page, size, Advice::LinuxWipeOnFork).ok()?;
            Some(&*page.cast::<AtomicU64>())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    /// The process id: a child never has its parent's. Costs a cheap call into libc.
    pub(crate) fn generation() -> Option<u64> {
        Some(u64::from(std::process::id()))
    }
}

pub(crate) use imp::generation;
