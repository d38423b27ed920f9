//! How requests and answers are written: one JSON object a line.
//!
//! ```text
//! {"version":1,"verb":"user-add","address":"alice@localhost","credentials":"AQAC…"}
//! {"version":1,"ok":true}
//! {"version":1,"ok":false,"error":"account-exists","message":"…","address":"alice@localhost"}
//! ```
//!
//! A request with a key that its version does not know is refused; an answer may have more keys than its reader knows.

use super::{Answer, CONTROL_LINE_BYTES_MAX, CONTROL_VERSION, Refusal, Request, Status, UserRequest};
use crate::jid::{self, Jid};
use crate::sasl::{Credentials, base64};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// Every key a request may have.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    version: u32,
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    localpart: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// What must be read before anything else can be.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Every key an answer may have.
#[derive(Default, Deserialize, Serialize)]
struct AnswerLine {
    version: u32,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosted: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    users: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

impl Drop for RequestLine {
    fn drop(&mut self) {
        self.credentials.zeroize();
        self.token.zeroize();
    }
}

impl Request {
    /// Judges one line, with or without its end.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnsupportedVersion`] or [`Refusal::BadRequest`]: send it as the answer and close.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let bad = |why: &str| Refusal::BadRequest { why: why.to_owned() };
        if line.len() > CONTROL_LINE_BYTES_MAX {
            return Err(bad("the line is too long"));
        }
        // The JSON library's own words may repeat the line, which may hold keys: only the place is told.
        let at =
            |error: serde_json::Error| bad(&format!("not the JSON object of a request (column {})", error.column()));
        let Versioned { version } = serde_json::from_slice(line).map_err(at)?;
        if version != CONTROL_VERSION {
            return Err(Refusal::UnsupportedVersion);
        }
        let mut wire: RequestLine = serde_json::from_slice(line).map_err(at)?;
        let request = match wire.verb.as_str() {
            "user-add" => Self::User(UserRequest::Add { address: wire.address()?, credentials: wire.credentials()? }),
            "user-passwd" => {
                Self::User(UserRequest::Passwd { address: wire.address()?, credentials: wire.credentials()? })
            }
            "user-del" => Self::User(UserRequest::Del { address: wire.address()? }),
            "user-disable" => Self::User(UserRequest::Disable { address: wire.address()?, disabled: true }),
            "user-enable" => Self::User(UserRequest::Disable { address: wire.address()?, disabled: false }),
            "invite" => Self::User(UserRequest::Invite {
                domain: wire.domain()?,
                token: wire.token.take().filter(|token| token.len() >= 16).ok_or_else(|| missing("token"))?,
                localpart: wire.localpart()?,
                expires_unix_s: wire.expires.take().ok_or_else(|| missing("expires"))?,
            }),
            "announce" => Self::User(UserRequest::Announce { domain: wire.domain()?, text: wire.text()? }),
            "motd" => Self::User(UserRequest::Motd { domain: wire.domain()?, text: Some(wire.text()?) }),
            "motd-clear" => Self::User(UserRequest::Motd { domain: wire.domain()?, text: None }),
            "user-list" => Self::User(UserRequest::List { domain: wire.domain()?, after: wire.after()? }),
            "backup" => Self::Backup,
            "status" => Self::Status,
            "reload" => Self::Reload,
            "stop" => Self::Stop,
            _ => return Err(bad("there is no such verb")),
        };
        if wire.is_empty() { Ok(request) } else { Err(bad("a key that this verb does not have")) }
    }

    /// The line for this request, its end included. Wiped when dropped.
    pub fn to_line(&self) -> Zeroizing<Vec<u8>> {
        let mut wire = RequestLine::default();
        wire.version = CONTROL_VERSION;
        wire.verb = self.verb().to_owned();
        if let Self::User(user) = self {
            match user {
                UserRequest::Add { address, credentials } | UserRequest::Passwd { address, credentials } => {
                    wire.address = Some(address.as_str().to_owned());
                    wire.credentials = Some(base64::encode(Zeroizing::new(credentials.encode())));
                }
                UserRequest::Disable { address, .. } => wire.address = Some(address.as_str().to_owned()),
                UserRequest::Invite { domain, token, localpart, expires_unix_s } => {
                    wire.domain = Some(domain.clone());
                    wire.token = Some(token.clone());
                    wire.localpart = localpart.clone();
                    wire.expires = Some(*expires_unix_s);
                }
                UserRequest::Announce { domain, text } => {
                    wire.domain = Some(domain.clone());
                    wire.text = Some(text.clone());
                }
                UserRequest::Motd { domain, text } => {
                    wire.domain = Some(domain.clone());
                    wire.text = text.clone();
                }
                UserRequest::Del { address } => wire.address = Some(address.as_str().to_owned()),
                UserRequest::List { domain, after } => {
                    wire.domain = Some(domain.clone());
                    wire.after = after.clone();
                }
            }
        }
        Zeroizing::new(line(&wire))
    }

