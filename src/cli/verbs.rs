//! What each verb does and prints.

use super::args::{InviteCommand, UserCommand};
use super::{Exit, Surroundings, offline, print, say, source};
use crate::admin::{Answer, Request, Status, UserRequest};
use crate::boot::{self, Finding};
use crate::clock::Clock;
use crate::config::{Config, Registration};
use crate::jid;
use crate::random::Random;
use std::path::Path;

/// What a verb says at its end.
pub(super) type Outcome = Result<(), String>;

/// Prints what went wrong, if anything did.
pub(super) fn end(around: &mut Surroundings<'_>, outcome: Outcome) -> Exit {
    match outcome {
        Ok(()) => Exit::Done,
        Err(why) => {
            say(around.err, &why);
            Exit::Failed
        }
    }
}

/// `check`: every finding a line.
pub(super) fn check(around: &mut Surroundings<'_>, config: &Config) -> Exit {
    say(around.out, &format!("configuration: {}", source(&config.source)));
    let mut exit = Exit::Done;
    for finding in boot::check(config) {
        let line = match finding {
            Finding::Good(what) => format!("ok       {what}"),
            Finding::Warning(what) => format!("warning  {what}"),
            Finding::Fault(what) => {
                exit = Exit::Config;
                format!("FAULT    {what}")
            }
        };
        say(around.out, &line);
    }
    exit
}

/// `user …`.
pub(super) fn user(around: &mut Surroundings<'_>, config: &Config, command: UserCommand) -> Exit {
    let outcome = offline::data_dir(config, around.err).and_then(|data_dir| match command {
        UserCommand::Add(text) => change(around, config, &data_dir, &text, Change::Add),
        UserCommand::Passwd(text) => change(around, config, &data_dir, &text, Change::Passwd),
        UserCommand::Del(text) => change(around, config, &data_dir, &text, Change::Del),
        UserCommand::Disable(text) => change(around, config, &data_dir, &text, Change::Disable),
        UserCommand::Enable(text) => change(around, config, &data_dir, &text, Change::Enable),
        UserCommand::List(domain) => list(around, config, &data_dir, domain.as_deref()),
    });
    end(around, outcome)
}

#[derive(Clone, Copy)]
enum Change {
    Add,
    Passwd,
    Del,
    Disable,
    Enable,
}

