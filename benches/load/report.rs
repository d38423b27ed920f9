//! Results: for each row a `name key=value` line and a line of JSON; for each scenario a table.
//!
//! ```text
//! load/idle dialect=rfc6120 sessions=10000 rss_per_session_kib=4.21 …
//! {"scenario":"idle","dialect":"rfc6120","sessions":10000,…}
//! ```

use std::fmt::Write;

use crate::histogram::Histogram;

/// Percentiles are plotted up to 99.99, in so many steps.
const PERCENTILE_NINES: f64 = 4.0;
const PERCENTILE_STEPS: u32 = 80;
/// A table that is wider than this is printed in parts.
const WIDTH: usize = 170;
/// Between two columns.
const GAP: usize = 2;

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

/// How a value stands in the table.
#[derive(Clone, Debug)]
enum Shown {
    /// As in the line.
    Plain,
    /// With its limit, in one cell.
    With(String),
    /// In another's cell.
    Not,
}

#[derive(Clone, Debug)]
struct Field {
    key: &'static str,
    value: Value,
    shown: Shown,
}

impl Field {
    /// Head and text of its cell, if it has one.
    fn cell(&self) -> Option<(String, String)> {
        match &self.shown {
            Shown::Plain => Some((self.key.to_owned(), self.value.plain())),
            Shown::With(text) => Some((format!("{}_=_×_limit", self.key), text.clone())),
            Shown::Not => None,
        }
    }
}

/// One measured row: keys and values, in the order in which they were added.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    scenario: &'static str,
    fields: Vec<Field>,
}

impl Row {
    /// An empty row of a scenario.
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self { scenario, fields: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: Value) -> Self {
        self.fields.push(Field { key, value, shown: Shown::Plain });
        self
    }

