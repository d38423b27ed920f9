//! Lua tables as data: the little of Lua that Prosody's files are written in.
//!
//! `return { … }` in a `.dat` file, `item({ … });` again and again in a `.list` file. Nothing is executed: what is not
//! a literal is a fault. Depth, values and bytes are bounded. Lua 5.4 manual §3.1, §3.4.9.

use crate::limits::{LUA_DEPTH_MAX, LUA_VALUES_MAX};
use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string: bytes of any kind.
    Text(Vec<u8>),
    /// A table.
    Table(Table),
}

/// A table: what stands in it by place, and by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// By place, from 1 on.
    pub list: Vec<Value>,
    /// By key, in the order of the file.
    pub fields: Vec<(Value, Value)>,
}

impl Value {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The number, if it is a whole one that is not negative.
    pub fn whole(&self) -> Option<u64> {
        match self {
            // Up to 2^53 every whole number is exact.
            Self::Number(number) if *number >= 0.0 && number.fract() == 0.0 && *number <= 9_007_199_254_740_992.0 => {
                Some(*number as u64)
            }
            Self::Text(_) => self.text()?.parse().ok(),
            _ => None,
        }
    }

    /// A time in seconds since 1970, fractions allowed (Prosody 13 keeps them), in milliseconds.
    pub fn millis(&self) -> Option<u64> {
        match self {
            // Past this no year has four digits.
            Self::Number(seconds) if (0.0..=253_402_300_799.0).contains(seconds) => {
                Some((seconds * 1000.0).round() as u64)
            }
            _ => None,
        }
    }
}

impl Table {
    /// The value of a key that is a string.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.named().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The table of the key `false`, where Prosody keeps what is about the whole.
    pub fn metadata(&self) -> Option<&Table> {
        self.fields.iter().find(|(key, _)| *key == Value::Bool(false))?.1.table()
    }

    /// All fields whose keys are strings.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().filter_map(|(key, value)| Some((key.text()?, value)))
    }
}

/// Why a file is not what Prosody writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LuaFault {
    /// The line, from 1.
    pub line: usize,
    /// What was wrong.
    pub what: &'static str,
}

impl fmt::Display for LuaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads `return VALUE`.
///
/// # Errors
///
/// [`LuaFault`] for anything else.
pub fn returned(bytes: &[u8]) -> Result<Value, LuaFault> {
    let mut parser = Parser { bytes, at: 0, values: 0 };
    let value = parser.word(b"return").and_then(|()| {
        let value = parser.value(0)?;
        parser.accept(b';');
        if parser.space()?.is_none() { Ok(value) } else { Err("something behind the value") }
    });
    value.map_err(|what| parser.fault(what))
}