fn change(around: &mut Surroundings<'_>, config: &Config, data_dir: &Path, text: &str, change: Change) -> Outcome {
    let address = offline::address(text, config)?;
    let name = address.as_str().to_owned();
    let mut credentials = || {
        offline::check_hosted(&address, config)?;
        offline::credentials(&around.passwords.ask(&name)?, config)
    };
    let (request, done) = match change {
        Change::Add => {
            let credentials = credentials()?;
            (UserRequest::Add { address, credentials }, "added")
        }
        Change::Passwd => {
            let credentials = credentials()?;
            (UserRequest::Passwd { address, credentials }, "given a new password")
        }
        Change::Del => (UserRequest::Del { address }, "deleted"),
        Change::Disable => (UserRequest::Disable { address, disabled: true }, "disabled"),
        Change::Enable => (UserRequest::Disable { address, disabled: false }, "enabled"),
    };
    match offline::ask(&request, config, data_dir)? {
        Answer::Done => {
            say(around.out, &format!("{name} {done}"));
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

/// The domain that is meant: the one named, or the first.
fn domain_of(config: &Config, named: Option<&str>) -> Result<String, String> {
    match named {
        Some(text) => {
            let domain = jid::prepare_domainpart(text).map_err(|error| format!("{text:?} is no domain: {error}"))?;
            Ok(domain.into_owned())
        }
        None => Ok(config.domains.first().map_or_else(|| "localhost".to_owned(), |domain| domain.name.clone())),
    }
}

/// `invite`: the link, alone on its line.
pub(super) fn invite(around: &mut Surroundings<'_>, config: &Config, command: InviteCommand) -> Exit {
    let outcome = offline::data_dir(config, around.err).and_then(|data_dir| {
        if config.registration == Registration::Closed {
            return Err("registration is closed; write registration = \"invite\" into the configuration first".into());
        }
        let domain = domain_of(config, command.domain.as_deref())?;
        let localpart = command.name.map(|name| match jid::prepare_localpart(&name) {
            Ok(localpart) => Ok(localpart.into_owned()),
            Err(error) => Err(format!("{name:?} is no username: {error}")),
        });
        let localpart = localpart.transpose()?;
        let token = Random::system().token();
        let expires_unix_s = Clock::new().now().unix_s() + u64::from(command.days) * 86_400;
        let link = invitation_link(localpart.as_deref(), &domain, &token);
        match offline::ask(&UserRequest::Invite { domain, token, localpart, expires_unix_s }, config, &data_dir)? {
            Answer::Done => {
                say(around.out, &link);
                Ok(())
            }
            other => Err(unexpected(other)),
        }
    });
    end(around, outcome)
}

/// XEP-0401 §3, XEP-0445 §3: an address as RFC 5122 writes it, and the token, whose letters need no escape.
pub(super) fn invitation_link(localpart: Option<&str>, domain: &str, token: &str) -> String {
    let mut link = "xmpp:".to_owned();
    if let Some(localpart) = localpart {
        escape(localpart, "-._~!$()*+,;=", &mut link);
        link.push('@');
    }
    escape(domain, "-._~[]:", &mut link);
    link.push_str("?register;preauth=");
    link.push_str(token);
    link
}

/// Appends a part of an address with everything else than letters, digits and `plain` escaped.
fn escape(part: &str, plain: &str, link: &mut String) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `announce`.
pub(super) fn announce(around: &mut Surroundings<'_>, config: &Config, text: String, domain: Option<&str>) -> Exit {
    let outcome = domain_of(config, domain)
        .and_then(|domain| running(around, config, &Request::User(UserRequest::Announce { domain, text })));
    told(around, outcome, "everybody who is online was told")
}

/// `motd`.
pub(super) fn motd(around: &mut Surroundings<'_>, config: &Config, text: Option<String>, domain: Option<&str>) -> Exit {
    let done = if text.is_some() { "the message of the day is set" } else { "there is no message of the day any more" };
    let outcome = offline::data_dir(config, around.err).and_then(|data_dir| {
        let domain = domain_of(config, domain)?;
        offline::ask(&UserRequest::Motd { domain, text }, config, &data_dir)
    });
    told(around, outcome, done)
}

fn list(around: &mut Surroundings<'_>, config: &Config, data_dir: &Path, domain: Option<&str>) -> Outcome {
    let domains = match domain {
        Some(text) => {
            let domain = jid::prepare_domainpart(text).map_err(|error| format!("{text:?} is no domain: {error}"))?;
            vec![domain.into_owned()]
        }
        None => config.domains.iter().map(|domain| domain.name.clone()).collect(),
    };
    for domain in domains {
        let mut after = None;
        loop {
            let (localparts, more) = page(config, data_dir, &domain, after)?;
            for localpart in &localparts {
                // Whoever reads may have had enough, such as `head`.
                if print(around.out, &format!("{localpart}@{domain}")).is_err() {
                    return Ok(());
                }
            }
            after = localparts.into_iter().next_back();
            if !more || after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

fn page(config: &Config, data_dir: &Path, domain: &str, after: Option<String>) -> Result<(Vec<String>, bool), String> {
    match offline::ask(&UserRequest::List { domain: domain.to_owned(), after }, config, data_dir)? {
        Answer::Users { localparts, more } => Ok((localparts, more)),
        other => Err(unexpected(other)),
    }
}

/// `compact`.
pub(super) fn compact(around: &mut Surroundings<'_>, config: &Config) -> Exit {
    let outcome = offline::data_dir(config, around.err).and_then(|data_dir| {
        let mut store = boot::open_store(&data_dir, &config.storage, false).map_err(|error| error.to_string())?;
        store.compact().map_err(|error| error.to_string())
    });
    let outcome = outcome.map(|compacted| {
        let text = format!("{} bytes before, {} after", compacted.bytes_before, compacted.bytes_after);
        say(around.out, &text);
    });
    end(around, outcome)
}

/// `status`.
pub(super) fn status(around: &mut Surroundings<'_>, config: &Config) -> Exit {
    let outcome = running(around, config, &Request::Status).and_then(|answer| match answer {
        Answer::Status(status) => {
            say(around.out, &described(&status));
            Ok(())
        }
        other => Err(unexpected(other)),
    });
    end(around, outcome)
}

fn described(status: &Status) -> String {
    let Status { program, pid, uptime_s, domains, connections, sessions, counters } = status;
    let mut rows = vec![
        ("version", program.clone()),
        ("process", pid.to_string()),
        ("uptime_s", uptime_s.to_string()),
        ("domains", domains.join(" ")),
        ("connections", connections.to_string()),
        ("sessions", sessions.to_string()),
    ];
    for (name, count) in counters {
        // Those above are counted among all.
        if rows.iter().all(|(known, _)| known != name) {
            rows.push((name, count.to_string()));
        }
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// `reload`.
pub(super) fn reload(around: &mut Surroundings<'_>, config: &Config) -> Exit {
    let outcome = running(around, config, &Request::Reload);
    told(around, outcome, "certificates and log level are loaded again")
}

/// `stop`.
pub(super) fn stop(around: &mut Surroundings<'_>, config: &Config) -> Exit {
    let outcome = running(around, config, &Request::Stop);
    told(around, outcome, "the server is stopping")
}

fn told(around: &mut Surroundings<'_>, outcome: Result<Answer, String>, done: &str) -> Exit {
    let outcome = outcome.and_then(|answer| match answer {
        Answer::Done => {
            say(around.out, done);
            Ok(())
        }
        other => Err(unexpected(other)),
    });
    end(around, outcome)
}

/// The answer of a server that must run.
fn running(around: &mut Surroundings<'_>, config: &Config, request: &Request) -> Result<Answer, String> {
    let data_dir = offline::data_dir(config, around.err)?;
    offline::call_server(request, &data_dir)?.ok_or_else(|| format!("no server runs on {}", data_dir.display()))
}

fn unexpected(answer: Answer) -> String {
    match answer {
        Answer::Refused(refusal) => refusal.to_string(),
        Answer::Done | Answer::Users { .. } | Answer::Progress { .. } | Answer::BackedUp { .. } | Answer::Status(_) => {
            "the server answered something else".to_owned()
        }
    }
}
