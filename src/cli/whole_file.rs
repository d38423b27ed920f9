//! A file that appears under its name when it is whole and on disk, for its owner only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What is being written, under a name of its own. Dropped before it is whole, it is gone.
pub(super) struct WholeFile {
    path: PathBuf,
    new: PathBuf,
    file: File,
    is_named: bool,
}

impl WholeFile {
    /// Begins a file that will be `path`. One that a crash left half is gone; one that another process writes is not.
    pub(super) fn begin(path: &Path) -> Result<Self, String> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let begun = private_file(&new).map_err(|error| format!("{}: {error}", new.display()))?;
        Ok(Self { path: path.to_owned(), new, file: begun, is_named: false })
    }

    /// The file, open for reading and writing.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Under which name it is written.
    pub(super) fn new_path(&self) -> &Path {
        &self.new
    }

    /// It is whole: down to the disk with it, and then it gets its name.
    pub(super) fn publish(mut self) -> Result<(), String> {
        let published = || {
            self.file.sync_all()?;
            fs::rename(&self.new, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        published().map_err(|error: io::Error| format!("{}: {error}", self.path.display()))?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_named {
            // Half a file is of no use, and holds keys.
            let _ = fs::remove_file(&self.new);
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    match File::open(path).map(|left| left.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "another process is writing it"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    match file.try_lock() {
        // A file system without locks has to do without.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(ErrorKind::ResourceBusy, "another process is writing it")),
    }
}
