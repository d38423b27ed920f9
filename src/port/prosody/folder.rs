//! Prosody's internal data folder: `host%2eexample/store/user.dat` and `.list`.
//!
//! Names are percent-encoded. The names of one host's users are held at once; of what they have, one user's.

use super::lua::{self, Value};
use super::{OFFLINE, STORES, Stores, stored};
use crate::limits::PROSODY_FILE_BYTES_MAX;
use crate::port::{Person, Problem, Source};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Reads a data folder, host by host, user by user, each in order.
#[derive(Debug)]
pub struct Folder {
    /// Hosts to come, the next one last: name and folder.
    hosts: Vec<(String, PathBuf)>,
    host: String,
    path: PathBuf,
    /// Users of this host to come, the next one last, as their files are called.
    users: Vec<String>,
}

impl Folder {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or there is no host in it.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let mut hosts = Vec::new();
        for name in names(path)? {
            let folder = path.join(&name);
            if let Some(host) = decode(&name).filter(|_| name != "_global" && folder.join("accounts").is_dir()) {
                hosts.push((host, folder));
            }
        }
        if hosts.is_empty() {
            return Err(Problem::of_file(path, "no data of Prosody: no folder of a host with accounts in it"));
        }
        hosts.reverse();
        Ok(Self { hosts, host: String::new(), path: PathBuf::new(), users: Vec::new() })
    }

    /// Takes the next host up, with all that have data there.
    fn next_host(&mut self, problems: &mut Vec<Problem>) -> Result<bool, Problem> {
        let Some((host, path)) = self.hosts.pop() else { return Ok(false) };
        let mut users = BTreeSet::new();
        let mut left = Vec::new();
        for store in names(&path)? {
            let is_read = store == OFFLINE || STORES.contains(&store.as_str());
            let folder = path.join(&store);
            if !is_read {
                left.extend(folder.is_dir().then_some(store));
                continue;
            }
            for name in names(&folder)? {
                users.extend(name.strip_suffix(".dat").or(name.strip_suffix(".list")).map(str::to_owned));
            }
        }
        if !left.is_empty() {
            problems.push(Problem::of_file(&path, format!("not taken over: {}", left.join(", "))));
        }
        (self.host, self.path, self.users) = (host, path, users.into_iter().rev().collect());
        Ok(true)
    }

    fn person(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Person> {
        let mut stores = Stores::default();
        let file_of = |store: &str, end: &str| self.path.join(store).join(format!("{name}.{end}"));
        let Some(user) = decode(name) else {
            problems.push(Problem::of_file(&file_of("accounts", "dat"), "its name does not decode"));
            return None;
        };
        let bare = format!("{user}@{}", self.host);
        let mut tell = |file: &Path, what: String| {
            problems.push(Problem { file: file.to_owned(), user: Some(bare.clone()), what });
        };
        for store in STORES {
            let path = file_of(store, "dat");
            match read(&path).map(|bytes| bytes.map(|bytes| lua::returned(&bytes))) {
                Ok(None) => {}
                Ok(Some(Ok(Value::Table(table)))) => {
                    if let Some(place) = stores.of(store) {
                        *place = Some(table);
                    }
                }
                Ok(Some(Ok(_))) => tell(&path, "no table".to_owned()),
                Ok(Some(Err(fault))) => tell(&path, fault.to_string()),
                Err(error) => tell(&path, error.to_string()),
            }
        }
        let path = file_of(OFFLINE, "list");
        match read(&path).map(|bytes| lua::items(&bytes.unwrap_or_default())) {
            Ok(Ok(items)) => stores.offline = items.iter().map(stored).collect(),
            Ok(Err(fault)) => tell(&path, fault.to_string()),
            Err(error) => tell(&path, error.to_string()),
        }
        let path = self.path.clone();
        stores.person(&self.host, &user, |what| tell(&path, what))
    }
}

impl Source for Folder {
    fn next(&mut self, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem> {
        loop {
            match self.users.pop() {
                Some(name) => {
                    if let Some(person) = self.person(&name, problems) {
                        return Ok(Some(person));
                    }
                }
                None if self.next_host(problems)? => {}
                None => return Ok(None),
            }
        }
    }
}

/// The names in a folder, in order.
fn names(path: &Path) -> Result<Vec<String>, Problem> {
    let read = |path: &Path| -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // What is not UTF-8 is no name of Prosody's, which encodes all but letters and digits.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    };
    read(path).map_err(|error| Problem::of_file(path, error))
}

/// The bytes of a file; none if it is not there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(PROSODY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PROSODY_FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(Some(bytes))
}

/// `capulet%2eexample` → `capulet.example`.
fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                tail
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*byte);
                tail
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn names_are_percent_encoded() {
        for (name, decoded) in [
            ("capulet%2eexample", Some("capulet.example")),
            ("a%c3%A9", Some("a\u{e9}")),
            ("%c3", None),
            ("a%2", None),
            ("a%zz", None),
            ("", Some("")),
        ] {
            assert_eq!(decode(name).as_deref(), decoded, "{name}");
        }
    }
}
