//! The secrets of components: taken from the configuration or from files that nobody else may read.

use super::BootError;
use crate::config::{ComponentConfig, Config, SecretConfig};
use crate::limits::SECRET_FILE_BYTES_MAX;
use crate::stream::component::Secret;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Permission bits of a secret's file that let others read it. A group may: the server and the component share one.
const OTHERS_READ: u32 = 0o007;

/// Each component's name and secret, for the server.
///
/// # Errors
///
/// [`BootError::Secret`]: a file that cannot be read, that others can read, or that holds nothing.
pub(super) fn secrets(config: &Config) -> Result<Vec<(String, Secret)>, BootError> {
    config.components.iter().map(|component| Ok((component.name.clone(), secret(component)?))).collect()
}

/// The secret of one component.
pub(super) fn secret(component: &ComponentConfig) -> Result<Secret, BootError> {
    let path = match &component.secret {
        SecretConfig::Words(words) => return Ok(Secret::new(words.clone())),
        SecretConfig::File(path) => path,
    };
    let refuse = |why: String| BootError::Secret { component: component.name.clone(), path: path.clone(), why };
    let text = read(path).map_err(|error| refuse(error.to_string()))?;
    let mode = text.1;
    if mode & OTHERS_READ != 0 {
        return Err(refuse(format!("mode {mode:04o} lets everybody read it; run chmod 0640 or 0600 on it")));
    }
    // An editor ends the line; the secret is what stands on it.
    match text.0.lines().next().unwrap_or_default() {
        "" => Err(refuse("its first line is empty; write the secret there".to_owned())),
        words => Ok(Secret::new(words.to_owned())),
    }
}

/// The text of a file, and its permissions.
fn read(path: &Path) -> io::Result<(Zeroizing<String>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut text = Zeroizing::new(String::new());
    file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok((text, mode))
}
