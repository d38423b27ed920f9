//! XML as XMPP uses it: judged byte by byte, relayed as it came, parsed only where it must be understood.
//!
//! ```text
//! bytes ──▶ Scan ── one resumable pass ─────────────▶ Step + Head ──▶ relay   the frame for another stream
//!             framer   where an item ends                         └─▶ Tree    a payload to be understood
//!             check    tags and attributes
//!             scope    namespaces                       Writer ──▶ bytes of our own
//!             text     text, CDATA, references
//! ```
//!
//! [`Scan`] is the only judge. xml5ever, inside [`Tree`], consumes what `Scan` has accepted and judges nothing:
//! alone it lets most malformed input through. The state between two frames is nothing at all; inside a frame
//! it is the scan's stacks, freed or reused with the buffer of the partial frame.
//!
//! RFC 6120 §4.7, §8, §11; XML 1.0 (fifth edition); Namespaces in XML 1.0 (third edition).

mod border;
mod chars;
mod check;
mod declaration;
mod error;
mod framer;
mod head;
mod names;
mod ns;
mod relay;
mod scope;
mod text;
mod tree;
mod unescape;
mod write;

pub use border::{inward, outward};
pub use error::XmlError;
pub use framer::{Expect, Scan, Step};
pub use head::{CHILDREN_KEPT_MAX, Child, Head};
pub use ns::{CLIENT, COMPONENT, STREAMS, StreamNs, XML, XMLNS};
pub use relay::{Top, relay, relay_as};
pub use tree::{Element, TooLong, Tree};
pub use write::{WRITER_DEPTH_MAX, Writer, escape, escape_attr};

pub use crate::limits::{ATTRIBUTES_MAX, DEPTH_MAX, ELEMENTS_MAX, NAMESPACES_MAX, TAG_BYTES_MAX};
/// A name's and a tag's length must fit into 16 bits.
const TAG_BYTES_CEILING: u32 = u16::MAX as u32;

const _: () = assert!(TAG_BYTES_MAX <= TAG_BYTES_CEILING);

/// What one item may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlLimits {
    /// Bytes of a frame from its first `<` to its last `>` (RFC 6120 §13.12), or of a stream header.
    pub frame_bytes_max: u32,
    /// Bytes of one tag; more than 65,535 is taken as 65,535.
    pub tag_bytes_max: u32,
    /// Nesting, the top element being 1.
    pub depth_max: u16,
    /// Attributes on one tag, declarations included.
    pub attributes_max: u16,
    /// Namespace declarations in scope at once, the stream header's not counted.
    pub namespaces_max: u16,
    /// Elements in one frame.
    pub elements_max: u32,
}

impl XmlLimits {
    /// The usual bounds with the given frame size.
    #[must_use]
    pub const fn with_frame_bytes(frame_bytes_max: u32) -> Self {
        Self {
            frame_bytes_max,
            tag_bytes_max: TAG_BYTES_MAX,
            depth_max: DEPTH_MAX,
            attributes_max: ATTRIBUTES_MAX,
            namespaces_max: NAMESPACES_MAX,
            elements_max: ELEMENTS_MAX,
        }
    }
}
