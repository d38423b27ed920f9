//! Files for readers that want one; they are gone afterwards.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where they lie: in memory, if the system has such a place.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
    })
}

/// Lends a file with these bytes.
pub(super) fn with_file(name: &str, bytes: &[u8], work: impl FnOnce(&Path)) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder().join(format!("stonechat-fuzz-{}-{number}-{name}", std::process::id()));
    std::fs::write(&path, bytes).expect("room for a file");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&path)));
    let _gone = std::fs::remove_file(&path);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
