//! Presence stanzas: what their children say (RFC 6121 §4.7.2).

use crate::xml::Element;

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

impl Availability {
    /// Reads the children of a `<presence/>`.
    ///
    /// # Errors
    ///
    /// [`BadPresence`]: answer `bad-request`.
    pub fn read(presence: Element<'_>) -> Result<Self, BadPresence> {
        let (mut show, mut priority) = (None, None);
        for child in presence.children().filter(|child| child.ns() == presence.ns()) {
            let text = child.text();
            let text = text.trim();
            let repeated = match child.name() {
                "show" => show.replace(read_show(text)?).is_some(),
                "priority" => priority.replace(text.parse::<i8>().map_err(|_| BadPresence)?).is_some(),
                _ => false,
            };
            if repeated {
                return Err(BadPresence);
            }
        }
        Ok(Self { show: show.unwrap_or(Show::Available), priority: priority.unwrap_or(0) })
    }
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
