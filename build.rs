//! Lets the code ask which Python it is built for, and links the unwinder.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "python")]
    {
        pyo3_build_config::use_pyo3_cfgs();
        link_unwinder();
    }
}

/// Links the system's unwinder before others that a linker may bring, as zig does.
///
/// CPython before 3.14 ends daemon threads with `pthread_exit` when the interpreter ends. It unwinds
/// them with libgcc's unwinder, and another one within the extension crashes there.
#[cfg(feature = "python")]
fn link_unwinder() {
    use std::{env, path::Path, process::Command};

    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let native = env::var("HOST") == env::var("TARGET");
    if !is_set("CARGO_CFG_TARGET_OS", "linux") || !is_set("CARGO_CFG_TARGET_ENV", "gnu") || !native
    {
        return;
    }
    let asked = Command::new("cc").arg("-print-file-name=libgcc_s.so.1").output();
    let (Ok(answer), Some(folder)) = (asked, env::var_os("OUT_DIR")) else { return };
    let library = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    // Under its own name, zig would replace it.
    let link = Path::new(&folder).join("libunwinder.so");
    if Path::new(&library).is_absolute() && std::fs::copy(&library, &link).is_ok() {
        println!("cargo::rustc-link-search=native={}", Path::new(&folder).display());
        println!("cargo::rustc-link-lib=dylib=unwinder");
    }
}
