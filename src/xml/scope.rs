//! The scope of a tag: what its declarations bind, what its names mean, whether two attributes are one.
//!
//! ```text
//! declarations of the tag ──▶ bindings, innermost last ──▶ the stream header
//! ```
//!
//! Namespaces are compared once for each declaration, not once for each pair of attributes: a declaration gets a
//! number, the same as any earlier one that means the same, and only when a tag has several prefixed attributes.
//! Otherwise a few long namespaces and many short tags would cost far more than their bytes.
//!
//! Namespaces in XML 1.0 §3, §5, §6.

use super::error::XmlError;
use super::framer::{Cx, Expect, Scan, at};
use super::head::{Attr, Name, Span};
use super::ns::{self, Binding, NsRef};
use super::unescape::Meaning;

/// The number of the namespace `xml`; the header's follow it.
const XML_ID: u32 = 1;
/// The number of the first namespace that only the frame declares.
const FRAME_ID: u32 = 0x1_0000;

impl Scan {
    /// The declaration that ends at the cursor takes effect.
    pub(super) fn declare(&mut self, cx: Cx<'_>, binding: Binding) -> Result<(), XmlError> {
        let offset = at(self.pos - 1);
        if ns::is_forbidden(binding.prefix.of(cx.bytes), binding.uri.of(cx.bytes)) {
            return Err(XmlError::NamespaceFault { offset });
        }
        if self.bindings.len() >= usize::from(cx.limits.namespaces_max) {
            return Err(XmlError::TooManyNamespaces { offset });
        }
        self.bindings.push(binding);
        Ok(())
    }

    /// Declarations in scope outside the tag at the cursor.
    pub(super) fn scope_outside(&self) -> u16 {
        let is_own = |binding: &&Binding| binding.prefix.start as usize > self.tag;
        let own = self.bindings.iter().rev().take_while(is_own).count();
        (self.bindings.len() - own) as u16
    }

    /// Where the prefix of an element's or attribute's name is bound.
    pub(super) fn resolve(&mut self, cx: Cx<'_>, name: Name) -> Result<NsRef, XmlError> {
        let prefix = name.prefix(cx.bytes);
        let is_wanted = |binding: &&Binding| {
            binding.prefix.len == u32::from(name.prefix_len) && binding.prefix.of(cx.bytes) == prefix
        };
        if let Some(binding) = self.bindings.iter().rev().find(is_wanted) {
            return Ok(NsRef::Frame(binding.uri));
        }
        match prefix {
            b"" => self.head.leans_on_default = true,
            b"xml" => return Ok(NsRef::Xml),
            _ if cx.expect == Expect::Header || cx.ns.lookup_bytes(prefix).is_none() => {
                return Err(XmlError::NamespaceFault { offset: at(self.pos) });
            }
            _ => self.lean_on(cx.bytes, name.prefix_span()),
        }
        Ok(NsRef::Header)
    }

    /// Remembers that the frame uses a prefix of the stream header.
    fn lean_on(&mut self, bytes: &[u8], prefix: Span) {
        if !self.head.header_prefixes.iter().any(|known| known.of(bytes) == prefix.of(bytes)) {
            self.head.header_prefixes.push(prefix);
        }
    }

    /// Prefixed attributes: each prefix is bound, and no two have the same expanded name.
    pub(super) fn resolve_attributes(&mut self, cx: Cx<'_>) -> Result<(), XmlError> {
        for index in 0..self.attrs.len() {
            let Some(name) = self.prefixed(cx.bytes, index) else { continue };
            self.resolve(cx, name)?;
            if self.prefixed_attrs > 1 {
                self.refuse_repeated_expanded_name(cx, index, name)?;
            }
        }
        Ok(())
    }

    /// The name of the attribute at `index`, if it has a prefix and is not a declaration.
    fn prefixed(&self, bytes: &[u8], index: usize) -> Option<Name> {
        let name = self.attrs.get(index)?.name;
        (name.prefix_len != 0 && name.prefix(bytes) != b"xmlns").then_some(name)
    }

    /// `p:a` and `q:a` are one attribute if both prefixes are bound to one namespace.
    fn refuse_repeated_expanded_name(&mut self, cx: Cx<'_>, index: usize, name: Name) -> Result<(), XmlError> {
        let id = self.ns_id(cx, name);
        let Some((attr, earlier)) = self.attrs.get_mut(..=index).and_then(|attrs| attrs.split_last_mut()) else {
            return Ok(());
        };
        attr.ns_id = id;
        let is_same = |other: &Attr| other.ns_id == id && other.name.local(cx.bytes) == name.local(cx.bytes);
        if earlier.iter().any(is_same) {
            return Err(XmlError::DuplicateAttribute { offset: at(self.pos) });
        }
        Ok(())
    }

    /// The number of the namespace that the prefix of `name` is bound to; equal for equal namespaces.
    fn ns_id(&mut self, cx: Cx<'_>, name: Name) -> u32 {
        let prefix = name.prefix(cx.bytes);
        match self.bindings.iter().rposition(|binding| binding.prefix.of(cx.bytes) == prefix) {
            Some(index) => self.binding_id(cx, index),
            None => cx.ns.lookup_bytes(prefix).and_then(|uri| known_id(cx, |known| known == uri)).unwrap_or(0),
        }
    }

    fn binding_id(&mut self, cx: Cx<'_>, index: usize) -> u32 {
        let Some(&Binding { uri, id, .. }) = self.bindings.get(index) else { return 0 };
        if id != 0 {
            return id;
        }
        let meaning = Meaning::of_value(uri.of(cx.bytes));
        let is_same = |other: &Binding| Meaning::of_value(other.uri.of(cx.bytes)).eq(meaning.clone());
        let first = self.bindings.iter().take(index).position(is_same).unwrap_or(index);
        let id = known_id(cx, |known| known.chars().eq(meaning.clone())).unwrap_or(FRAME_ID + first as u32);
        if let Some(binding) = self.bindings.get_mut(index) {
            binding.id = id;
        }
        id
    }
}

/// The number of a namespace that needs no declaration in the frame.
fn known_id(cx: Cx<'_>, is_wanted: impl Fn(&str) -> bool) -> Option<u32> {
    if is_wanted(ns::XML) {
        return Some(XML_ID);
    }
    let place = if cx.expect == Expect::Header { None } else { cx.ns.position(is_wanted) };
    place.map(|place| XML_ID + 1 + place as u32)
}
