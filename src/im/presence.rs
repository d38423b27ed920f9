//! Presence stanzas: what their children say (RFC 6121 §4.7.2).

/// `<show/>`, or none of them: plainly available. In the RFC's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// No `<show/>`.
    Available,
    /// Away for a while.
    Away,
    /// Wants to talk.
    Chat,
    /// Busy.
    Dnd,
    /// Away for long.
    Xa,
}

/// The children of an available presence that the server acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Availability {
    /// What `<show/>` says.
    pub show: Show,
    /// What `<priority/>` says; 0 if it is not there.
    pub priority: i8,
}

/// The presence breaks a rule of §4.7.2: more than one `<show/>` or `<priority/>`, or a bad value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPresence;

/// Reads the children of a `<presence/>` that are in its own namespace, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    show: Option<Show>,
    priority: Option<i8>,
}

impl Reading {
    /// One child, its local name and text.
    ///
    /// # Errors
    ///
    /// [`BadPresence`]: answer `bad-request`.
    pub fn child(&mut self, local: &str, text: &str) -> Result<(), BadPresence> {
        let text = text.trim();
        let is_repeated = match local {
            SHOW => self.show.replace(read_show(text)?).is_some(),
            PRIORITY => self.priority.replace(text.parse::<i8>().map_err(|_| BadPresence)?).is_some(),
            _ => false,
        };
        if is_repeated { Err(BadPresence) } else { Ok(()) }
    }

    /// What they have said.
    pub fn end(self) -> Availability {
        Availability { show: self.show.unwrap_or(Show::Available), priority: self.priority.unwrap_or(0) }
    }
}

const SHOW: &str = "show";
const PRIORITY: &str = "priority";

/// Whether the text of a child of this name matters.
pub fn is_availability(local: &str) -> bool {
    matches!(local, SHOW | PRIORITY)
}

fn read_show(text: &str) -> Result<Show, BadPresence> {
    match text {
        "away" => Ok(Show::Away),
        "chat" => Ok(Show::Chat),
        "dnd" => Ok(Show::Dnd),
        "xa" => Ok(Show::Xa),
        _ => Err(BadPresence),
    }
}
