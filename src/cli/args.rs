//! The arguments, judged: which verb, on what, with which configuration.

use super::help::{Topic, VERBS};
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;

/// What is to be done, and how the configuration is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// `--config`.
    pub(super) config: Option<PathBuf>,
    pub(super) command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Serve,
    Check,
    User(UserCommand),
    Compact,
    /// The file to write, and whether it may be there already.
    Backup(PathBuf, bool),
    /// The file to write.
    Salvage(PathBuf),
    /// The file to write.
    Export(PathBuf),
    Import(ImportCommand),
    Invite(InviteCommand),
    /// What is said, and the domain.
    Announce(String, Option<String>),
    /// What is shown, or nothing any more, and the domain.
    Motd(Option<String>, Option<String>),
    Status,
    Reload,
    Stop,
    Help(Topic),
    Version,
}

impl Command {
    /// Whether the verb may open the store itself, so that what it makes there must belong to the store's user. Verbs
    /// that read or write a file of the caller's stay the caller's: they make nothing beside the store.
    pub(super) fn opens_store(&self) -> bool {
        match self {
            Self::User(_) | Self::Compact | Self::Invite(_) | Self::Announce(..) | Self::Motd(..) => true,
            Self::Backup(..) | Self::Salvage(_) | Self::Export(_) | Self::Import(_) => false,
            Self::Serve | Self::Check | Self::Status | Self::Reload | Self::Stop | Self::Help(_) | Self::Version => {
                false
            }
        }
    }
}

/// What is imported, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImportCommand {
    /// A file, or Prosody's folder.
    pub(super) path: PathBuf,
    /// `--from prosody`.
    pub(super) is_prosody: bool,
    /// `--replace`.
    pub(super) replaces: bool,
}

/// Who is invited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InviteCommand {
    /// The username that the invitation is kept for.
    pub(super) name: Option<String>,
    /// The domain, where there are several.
    pub(super) domain: Option<String>,
    /// How long it is good.
    pub(super) days: u32,
}

/// How long an invitation is good where nothing else is said.
const INVITE_DAYS: u32 = 7;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum UserCommand {
    /// The address as written; so below.
    Add(String),
    Passwd(String),
    Del(String),
    Disable(String),
    Enable(String),
    /// A domain, or all of them.
    List(Option<String>),
}

/// Judges the arguments, the program's own name first.
pub(super) fn parse(args: &[OsString]) -> Result<Invocation, String> {
    let mut parser = lexopt::Parser::from_iter(args.iter().cloned());
    let (mut config, mut words, mut help, mut version) = (None, Vec::new(), false, false);
    let (mut from, mut replaces) = (None, false);
    let (mut domain, mut days, mut clears) = (None, None, false);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') | Long("config") => {
                let path = parser.value().map_err(|_| "--config needs a file: --config stonechat.toml".to_owned())?;
                if config.replace(PathBuf::from(path)).is_some() {
                    return Err("--config is there twice".to_owned());
                }
            }
            Long("from") => match parser.value().ok().and_then(|value| value.into_string().ok()) {
                Some(format) if format == "prosody" => from = Some(format),
                _ => return Err("--from needs the server that the data comes from: --from prosody".to_owned()),
            },
            Long("replace") => replaces = true,
            Long("domain") => match parser.value().ok().and_then(|value| value.into_string().ok()) {
                Some(name) => domain = Some(name),
                None => return Err("--domain needs a domain: --domain example.org".to_owned()),
            },
            Long("days") => {
                let given = parser.value().ok().and_then(|value| value.into_string().ok());
                let number = given.and_then(|text| text.parse().ok()).filter(|days| (1..=3650).contains(days));
                days = Some(number.ok_or("--days needs a number from 1 to 3650: --days 7")?);
            }
            Long("clear") => clears = true,
            Short('h') | Long("help") => help = true,
            Short('V') | Long("version") => version = true,
            Long(name) if name.starts_with("pass") => {
                return Err(format!(
                    "there is no option --{name}: a password is asked for, or read from standard input"
                ));
            }
            Value(word) => words.push(word.into_string().map_err(|_| "an argument is not UTF-8".to_owned())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match (help, version) {
        (true, _) => Command::Help(topic(&words)?),
        (false, true) => Command::Version,
        (false, false) => match words.as_slice() {
            ["import", path] => {
                let path = PathBuf::from(path);
                Command::Import(ImportCommand { path, is_prosody: from.is_some(), replaces })
            }
            ["backup", path] if from.is_none() => Command::Backup(PathBuf::from(path), replaces),
            _ if from.is_some() || replaces => {
                return Err("--from belongs to `import FILE`, --replace to it and to `backup FILE`".to_owned());
            }
            ["invite"] => Command::Invite(InviteCommand { name: None, domain, days: days.unwrap_or(INVITE_DAYS) }),
            ["invite", name] => {
                let name = Some((*name).to_owned());
                Command::Invite(InviteCommand { name, domain, days: days.unwrap_or(INVITE_DAYS) })
            }
            ["motd"] if clears => Command::Motd(None, domain),
            ["motd", text] if !clears => Command::Motd(Some((*text).to_owned()), domain),
            ["announce", text] => Command::Announce((*text).to_owned(), domain),
            _ if domain.is_some() || days.is_some() || clears => {
                return Err(
                    "--domain belongs to `invite`, `announce` and `motd`, --days to `invite`, --clear to `motd`"
                        .to_owned(),
                );
            }
            words => command(words)?,
        },
    };
    Ok(Invocation { config, command })
}

