//! Where a new password comes from: a terminal, twice and unseen, or the first line of standard input.

use std::io::{self, BufRead, IsTerminal as _, Read as _};
use zeroize::Zeroizing;

/// Longest line read as a password; `crate::jid::prepare_password` allows less.
const LINE_BYTES_MAX: usize = 4096;

/// Where passwords come from.
pub trait Passwords {
    /// A new password for `address`, as typed.
    ///
    /// # Errors
    ///
    /// Why there is none, in a sentence for the operator.
    fn ask(&mut self, address: &str) -> Result<Zeroizing<String>, String>;
}

/// The process's terminal if it has one, else its standard input.
#[derive(Debug, Default)]
pub struct StandardInput;

impl Passwords for StandardInput {
    fn ask(&mut self, address: &str) -> Result<Zeroizing<String>, String> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return first_line(&mut stdin.lock());
        }
        let prompt = |text: String| {
            let typed = rpassword::prompt_password(text);
            typed.map(Zeroizing::new).map_err(|error| format!("no password could be read from the terminal: {error}"))
        };
        let password = prompt(format!("Password for {address}: "))?;
        let again = prompt("The same again: ".to_owned())?;
        if *password != *again {
            return Err("the two are not the same; nothing was changed".to_owned());
        }
        Ok(password)
    }
}

/// The first line, without its end.
pub(super) fn first_line(input: &mut dyn BufRead) -> Result<Zeroizing<String>, String> {
    // Made in its full size: a growing one would leave pieces of the password behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let read = input.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
    read.map_err(|error| format!("no password could be read from standard input: {error}"))?;
    let ended = line.strip_suffix(b"\n");
    if ended.is_none() && line.len() == LINE_BYTES_MAX {
        return Err("the first line of standard input is too long for a password".to_owned());
    }
    let text = ended.map_or(&line[..], |text| text.strip_suffix(b"\r").unwrap_or(text));
    if text.is_empty() {
        return Err("no password: the first line of standard input is empty".to_owned());
    }
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err("the password on standard input is not UTF-8".to_owned()),
    }
}
