//! What a verb needs of the layers below: prepared addresses, derived keys, and whoever holds the store.

use super::say;
use crate::admin::client::{CallError, call};
use crate::admin::{self, Answer, Refusal, Request, UserRequest};
use crate::boot::{self, BootError};
use crate::config::Config;
use crate::im::columns::Bounds;
use crate::im::unattended::Unattended;
use crate::jid::{self, Jid};
use crate::random::Random;
use crate::sasl::{self, Credentials, ScramHash};
use crate::storage::offline;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The data folder of a verb, printed. It must be there: only serving makes one.
pub(super) fn data_dir(config: &Config, err: &mut dyn Write) -> Result<PathBuf, String> {
    let path = boot::absolute(&config.data_dir);
    say(err, &format!("data folder: {}", path.display()));
    match fs::metadata(&path) {
        Ok(data) if data.is_dir() => Ok(path),
        Ok(_) => Err(BootError::NotAFolder { path }.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!(
            "there is no data folder {}; start the server once, it makes one (or name the right folder with --config or data_dir)",
            path.display()
        )),
        Err(error) => Err(BootError::Folder { path, why: error.to_string() }.to_string()),
    }
}

/// The address of an account.
pub(super) fn address(text: &str, config: &Config) -> Result<Jid, String> {
    let example = config.domains.first().map_or("localhost", |domain| &domain.name);
    let jid = Jid::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    match (jid.localpart(), jid.is_bare()) {
        (Some(_), true) => Ok(jid),
        (None, _) => {
            let meant = match config.domain(jid.domainpart()) {
                Some(domain) => format!("alice@{}", domain.name),
                None => format!("{text}@{example}"),
            };
            Err(format!("{text:?} names no account: write localpart@domain, such as {meant}"))
        }
        (Some(_), false) => Err(format!("{text:?} names one session: write {} alone", jid.bare())),
    }
}

/// Refuses a domain that is not hosted, before a password is asked for. The running server has the last word.
pub(super) fn check_hosted(address: &Jid, config: &Config) -> Result<(), String> {
    let domain = address.domainpart().to_owned();
    if config.domain(&domain).is_some() {
        return Ok(());
    }
    let hosted = config.domains.iter().take(admin::HOSTED_SHOWN_MAX).map(|domain| domain.name.clone()).collect();
    Err(Refusal::NoSuchDomain { domain, hosted }.to_string())
}

/// The keys to be stored instead of a password. Takes some milliseconds, by purpose.
pub(super) fn credentials(password: &str, config: &Config) -> Result<Credentials, String> {
    let prepared = jid::prepare_password(password).map_err(|error| error.to_string())?;
    let job = sasl::derive(&prepared, &ScramHash::ALL, config.scram_iterations, &mut Random::system());
    Ok(Credentials { keys: job.run().derived, disabled: false })
}

/// Has it done by the running server, or does it while none runs.
pub(super) fn ask(request: &UserRequest, config: &Config, data_dir: &Path) -> Result<Answer, String> {
    match call_server(&Request::User(request.clone()), data_dir)? {
        Some(answer) => Ok(answer),
        None => execute(request, config, data_dir).map_err(|error| error.to_string()),
    }
}

/// The running server's answer; none if no server runs.
pub(super) fn call_server(request: &Request, data_dir: &Path) -> Result<Option<Answer>, String> {
    let path = admin::socket_path(data_dir);
    match call(&path, request) {
        Ok(answer) => Ok(Some(answer)),
        Err(CallError::NotRunning) => Ok(None),
        Err(CallError::Denied(error)) => {
            Err(format!("{}: {error}; run stonechat as the user that runs the server", path.display()))
        }
        Err(CallError::Broken(why)) => Err(why),
    }
}

fn execute(request: &UserRequest, config: &Config, data_dir: &Path) -> Result<Answer, BootError> {
    let mut store = boot::open_store(data_dir, &config.storage, false)?;
    let hosted: Vec<&str> = config.domains.iter().map(|domain| domain.name.as_str()).collect();
    let mut columns = Unattended::new(hosted.iter().map(|&name| name.to_owned()), Bounds::from(&config.limits));
    offline::run(&mut store, |store| admin::execute(request, &hosted, &mut columns.lend(store)))
        .map_err(|error| BootError::Store { data_dir: data_dir.to_owned(), error })
}