    /// A figure, its limit, and how many times the limit it is: three values, and one cell of the table.
    pub(crate) fn beside(
        mut self,
        [key, limit_key, ratio_key]: [&'static str; 3],
        value: Option<f64>,
        limit: Option<f64>,
        digits: usize,
    ) -> Self {
        let number = |value: Option<f64>, digits| value.map_or(Value::None, |value| Value::Number(value, digits));
        let ratio = value.zip(limit).filter(|(_, limit)| *limit > 0.0).map(|(value, limit)| value / limit);
        let [value, limit, ratio] = [number(value, digits), number(limit, digits), number(ratio, 2)];
        let text = match limit {
            Value::None => value.plain(),
            _ => format!("{} = {} × {}", value.plain(), ratio.plain(), limit.plain()),
        };
        self.fields.push(Field { key, value, shown: Shown::With(text) });
        self.fields.push(Field { key: limit_key, value: limit, shown: Shown::Not });
        self.fields.push(Field { key: ratio_key, value: ratio, shown: Shown::Not });
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

    /// Whether it is of this scenario and says all of `wanted`.
    pub(crate) fn is(&self, scenario: &str, wanted: &[(&str, &str)]) -> bool {
        let says = |(key, text): &(&str, &str)| self.find(key).is_some_and(|value| value.plain() == *text);
        self.scenario == scenario && wanted.iter().all(says)
    }

    /// A number of it; `None` where nothing was measured.
    pub(crate) fn measured(&self, key: &str) -> Option<f64> {
        match self.find(key)? {
            Value::Whole(number) => Some(*number as f64),
            Value::Number(number, _) => Some(*number).filter(|number| number.is_finite()),
            Value::Text(_) | Value::Flag(_) | Value::None => None,
        }
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// Heads and texts of its cells in a table.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (String, String)> {
        self.fields.iter().filter_map(Field::cell)
    }

    fn line(&self) -> String {
        let values =
            self.fields.iter().map(|field| format!(" {}={}", field.key, field.value.plain().replace(' ', "_")));
        format!("load/{}{}", self.scenario, values.collect::<String>())
    }

    fn json(&self) -> String {
        let values = self.fields.iter().map(|field| format!(",{}:{}", quote(field.key), field.value.json()));
        format!("{{\"scenario\":{}{}}}", quote(self.scenario), values.collect::<String>())
    }
}

/// A named line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A bar of a plot: what an operation costs, and the limit beside it.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) us: f64,
    pub(crate) limit_us: Option<f64>,
}

/// What is plotted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plots {
    /// MiB against sessions.
    pub(crate) memory: Vec<Series>,
    /// Microseconds against percentiles.
    pub(crate) latencies: Vec<Series>,
    /// Operations a second against seconds.
    pub(crate) throughput: Vec<Series>,
    pub(crate) costs: Vec<Cost>,
}

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Not yet in a table.
    rows: Vec<Row>,
    /// All of them, in the order in which they came.
    pub(crate) log: Vec<Row>,
    /// Every table as it was printed, with its rows.
    pub(crate) tables: Vec<(&'static str, Vec<Row>)>,
    pub(crate) plots: Plots,
    pub(crate) skipped: Vec<String>,
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Prints a row and keeps it for the table.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}\n{}", row.line(), row.json());
        self.log.push(row.clone());
        self.rows.push(row);
    }

    /// Says why something was not run.
    pub(crate) fn skip(&mut self, scenario: &str, what: &str, why: &str) {
        self.skipped.push(format!("{scenario}: {what}: {why}"));
        println!("load/{scenario} skipped={} why={}", what.replace(' ', "_"), why.replace(' ', "_"));
    }

    /// Notes what makes the run fail.
    pub(crate) fn fail(&mut self, text: String) {
        eprintln!("FAILED: {text}");
        self.failures.push(text);
    }

    /// Keeps memory in MiB at each number of sessions for the plot.
    pub(crate) fn memory(&mut self, name: &str, points: Vec<(u32, f64)>) {
        let points = points.into_iter().map(|(count, mib)| (f64::from(count), mib)).collect();
        self.plots.memory.push(Series { name: name.to_owned(), points });
    }

    /// Keeps a distribution for the plot, at shares that come ever closer to one.
    pub(crate) fn latencies(&mut self, name: &str, times: &Histogram) {
        let steps = (0..=PERCENTILE_STEPS).map(|step| f64::from(step) * PERCENTILE_NINES / f64::from(PERCENTILE_STEPS));
        // One in ten to the power of `nines` is slower.
        let seen = steps.filter(|nines| 10f64.powf(*nines) <= times.total() as f64);
        let points = seen.map(|nines| (nines, times.percentile_us(1.0 - 10f64.powf(-nines)))).collect();
        self.plots.latencies.push(Series { name: name.to_owned(), points });
    }

    /// Keeps counts in slices of time for the plot; the last slice is not whole.
    pub(crate) fn throughput(&mut self, name: &str, slices: &[u64], slice_ns: u64) {
        let seconds = slice_ns as f64 / 1e9;
        let whole = slices.iter().take(slices.len().saturating_sub(1)).enumerate();
        let points = whole.map(|(slice, count)| (slice as f64 * seconds, *count as f64 / seconds)).collect();
        self.plots.throughput.push(Series { name: name.to_owned(), points });
    }

    /// Keeps what an operation costs for the plot.
    pub(crate) fn cost(&mut self, name: &str, us: Option<f64>, limit_us: Option<f64>) {
        let us = us.into_iter();
        self.plots.costs.extend(us.map(|us| Cost { name: name.to_owned(), us, limit_us }));
    }

    /// Tells what something costs at the least; what takes time with its rate.
    pub(crate) fn limit(&mut self, what: &str, least: f64, unit: &str) {
        let per_s = (unit == "µs" && least > 0.0).then(|| 1e6 / least);
        let row = Row::new("limit").text("what", what).number("least", least, 3).text("unit", unit);
        self.add(row.number_if("per_s", per_s, 0));
    }

    /// Says how it went; `true` when nothing failed.
    pub(crate) fn conclude(&mut self) -> bool {
        self.failures.iter().for_each(|text| println!("FAILED: {text}"));
        self.add(Row::new("result").whole("failures", self.failures.len() as u64));
        self.failures.is_empty()
    }

    /// Prints the rows of a scenario as a table.
    pub(crate) fn table(&mut self, scenario: &'static str) {
        let (rows, others): (Vec<Row>, Vec<Row>) = self.rows.drain(..).partition(|row| row.scenario == scenario);
        self.rows = others;
        let Some(first) = rows.first() else { return };
        let heads: Vec<String> = first.cells().map(|(head, _)| head).collect();
        let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells().map(|(_, text)| text).collect()).collect();
        let names = first.fields.iter().take_while(|field| !matches!(field.value, Value::Number(..) | Value::None));
        println!();
        for columns in blocks(&heads, &cells, names.count()) {
            let pick = |all: &[String]| columns.iter().filter_map(|at| all.get(*at).cloned()).collect::<Vec<_>>();
            println!("{}", render(&pick(&heads), &cells.iter().map(|row| pick(row)).collect::<Vec<_>>()));
        }
        self.tables.push((scenario, rows));
    }
}

/// The columns of each part of a table that is too wide for one: the first `names`, which say what a row is, and as many
/// others as there is room for.
fn blocks(heads: &[String], rows: &[Vec<String>], names: usize) -> Vec<Vec<usize>> {
    let room = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let words = heads[column].split('_').map(|word| word.chars().count());
        cells.chain(words).max().unwrap_or(0) + GAP
    };
    let names: Vec<usize> = (0..names.min(heads.len())).collect();
    let named: usize = names.iter().map(|column| room(*column)).sum();
    let (mut blocks, mut taken) = (vec![names.clone()], named);
    for column in names.len()..heads.len() {
        let needed = room(column);
        if taken + needed > WIDTH && taken > named {
            blocks.push(names.clone());
            taken = named;
        }
        taken += needed;
        if let Some(block) = blocks.last_mut() {
            block.push(column);
        }
    }
    blocks
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
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{:GAP$}{cell:>width$}", ""));
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
