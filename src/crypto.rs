//! The crypto provider's primitives, under one name.
//!
//! `ring` by default, `aws-lc-rs` by feature; the two have the same API. TLS uses the same crate
//! (see `transport/tls.rs`), so a build holds one implementation of everything.

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
pub use aws_lc_rs::{digest, hkdf, hmac, pbkdf2, rand};
#[cfg(feature = "ring")]
pub use ring::{digest, hkdf, hmac, pbkdf2, rand};

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("stonechat needs a crypto provider: build with feature `ring` (default) or `aws-lc-rs`");