/// Reads `item(VALUE);`, any number of times.
///
/// # Errors
///
/// [`LuaFault`] for anything else.
pub fn items(bytes: &[u8]) -> Result<Vec<Value>, LuaFault> {
    let mut parser = Parser { bytes, at: 0, values: 0 };
    let mut items = Vec::new();
    loop {
        match parser.item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return Ok(items),
            Err(what) => return Err(parser.fault(what)),
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

/// What a rule found, or what was wrong where the parser stands.
type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn fault(&self, what: &'static str) -> LuaFault {
        let before = self.bytes.get(..self.at).unwrap_or(self.bytes);
        LuaFault { line: 1 + memchr::memchr_iter(b'\n', before).count(), what }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over white space and comments of one line; the next byte.
    fn space(&mut self) -> Parsed<Option<u8>> {
        loop {
            let rest = self.rest();
            match rest {
                [b' ' | b'\t' | b'\r' | b'\n', ..] => self.at += 1,
                [b'-', b'-', b'[', ..] => return Err("a long comment"),
                [b'-', b'-', ..] => self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
                _ => return Ok(rest.first().copied()),
            }
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.space() == Ok(Some(byte));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Parsed<()> {
        if self.accept(byte) { Ok(()) } else { Err(what) }
    }

    fn word(&mut self, word: &[u8]) -> Parsed<()> {
        self.space()?;
        let rest = self.rest();
        let behind = rest.get(word.len()).is_none_or(|byte| !is_word(*byte));
        if !rest.starts_with(word) || !behind {
            return Err("not what Prosody writes here");
        }
        self.at += word.len();
        Ok(())
    }

    fn item(&mut self) -> Parsed<Option<Value>> {
        while self.accept(b';') {}
        if self.space()?.is_none() {
            return Ok(None);
        }
        self.word(b"item")?;
        self.expect(b'(', "`(` is missing")?;
        let value = self.value(0)?;
        self.expect(b')', "`)` is missing")?;
        Ok(Some(value))
    }

    fn value(&mut self, depth: usize) -> Parsed<Value> {
        self.values += 1;
        if depth > LUA_DEPTH_MAX || self.values > LUA_VALUES_MAX {
            return Err("too deep, or too many values");
        }
        match self.space()? {
            Some(b'{') => self.table(depth).map(Value::Table),
            Some(b'"' | b'\'') => self.quoted().map(Value::Text),
            Some(b'[') => self.long().map(Value::Text),
            Some(b'0'..=b'9' | b'-' | b'.') => self.number().map(Value::Number),
            Some(b't') => self.word(b"true").map(|()| Value::Bool(true)),
            Some(b'f') => self.word(b"false").map(|()| Value::Bool(false)),
            Some(b'n') => self.word(b"nil").map(|()| Value::Nil),
            _ => Err("no literal"),
        }
    }

    fn table(&mut self, depth: usize) -> Parsed<Table> {
        self.at += 1;
        let mut table = Table::default();
        loop {
            if self.accept(b'}') {
                return Ok(table);
            }
            match self.key(depth)? {
                Some(key) => {
                    let value = self.value(depth + 1)?;
                    // A list that is written with its places.
                    match key {
                        Value::Number(place) if place == (table.list.len() + 1) as f64 => table.list.push(value),
                        key => table.fields.push((key, value)),
                    }
                }
                None => {
                    let value = self.value(depth + 1)?;
                    table.list.push(value);
                }
            }
            if !self.accept(b';') && !self.accept(b',') && self.space()? != Some(b'}') {
                return Err("`;` is missing");
            }
        }
    }

    /// `[key] =` or `name =`; none if a value stands here.
    fn key(&mut self, depth: usize) -> Parsed<Option<Value>> {
        let (first, start) = (self.space()?, self.at);
        let key = match first {
            Some(b'[') if !matches!(self.rest(), [_, b'[' | b'=', ..]) => {
                self.at += 1;
                let key = self.value(depth + 1)?;
                self.expect(b']', "`]` is missing")?;
                key
            }
            Some(byte) if is_word(byte) && !byte.is_ascii_digit() => {
                let rest = self.rest();
                let word = rest.get(..rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len()));
                let word = word.unwrap_or_default();
                self.at += word.len();
                if matches!(word, b"true" | b"false" | b"nil") {
                    self.at = start;
                    return Ok(None);
                }
                Value::Text(word.to_vec())
            }
            _ => return Ok(None),
        };
        if matches!(key, Value::Nil | Value::Table(_)) {
            return Err("no key");
        }
        self.expect(b'=', "`=` is missing")?;
        Ok(Some(key))
    }

    fn number(&mut self) -> Parsed<f64> {
        let rest = self.rest();
        let len = rest.iter().enumerate().position(|(at, byte)| {
            let sign = matches!(byte, b'-' | b'+')
                && (at == 0 || rest.get(at - 1).is_some_and(|before| matches!(before, b'e' | b'E')));
            !(byte.is_ascii_alphanumeric() || *byte == b'.' || sign)
        });
        let word = rest.get(..len.unwrap_or(rest.len())).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or("");
        let (sign, digits) = word.strip_prefix('-').map_or((1.0, word), |digits| (-1.0, digits));
        let number = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(|number| number as f64),
            // `inf`, `nan` are words of Rust's, not of Lua's.
            None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok(),
            None => None,
        };
        self.at += word.len();
        number.map(|number: f64| sign * number).ok_or("no number")
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let quote = self.take()?;
        let mut text = Vec::new();
        loop {
            match self.take()? {
                byte if byte == quote => return Ok(text),
                b'\n' => return Err("a string without end"),
                b'\\' => self.escape(&mut text)?,
                byte => text.push(byte),
            }
        }
    }

    fn take(&mut self) -> Parsed<u8> {
        let byte = *self.rest().first().ok_or("the file ends in a string")?;
        self.at += 1;
        Ok(byte)
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Parsed<()> {
        let byte = match self.take()? {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            byte @ (b'\\' | b'"' | b'\'' | b'\n') => byte,
            b'x' => {
                let (high, low) = (self.digit(16)?, self.digit(16)?);
                u8::try_from(high * 16 + low).map_err(|_| "no byte")?
            }
            b'z' => {
                while self.rest().first().is_some_and(u8::is_ascii_whitespace) {
                    self.at += 1;
                }
                return Ok(());
            }
            b'u' => return self.unicode(text),
            b'0'..=b'9' => {
                self.at -= 1;
                let mut number = 0;
                for _ in 0..3 {
                    match self.digit(10) {
                        Ok(digit) => number = number * 10 + digit,
                        Err(_) => break,
                    }
                }
                u8::try_from(number).map_err(|_| "no byte")?
            }
            _ => return Err("an escape that Lua does not know"),
        };
        text.push(byte);
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Parsed<()> {
        if self.take()? != b'{' {
            return Err("`{` is missing");
        }
        let mut code = 0_u32;
        while let Ok(digit) = self.digit(16) {
            code = code.checked_mul(16).and_then(|code| code.checked_add(digit)).ok_or("no character")?;
        }
        let c = char::from_u32(code).filter(|_| self.rest().first() == Some(&b'}')).ok_or("no character")?;
        self.at += 1;
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn digit(&mut self, radix: u32) -> Parsed<u32> {
        let digit = self.rest().first().and_then(|byte| char::from(*byte).to_digit(radix)).ok_or("no digit")?;
        self.at += 1;
        Ok(digit)
    }

    /// `[[text]]`, `[=[text]=]` and so on.
    fn long(&mut self) -> Parsed<Vec<u8>> {
        let rest = self.rest();
        let level = rest.iter().skip(1).take_while(|byte| **byte == b'=').count();
        let mut inside = rest.get(level + 1..).and_then(|rest| rest.strip_prefix(b"[")).ok_or("no long bracket")?;
        self.at += level + 2;
        if let Some(behind) = inside.strip_prefix(b"\r\n").or_else(|| inside.strip_prefix(b"\n")) {
            self.at += inside.len() - behind.len();
            inside = behind;
        }
        let close = [b"]".as_slice(), &vec![b'='; level], b"]"].concat();
        let end = memchr::memmem::find(inside, &close).ok_or("a long bracket without end")?;
        self.at += end + close.len();
        Ok(inside.get(..end).unwrap_or_default().to_vec())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn literals_of_every_kind() {
        for (lua, expected) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("nil", Value::Nil),
            ("12", Value::Number(12.0)),
            ("-0x1F", Value::Number(-31.0)),
            ("1.5e-3", Value::Number(0.0015)),
            ("1e+3", Value::Number(1000.0)),
            (
                r#""a\"b\\c\n\065\195\169\x41\z
                d\u{263A}""#,
                text("a\"b\\c\nA\u{e9}Ad\u{263a}"),
            ),
            ("'a\\\nb'", text("a\nb")),
            ("[[\na\\n]]", text("a\\n")),
            ("[==[a]=]b]]]==]", text("a]=]b]]")),
        ] {
            assert_eq!(returned(format!("return {lua};\n").as_bytes()), Ok(expected), "{lua}");
        }
    }

    #[test]
    fn tables_have_places_and_keys() {
        let lua = b"-- Prosody\nreturn {\n\t[false] = { [\"version\"] = 3; };\n\t\"a\"; b = 1, [2] = \"c\"; {}; [ [[d]] ] = nil }";
        let value = returned(lua).unwrap();
        let table = value.table().unwrap();
        assert_eq!(table.list, [text("a"), text("c"), Value::Table(Table::default())]);
        assert_eq!(table.metadata().unwrap().get("version").unwrap().whole(), Some(3));
        assert_eq!(table.get("b").unwrap().whole(), Some(1));
        assert_eq!(table.get("d"), Some(&Value::Nil));
        assert_eq!(table.get("e"), None);
    }

    #[test]
    fn lists_are_items() {
        let lua = b"item({ [\"name\"] = \"message\"; });\nitem({\n});\n";
        assert_eq!(items(lua).unwrap().len(), 2);
        assert_eq!(items(b"").unwrap(), []);
        assert_eq!(items(b"item({});\n\nitem({}").unwrap_err(), LuaFault { line: 3, what: "`)` is missing" });
    }

    #[test]
    fn what_would_be_executed_is_refused() {
        for lua in [
            "",
            "{}",
            "return",
            "return os.exit()",
            "return {} {}",
            "return { os.exit() }",
            "return \"a\" .. \"b\"",
            "local a = {}; return a",
            "return { [{}] = 1 }",
            "return { [nil] = 1 }",
            "return { a 1 }",
            "return { 1 2 }",
            "return function() end",
            "return 1/0",
            "return -",
            "return inf",
            "return 'a",
            "return '\n'",
            "return '\\q'",
            "return '\\300'",
            "return [[a",
            "return [=a",
            "return '\\u{110000}'",
            "returntrue",
            "return truex",
            "return --[[ a ]] 1",
            "return {",
            "return 0x",
        ] {
            assert!(returned(lua.as_bytes()).is_err(), "{lua}");
        }
        let deep = format!("return {}{}", "{".repeat(LUA_DEPTH_MAX + 2), "}".repeat(LUA_DEPTH_MAX + 2));
        assert_eq!(returned(deep.as_bytes()).unwrap_err().what, "too deep, or too many values");
    }

    #[test]
    fn garbage_never_panics() {
        let good = b"return {\n\t[\"a\"] = { \"b\\195\\169\"; [[c]]; 1.5e3; [false] = true }; d = '\\x41' };\n";
        let mut random = Random::seeded(1);
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..1 + random.next_u64() % 4 {
                let at = (random.next_u64() % bytes.len() as u64) as usize;
                bytes[at] = b"{}[]=\"'\\;,-0 \nx"[(random.next_u64() % 15) as usize];
            }
            bytes.truncate((random.next_u64() % (bytes.len() as u64 + 1)) as usize);
            let _ = returned(&bytes);
            let _ = items(&bytes);
        }
    }
}