fn command(words: &[&str]) -> Result<Command, String> {
    Ok(match words {
        [] | ["serve"] => Command::Serve,
        ["check"] => Command::Check,
        ["compact"] => Command::Compact,
        ["salvage", path] => Command::Salvage(PathBuf::from(path)),
        ["export", path] => Command::Export(PathBuf::from(path)),
        ["backup"] => return Err("`backup` needs a file to write: backup store-2026-01-31.redb".to_owned()),
        ["salvage"] => return Err("`salvage` needs a file to write: salvage store-saved.redb".to_owned()),
        ["export"] => return Err("`export` needs a file to write: export accounts.xml".to_owned()),
        ["import"] => {
            return Err(
                "`import` needs a file: import accounts.xml, or import --from prosody /var/lib/prosody".to_owned()
            );
        }
        ["announce"] => return Err("`announce` needs a text: announce \"The server restarts at nine.\"".to_owned()),
        ["motd"] => return Err("`motd` needs a text, or --clear: motd \"Be kind.\"".to_owned()),
        ["status"] => Command::Status,
        ["reload"] => Command::Reload,
        ["stop"] => Command::Stop,
        ["help", rest @ ..] => Command::Help(topic(rest)?),
        ["user", rest @ ..] => Command::User(user(rest)?),
        [verb @ ("serve" | "check" | "compact" | "status" | "reload" | "stop"), extra, ..]
        | [verb @ ("backup" | "salvage" | "export" | "import" | "invite" | "announce" | "motd"), _, extra, ..] => {
            return Err(format!("`{verb}` takes no {extra:?}"));
        }
        [verb, ..] => return Err(unknown(verb)),
    })
}

fn user(words: &[&str]) -> Result<UserCommand, String> {
    let owned = |text: &str| text.to_owned();
    Ok(match words {
        ["add", address] => UserCommand::Add(owned(address)),
        ["passwd", address] => UserCommand::Passwd(owned(address)),
        ["del", address] => UserCommand::Del(owned(address)),
        ["disable", address] => UserCommand::Disable(owned(address)),
        ["enable", address] => UserCommand::Enable(owned(address)),
        ["list"] => UserCommand::List(None),
        ["list", domain] => UserCommand::List(Some(owned(domain))),
        [verb @ ("add" | "passwd" | "del" | "disable" | "enable")] => {
            return Err(format!("`user {verb}` needs an address: user {verb} alice@localhost"));
        }
        // What follows an address may be a password: it is not repeated.
        [verb @ ("add" | "passwd"), _, ..] => {
            return Err(format!(
                "`user {verb}` takes an address and nothing else: the password is asked for, or read from standard input"
            ));
        }
        [verb @ ("del" | "disable" | "enable" | "list"), ..] => {
            return Err(format!("`user {verb}` takes one argument"));
        }
        [] => return Err("`user` needs one of add, passwd, del, disable, enable and list".to_owned()),
        [other, ..] => {
            return Err(format!("there is no `user {other}`; there are add, passwd, del, disable, enable and list"));
        }
    })
}

/// What help is asked about; a verb's own words after it are passed over.
fn topic(words: &[&str]) -> Result<Topic, String> {
    let Some(verb) = words.first() else { return Ok(Topic::All) };
    VERBS.iter().find(|(name, _)| name == verb).map(|(_, topic)| *topic).ok_or_else(|| unknown(verb))
}

fn unknown(verb: &str) -> String {
    let names: Vec<&str> = VERBS.iter().map(|(name, _)| *name).collect();
    format!("there is no verb {verb:?}; there are {}", names.join(", "))
}
