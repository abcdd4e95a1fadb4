//! Detects a fork, with a page that the kernel zeroes in every child.
//!
//! A forked child inherits a pool of random bytes, and would draw the same IVs as its parent.
//! Python's fork hooks do not see a fork by C code, and `pthread_atfork` does not see a raw `clone`;
//! the kernel sees each of them: `MADV_WIPEONFORK` (Linux 4.14).

#[cfg(target_os = "linux")]
mod wiped_page {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Zero in a process that has not asked for its generation since it was forked.
    static WORD: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    /// An ordinary variable, which a child inherits: the child counts on from its parent's value
    /// and never reuses a generation that an inherited pool carries.
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

    #[expect(unsafe_code, reason = "asks the kernel for a page that it wipes in forked children")]
    fn wiped_on_fork() -> Option<&'static AtomicU64> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
        let size = rustix::param::page_size();
        // SAFETY: `page` is a fresh private anonymous mapping, so nothing else points into it. It
        // is never unmapped, so a 'static reference to it stays valid. It is page-aligned and
        // zeroed, which is a valid AtomicU64. The kernel writes to it only in a forked child, and
        // before the child runs. If `madvise` fails, the page leaks, once per process.
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
mod process_id {
    /// The process id, which differs between a child and its parent.
    pub(crate) fn generation() -> Option<u64> {
        Some(u64::from(std::process::id()))
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use process_id::generation;
#[cfg(target_os = "linux")]
pub(crate) use wiped_page::generation;