    /// The verb on the wire; good for logs.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::User(UserRequest::Add { .. }) => "user-add",
            Self::User(UserRequest::Passwd { .. }) => "user-passwd",
            Self::User(UserRequest::Del { .. }) => "user-del",
            Self::User(UserRequest::Disable { disabled: true, .. }) => "user-disable",
            Self::User(UserRequest::Disable { disabled: false, .. }) => "user-enable",
            Self::User(UserRequest::Invite { .. }) => "invite",
            Self::User(UserRequest::Announce { .. }) => "announce",
            Self::User(UserRequest::Motd { text: Some(_), .. }) => "motd",
            Self::User(UserRequest::Motd { text: None, .. }) => "motd-clear",
            Self::User(UserRequest::List { .. }) => "user-list",
            Self::Backup => "backup",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Stop => "stop",
        }
    }
}

impl RequestLine {
    fn address(&mut self) -> Result<Jid, Refusal> {
        let text = self.address.take().ok_or_else(|| missing("address"))?;
        let address = Jid::parse(&text).map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
        if address.localpart().is_none() || !address.is_bare() {
            return Err(Refusal::BadRequest { why: "the address must be localpart@domain".to_owned() });
        }
        Ok(address)
    }

    fn credentials(&mut self) -> Result<Credentials, Refusal> {
        let text = Zeroizing::new(self.credentials.take().ok_or_else(|| missing("credentials"))?);
        let bytes = base64::decode_strict(text.as_bytes());
        let credentials = bytes.and_then(|bytes| Credentials::decode(&bytes));
        let credentials = credentials.filter(|credentials| !credentials.keys.is_empty());
        credentials.ok_or_else(|| Refusal::BadRequest { why: "the credentials are not sets of SCRAM keys".to_owned() })
    }

    fn domain(&mut self) -> Result<String, Refusal> {
        let text = self.domain.take().ok_or_else(|| missing("domain"))?;
        let domain = jid::prepare_domainpart(&text).map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
        Ok(domain.into_owned())
    }

    fn localpart(&mut self) -> Result<Option<String>, Refusal> {
        let Some(text) = self.localpart.take() else { return Ok(None) };
        let name = jid::prepare_localpart(&text).map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
        Ok(Some(name.into_owned()))
    }

    /// Words for people: any but none, and none that XML cannot carry.
    fn text(&mut self) -> Result<String, Refusal> {
        let text = self.text.take().filter(|text| !text.trim().is_empty()).ok_or_else(|| missing("text"))?;
        let is_bad =
            |char: char| char.is_control() && !matches!(char, '\n' | '\t') || matches!(char, '\u{fffe}' | '\u{ffff}');
        match text.contains(is_bad) {
            true => Err(Refusal::BadRequest { why: "the text has a character that cannot be sent".to_owned() }),
            false => Ok(text),
        }
    }

    fn after(&mut self) -> Result<Option<String>, Refusal> {
        let Some(text) = self.after.take() else { return Ok(None) };
        let after = jid::prepare_localpart(&text).map_err(|error| Refusal::BadRequest { why: error.to_string() })?;
        Ok(Some(after.into_owned()))
    }

    /// Whether every key was asked for.
    fn is_empty(&self) -> bool {
        let account = self.address.is_none() && self.credentials.is_none() && self.after.is_none();
        let invite = self.localpart.is_none() && self.token.is_none() && self.expires.is_none();
        account && invite && self.domain.is_none() && self.text.is_none()
    }
}

