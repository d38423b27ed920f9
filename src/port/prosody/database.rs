//! Prosody's SQLite file: the tables `prosody` and `prosodyarchive`.
//!
//! A user's rows lie anywhere in a table. So the tables are gone through once for where they are (a number a row), and
//! then each user's rows are fetched: memory is bounded by the number of rows, not by what is in them.

use super::json;
use super::lua::{Table, Value};
use super::sqlite::{Cell, Sqlite, TableRoot};
use super::{OFFLINE, STORES, Stored, Stores};
use crate::port::element::Element;
use crate::port::{Person, Problem, Source};
use crate::xml::CLIENT;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Host, then user.
type UserKey = (String, String);

/// Where a user's rows are.
#[derive(Debug, Default)]
struct Places {
    rows: Vec<i64>,
    archived: Vec<i64>,
}

/// Reads a database, host by host, user by user, each in order.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    sqlite: Sqlite,
    rows: Columns,
    archive: Option<Columns>,
    users: BTreeMap<UserKey, Places>,
    /// Stores that are there and not read.
    left: BTreeSet<String>,
}

/// A table, and where the columns of interest are in its rows.
#[derive(Debug)]
struct Columns {
    table: TableRoot,
    host: usize,
    user: usize,
    store: usize,
    key: usize,
    kind: usize,
    value: usize,
    /// In the archive only.
    when: usize,
}

impl Columns {
    fn of(table: TableRoot) -> Option<Self> {
        let column = |name| table.column(name);
        Some(Self {
            host: column("host")?,
            user: column("user")?,
            store: column("store")?,
            key: column("key")?,
            kind: column("type")?,
            value: column("value")?,
            when: column("when").unwrap_or(usize::MAX),
            table,
        })
    }
}

fn text(cells: &[Cell], column: usize) -> &str {
    cells.get(column).and_then(Cell::text).unwrap_or_default()
}

impl Database {
    /// Opens the database at `path`, and finds out whose rows are where.
    ///
    /// # Errors
    ///
    /// It cannot be read, changes wait beside it, or it is not Prosody's.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        Self::read(path).map_err(|what| Problem::of_file(path, what))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let mut sqlite = Sqlite::open(path)?;
        let rows = sqlite.table("prosody")?.and_then(Columns::of);
        let rows = rows.ok_or("there is no table `prosody` with the columns that Prosody makes")?;
        let archive = sqlite.table("prosodyarchive")?.and_then(Columns::of);
        let mut users: BTreeMap<UserKey, Places> = BTreeMap::new();
        let mut left = BTreeSet::new();
        let mut find = |sqlite: &mut Sqlite, columns: &Columns, is_archive: bool| {
            sqlite.scan(&columns.table, &mut |row, cells| {
                let (store, user) = (text(cells, columns.store), text(cells, columns.user));
                let is_read = if is_archive { store == OFFLINE } else { STORES.contains(&store) };
                if !is_read || user.is_empty() {
                    if !user.is_empty() {
                        left.insert(store.to_owned());
                    }
                    return Ok(());
                }
                let places = users.entry((text(cells, columns.host).to_owned(), user.to_owned())).or_default();
                if is_archive {
                    places.archived.push(row)
                } else {
                    places.rows.push(row)
                }
                Ok(())
            })
        };
        find(&mut sqlite, &rows, false)?;
        if let Some(archive) = &archive {
            find(&mut sqlite, archive, true)?;
        }
        Ok(Self { path: path.to_owned(), sqlite, rows, archive, users, left })
    }

    fn stores(&mut self, places: &Places, tell: &mut dyn FnMut(String)) -> Result<Stores, String> {
        let mut stores = Stores::default();
        for row in &places.rows {
            let cells = self.sqlite.row(&self.rows.table, *row)?.unwrap_or_default();
            let (store, key) = (text(&cells, self.rows.store), text(&cells, self.rows.key));
            let Some(value) = json::value(text(&cells, self.rows.kind), text(&cells, self.rows.value)) else {
                tell(format!("the row {key:?} of the store {store:?} does not read"));
                continue;
            };
            let Some(place) = stores.of(store) else { continue };
            let table = place.get_or_insert_default();
            match (key, value) {
                // What has no key of its own: the list, and keys that are no strings.
                ("", Value::Table(more)) => {
                    table.list.extend(more.list);
                    table.fields.extend(more.fields);
                }
                (key, value) => table.fields.push((Value::Text(key.as_bytes().to_vec()), value)),
            }
        }
        if let Some(archive) = &self.archive {
            for row in &places.archived {
                let cells = self.sqlite.row(&archive.table, *row)?.unwrap_or_default();
                stores.offline.push(stored(archive, &cells));
            }
        }
        Ok(stores)
    }
}

fn stored(archive: &Columns, cells: &[Cell]) -> Stored {
    let (kind, value) = (text(cells, archive.kind), text(cells, archive.value));
    let when = cells.get(archive.when).and_then(Cell::number).map(Value::Number);
    let stanza = match kind {
        "xml" => Element::parse(value.as_bytes(), CLIENT).ok(),
        kind => json::value(kind, value)
            .as_ref()
            .and_then(Value::table)
            .and_then(|table: &Table| super::element(table, CLIENT, 0)),
    };
    Stored { stamp_ms: when.as_ref().and_then(Value::millis), stanza }
}

impl Source for Database {
    fn next(&mut self, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem> {
        let left = std::mem::take(&mut self.left);
        if !left.is_empty() {
            let left: Vec<String> = left.into_iter().collect();
            problems.push(Problem::of_file(&self.path, format!("not taken over: {}", left.join(", "))));
        }
        while let Some(((host, user), places)) = self.users.pop_first() {
            let (file, bare) = (self.path.clone(), format!("{user}@{host}"));
            let mut tell = |what| problems.push(Problem { file: file.clone(), user: Some(bare.clone()), what });
            let stores = self.stores(&places, &mut tell).map_err(|what| Problem::of_file(&self.path, what))?;
            if let Some(person) = stores.person(&host, &user, tell) {
                return Ok(Some(person));
            }
        }
        Ok(None)
    }
}
