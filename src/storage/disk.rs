//! The real store.
