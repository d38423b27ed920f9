//! What the scanner refuses.
//!
//! Every fault ends the stream: XML errors are unrecoverable (RFC 6120 §4.9.1.1). A fault carries
//! the offset of the byte at which it became certain, never the peer's text.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A fault in the peer's XML. `offset` counts from the first byte of the item (white space, header,
        /// frame or end tag) and is the first byte that no acceptable document could have there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum XmlError {
            $($(#[$doc])* $name {
                /// The byte at which the fault became certain, counted from the start of the item.
                offset: u32,
            },)*
        }

        impl XmlError {
            /// The byte at which the fault became certain, counted from the start of the item.
            #[must_use]
            pub const fn offset(self) -> u32 {
                match self { $(Self::$name { offset })|* => offset }
            }

            /// What is wrong, in words, without the peer's text.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name { .. } => $text,)* }
            }
        }
    };
}

faults! {
    /// A syntax fault that has no variant of its own: text between frames, `<` in a value, a bare `&` ….
    NotWellFormed => "not well-formed",
    /// An end tag that does not close the innermost open element.
    MismatchedTag => "mismatched end tag",
    /// Something that is not an XML name where one is needed, or a name with a misplaced colon.
    BadName => "bad name",
    /// The same attribute twice on one tag, by its written or by its expanded name.
    DuplicateAttribute => "duplicate attribute",
    /// A code point outside XML's `Char`, written out or as a reference.
    BadCharacter => "character not allowed in XML",
    /// Bytes that are not UTF-8: overlong, a surrogate, cut off, or beyond U+10FFFF.
    BadUtf8 => "not UTF-8",
    /// An unbound prefix, or a declaration that Namespaces in XML forbids.
    NamespaceFault => "namespace fault",
    /// Comment, processing instruction, DTD, standalone declaration or an entity that is not one of XML's
    /// five (RFC 6120 §11.1).
    Restricted => "restricted XML",
    /// The XML declaration names an encoding other than UTF-8 (RFC 6120 §11.6).
    UnsupportedEncoding => "unsupported encoding",
    /// The item passes `frame_bytes_max`.
    TooLong => "frame too long",
    /// One tag passes `tag_bytes_max`, or one reference or XML declaration its own bound.
    TagTooLong => "tag too long",
    /// Elements nest deeper than `depth_max`.
    TooDeep => "nested too deeply",
    /// One tag has more attributes than `attributes_max`.
    TooManyAttributes => "too many attributes",
    /// More namespace declarations in scope at once than `namespaces_max`.
    TooManyNamespaces => "too many namespace declarations",
    /// The frame has more elements than `elements_max`.
    TooManyElements => "too many elements",
    /// The tree's parser objects to what the scanner accepted: a bug of ours, never the peer's.
    ParserDisagrees => "the parser disagrees with the scanner",
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason(), self.offset())
    }
}

impl std::error::Error for XmlError {}
