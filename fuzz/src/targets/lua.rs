//! Prosody's Lua files: any bytes give a value or a fault, in bounded time and depth.

use stonechat::port::prosody::lua::{Value, items, returned};

pub const SEEDS: &[&[u8]] = &[
    include_bytes!("../../../tests/prosody/data/capulet%2eexample/accounts/juliet.dat"),
    include_bytes!("../../../tests/prosody/data/capulet%2eexample/offline/juliet.list"),
    include_bytes!("../../../tests/prosody/data/capulet%2eexample/roster/juliet.dat"),
    b"return { [1] = -1.5e3; x = true, \"\\065\\xff\\z  \\u{7FFFFFFF}\", [[\nlong]], };",
];

pub fn run(data: &[u8]) {
    if let Ok(value) = returned(data) {
        walk(&value, 0);
    }
    if let Ok(values) = items(data) {
        values.iter().for_each(|value| walk(value, 0));
    }
}

fn walk(value: &Value, depth: usize) {
    assert!(depth <= stonechat::limits::LUA_DEPTH_MAX + 1);
    let _ = (value.text(), value.whole(), value.millis());
    if let Some(table) = value.table() {
        table.named().for_each(|(_, value)| walk(value, depth + 1));
    }
}
