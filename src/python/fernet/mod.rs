//! `Fernet` and `MultiFernet`, drop-in for those of `cryptography.fernet`.

mod arguments;
#[expect(clippy::module_inception, reason = "named after its class, like its sibling")]
pub(crate) mod fernet;
pub(crate) mod multi_fernet;
