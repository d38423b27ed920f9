//! Results: for each row a `name key=value` line and a line of JSON; for each scenario a table.
//!
//! ```text
//! load/idle dialect=rfc6120 sessions=10000 rss_per_session_kib=4.21 …
//! {"scenario":"idle","dialect":"rfc6120","sessions":10000,…}
//! ```

use std::fmt::Write;

/// One value of a row.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Whole(u64),
    Number(f64, usize),
    Flag(bool),
    /// Nothing was measured.
    None,
}

impl Value {
    /// As it stands in a line and in the table.
    fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number, digits) => format!("{number:.digits$}"),
            Self::Flag(flag) => flag.to_string(),
            Self::None => "-".to_owned(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Number(number, _) if !number.is_finite() => "null".to_owned(),
            Self::None => "null".to_owned(),
            _ => self.plain(),
        }
    }
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if char.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted + "\""
}

/// One measured row: keys and values, in the order in which they were added.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    scenario: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Row {
    /// An empty row of a scenario.
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self { scenario, fields: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: Value) -> Self {
        self.fields.push((key, value));
        self
    }

    pub(crate) fn text(self, key: &'static str, value: &str) -> Self {
        self.with(key, Value::Text(value.to_owned()))
    }

    pub(crate) fn whole(self, key: &'static str, value: u64) -> Self {
        self.with(key, Value::Whole(value))
    }

    /// A number with so many digits behind the point.
    pub(crate) fn number(self, key: &'static str, value: f64, digits: usize) -> Self {
        self.with(key, Value::Number(value, digits))
    }

    /// The same, where it may not have been measured.
    pub(crate) fn number_if(self, key: &'static str, value: Option<f64>, digits: usize) -> Self {
        self.with(key, value.map_or(Value::None, |value| Value::Number(value, digits)))
    }

    pub(crate) fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Value::Flag(value))
    }

    fn line(&self) -> String {
        let values = self.fields.iter().map(|(key, value)| format!(" {key}={}", value.plain().replace(' ', "_")));
        format!("load/{}{}", self.scenario, values.collect::<String>())
    }

    fn json(&self) -> String {
        let values = self.fields.iter().map(|(key, value)| format!(",{}:{}", quote(key), value.json()));
        format!("{{\"scenario\":{}{}}}", quote(self.scenario), values.collect::<String>())
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Report {
    /// Prints a row and keeps it for the table.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}\n{}", row.line(), row.json());
        self.rows.push(row);
    }

    /// Says why something was not run.
    pub(crate) fn skip(&mut self, scenario: &str, what: &str, why: &str) {
        println!("load/{scenario} skipped={} why={}", what.replace(' ', "_"), why.replace(' ', "_"));
    }

    /// Notes what makes the run fail.
    pub(crate) fn fail(&mut self, text: String) {
        eprintln!("FAILED: {text}");
        self.failures.push(text);
    }

    /// Says how it went; `true` when nothing failed.
    pub(crate) fn conclude(&mut self) -> bool {
        self.failures.iter().for_each(|text| println!("FAILED: {text}"));
        self.add(Row::new("result").whole("failures", self.failures.len() as u64));
        self.failures.is_empty()
    }

    /// Prints the rows of a scenario as a table and forgets them.
    pub(crate) fn table(&mut self, scenario: &'static str) {
        let (rows, others): (Vec<Row>, Vec<Row>) = self.rows.drain(..).partition(|row| row.scenario == scenario);
        self.rows = others;
        let Some(first) = rows.first() else { return };
        let heads: Vec<String> = first.fields.iter().map(|(key, _)| (*key).to_owned()).collect();
        let cells = rows.iter().map(|row| row.fields.iter().map(|(_, value)| value.plain()).collect());
        println!("\n{}", render(&heads, &cells.collect::<Vec<_>>()));
    }
}

/// Columns under their heads; a head is broken at its underscores so that the columns stay narrow.
fn render(heads: &[String], rows: &[Vec<String>]) -> String {
    let heads: Vec<Vec<&str>> = heads.iter().map(|head| head.split('_').collect()).collect();
    let width = |column: usize| {
        let head = heads[column].iter().map(|word| word.chars().count());
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        head.chain(cells).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:>width$}"));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    let height = heads.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for level in 0..height {
        let words = heads.iter().map(|head| (level + head.len()).checked_sub(height).map_or("", |at| head[at]));
        text += &line(words.collect());
    }
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text += &line(rules.iter().map(String::as_str).collect());
    rows.iter().for_each(|row| text += &line(row.iter().map(String::as_str).collect()));
    text
}