fn missing(key: &str) -> Refusal {
    Refusal::BadRequest { why: format!("this verb needs `{key}`") }
}

impl Answer {
    /// The line for this answer, its end included; at most [`CONTROL_LINE_BYTES_MAX`].
    pub fn to_line(&self) -> Vec<u8> {
        let mut wire = AnswerLine { version: CONTROL_VERSION, ok: true, ..AnswerLine::default() };
        match self {
            Self::Done => {}
            Self::Users { localparts, more } => {
                wire.users = Some(localparts.clone());
                wire.more = Some(*more);
            }
            Self::Progress { rows, total } => (wire.rows, wire.total) = (Some(*rows), Some(*total)),
            Self::BackedUp { rows } => wire.rows = Some(*rows),
            Self::Status(status) => wire.status = Some((**status).clone()),
            Self::Refused(refusal) => wire.refuse(refusal),
        }
        let bytes = line(&wire);
        if bytes.len() <= CONTROL_LINE_BYTES_MAX {
            return bytes;
        }
        // Thousands of domains: what was asked does not fit, which is an answer too.
        Self::Refused(Refusal::Failed { why: "the answer is too long".to_owned() }).to_line()
    }

    /// Judges one line, with or without its end.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence for the operator.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let not_one = |error: serde_json::Error| format!("the server's answer is not understood ({error})");
        let Versioned { version } = serde_json::from_slice(line).map_err(not_one)?;
        if version != CONTROL_VERSION {
            return Err(format!(
                "the server speaks version {version} of the control protocol, this program {CONTROL_VERSION}"
            ));
        }
        let wire: AnswerLine = serde_json::from_slice(line).map_err(not_one)?;
        if !wire.ok {
            return Ok(Self::Refused(wire.refusal()));
        }
        Ok(match wire {
            AnswerLine { users: Some(localparts), more, .. } => Self::Users { localparts, more: more.unwrap_or(false) },
            AnswerLine { rows: Some(rows), total: Some(total), .. } => Self::Progress { rows, total },
            AnswerLine { rows: Some(rows), .. } => Self::BackedUp { rows },
            AnswerLine { status: Some(status), .. } => Self::Status(Box::new(status)),
            _ => Self::Done,
        })
    }
}

impl AnswerLine {
    fn refuse(&mut self, refusal: &Refusal) {
        self.ok = false;
        self.message = Some(refusal.to_string());
        let error = match refusal {
            Refusal::BadRequest { why } => {
                self.message = Some(why.clone());
                "bad-request"
            }
            Refusal::UnsupportedVersion => "unsupported-version",
            Refusal::NoSuchDomain { domain, hosted } => {
                self.domain = Some(domain.clone());
                self.hosted = Some(hosted.clone());
                "no-such-domain"
            }
            Refusal::NoSuchAccount { address } => {
                self.address = Some(address.clone());
                "no-such-account"
            }
            Refusal::AccountExists { address } => {
                self.address = Some(address.clone());
                "account-exists"
            }
            Refusal::Busy => "busy",
            Refusal::Failed { .. } => "failed",
        };
        self.error = Some(error.to_owned());
    }

    fn refusal(self) -> Refusal {
        let message = self.message.unwrap_or_else(|| "the server refused without saying why".to_owned());
        match (self.error.as_deref(), self.address, self.domain) {
            (Some("bad-request"), _, _) => Refusal::BadRequest { why: message },
            (Some("unsupported-version"), _, _) => Refusal::UnsupportedVersion,
            (Some("no-such-domain"), _, Some(domain)) => {
                Refusal::NoSuchDomain { domain, hosted: self.hosted.unwrap_or_default() }
            }
            (Some("no-such-account"), Some(address), _) => Refusal::NoSuchAccount { address },
            (Some("account-exists"), Some(address), _) => Refusal::AccountExists { address },
            (Some("busy"), _, _) => Refusal::Busy,
            // A newer server may know more reasons; its sentence is as good.
            _ => Refusal::Failed { why: message },
        }
    }
}

fn line(wire: &impl Serialize) -> Vec<u8> {
    // Plain structs of texts and numbers: there is nothing that JSON could not say.
    let mut line = serde_json::to_vec(wire).unwrap_or_default();
    line.push(b'\n');
    line
}
