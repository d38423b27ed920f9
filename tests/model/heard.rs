//! What was heard, in words: one for each thing that the server said.

use std::fmt::Write as _;

/// The words of what a server said. Panics at bytes that are no whole elements: those are a divergence too.
pub(crate) fn words(mut text: &str) -> Vec<String> {
    let mut words = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix("<?xml version='1.0'?>") {
            text = rest;
            continue;
        }
        let end = text.find('>').unwrap_or_else(|| panic!("half a tag: {text}")) + 1;
        let (tag, rest) = text.split_at(end);
        if tag.starts_with("<stream:stream ") || tag == "</stream:stream>" {
            words.push(stream(tag));
            text = rest;
            continue;
        }
        let (element, rest) = split_element(text, tag);
        words.push(word(tag, element));
        text = rest;
    }
    words
}

fn stream(tag: &str) -> String {
    if tag.starts_with("</") {
        return "end".into();
    }
    let version = attr(tag, "version").unwrap_or("none");
    let mut word = format!("header({version}");
    for (uri, name) in
        [("http://www.ietf.org/rfc/rfc2595.txt", "tls"), ("http://www.iana.org/assignments/sasl-mechanisms", "sasl")]
    {
        if tag.contains(uri) {
            let _ = write!(word, " {name}");
        }
    }
    word + ")"
}

/// The whole element that `tag` begins, and what is behind it.
fn split_element<'a>(text: &'a str, tag: &str) -> (&'a str, &'a str) {
    if tag.ends_with("/>") {
        return text.split_at(tag.len());
    }
    let end = format!("</{}>", name(tag));
    let at = text.find(&end).unwrap_or_else(|| panic!("no {end} in {text}"));
    text.split_at(at + end.len())
}

fn name(tag: &str) -> &str {
    tag.trim_start_matches('<').split([' ', '>', '/']).next().unwrap_or_default()
}

fn attr<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}='"))?.1.split('\'').next()
}

fn word(tag: &str, element: &str) -> String {
    let inner = || name(element.strip_prefix(tag).unwrap_or_default()).to_owned();
    match name(tag) {
        "stream:features" => features(element),
        "stream:error" => format!("error {}{}", inner(), if element.contains("<text ") { " +text" } else { "" }),
        "failure" if tag.contains("xmpp-tls") => "starttls-failure".into(),
        "failure" => format!("failure {}", inner()),
        "iq" if tag.contains("type='result'") => match () {
            () if element.contains("<jid>") => "result bound".into(),
            () if element.contains("<username") => "result fields".into(),
            () => "result session".into(),
        },
        "iq" => {
            let error = element.split_once("<error").map_or("", |(_, error)| error);
            let code = attr(error, "code").map_or(String::new(), |code| format!(" {code}"));
            let condition = error.split_once("'>").map_or("", |(_, rest)| name(rest));
            format!("iq-error {condition}{code}")
        }
        // XEP-0034: in the client's own prefix.
        other => match other.strip_prefix("s:") {
            Some(old) => format!("old-{old}"),
            None => other.to_owned(),
        },
    }
}

fn features(element: &str) -> String {
    let known = [
        ("<required/></starttls>", "tls!"),
        ("xmpp-tls'/>", "tls"),
        ("<mechanisms", "sasl"),
        (">PLAIN<", "plain"),
        ("<bind", "bind"),
    ];
    let found: Vec<&str> = known.iter().filter(|(text, _)| element.contains(text)).map(|(_, name)| *name).collect();
    format!("features({})", found.join(" "))
}
