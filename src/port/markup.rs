//! The inside of tags and text: attributes, references, line ends, names.
//!
//! Pure functions of [`super::pull`]. XML 1.0 §2.2, §2.3, §2.11, §3.1, §3.3.3, §4.1.

use crate::limits::ATTRIBUTES_MAX;

/// Whether a tag ends inside an attribute's value.
pub(super) fn in_quotes(tag: &[u8]) -> bool {
    let mut quote = None;
    for byte in tag {
        match quote {
            None if matches!(byte, b'"' | b'\'') => quote = Some(*byte),
            Some(open) if open == *byte => quote = None,
            _ => {}
        }
    }
    quote.is_some()
}

/// A tag's name, and its attributes' names and values.
pub(super) type SplitTag<'a> = (&'a str, Vec<(&'a str, String)>);

/// Takes apart what stands between `<` and `>` of a start tag.
pub(super) fn split_tag(tag: &str) -> Result<SplitTag<'_>, &'static str> {
    let space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let (qname, mut rest) = tag.split_at(tag.find(space).unwrap_or(tag.len()));
    let mut attrs: Vec<(&str, String)> = Vec::new();
    loop {
        let trimmed = rest.trim_start_matches(space);
        if trimmed.is_empty() {
            return Ok((qname, attrs));
        }
        if trimmed.len() == rest.len() {
            return Err("white space is missing between attributes");
        }
        let (name, value) = trimmed.split_once('=').ok_or("an attribute without value")?;
        let (name, value) = (name.trim_end_matches(space), value.trim_start_matches(space));
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or("a value without quotes")?;
        let (raw, behind) = value.get(1..).and_then(|rest| rest.split_once(quote)).ok_or("a value without end")?;
        if raw.contains('<') {
            return Err("`<` in an attribute's value");
        }
        if attrs.len() >= usize::from(ATTRIBUTES_MAX) || attrs.iter().any(|(known, _)| *known == name) {
            return Err("an attribute is there twice, or there are too many");
        }
        let mut value = String::new();
        unescape(raw, true, &mut value)?;
        attrs.push((name, value));
        rest = behind;
    }
}

/// Resolves references, and line ends as XML 1.0 §2.11 and §3.3.3 have them.
pub(super) fn unescape(raw: &str, is_value: bool, out: &mut String) -> Result<(), &'static str> {
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\r', '\n', '\t']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let len = match found.as_bytes() {
            [b'&', ..] => {
                let (name, _) = found.split_once(';').ok_or("`&` without `;`")?;
                out.push(referenced(name.get(1..).unwrap_or_default()).ok_or("a reference that is not known")?);
                name.len() + 1
            }
            [b'\r', b'\n', ..] => {
                out.push(if is_value { ' ' } else { '\n' });
                2
            }
            [b'\t', ..] if !is_value => {
                out.push('\t');
                1
            }
            _ => {
                out.push(if is_value { ' ' } else { '\n' });
                1
            }
        };
        rest = found.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(())
}

fn referenced(name: &str) -> Option<char> {
    let number = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        _ => name.strip_prefix('#')?,
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| is_xml_char(*c))
}

/// Whether XML allows it (XML 1.0 §2.2).
pub(super) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Whether this could be a name without a colon. What is stored is judged again, to the letter, by the scanner.
pub(super) fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || !c.is_ascii();
    name.starts_with(|c: char| inside(c) && !c.is_ascii_digit() && !matches!(c, '-' | '.')) && name.chars().all(inside)
}
