//! What the test binaries share.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of a test binary is never reachable from elsewhere")]
#![allow(clippy::result_large_err, reason = "a mismatch is told once, at the end of a test")]
#![allow(clippy::disallowed_types, reason = "the banned types are about the server's shape, not the tests'")]

pub mod script;
