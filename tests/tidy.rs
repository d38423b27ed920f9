//! Tidy: what the design says about the source tree, held by reading it.
//!
//! The layer table of `docs/architecture.md` (imports go down only), the crate-a-file rule, no clock outside `clock.rs`,
//! no `unsafe` outside `sys.rs`, nothing unfinished, no test that does not run, no file that has outgrown its job, every
//! bound explained. Each check also shows here, on a line of its own, that it can fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the bottom to the top. Those of one row never import each other.
const LAYERS: &[&[&str]] = &[
    // Layer 0, of four rows: randomness needs the crypto provider, addresses need randomness for their keyed maps.
    &["clock", "crypto", "ids", "limits", "scratch", "sys"],
    &["random"],
    &["jid", "metrics", "purse"],
    // Layer 1: siblings.
    &["reactor", "transport", "xml"],
    // Layer 2.
    &["action", "config", "outbox", "sasl", "stanza", "storage"],
    // Layer 3: negotiation knows no session table and no socket.
    &["stream"],
    // Layer 4: knows no extension and no socket.
    &["im"],
    // Layer 5: siblings.
    &["cluster", "s2s", "xep"],
    // Layer 6: the stanza pipeline.
    &["dispatch"],
    // Layer 7, the composition root: columns, then the sans-IO core over them, then what drives it.
    &["admin", "conn"],
    &["core"],
    &["server"],
    &["boot", "port"],
    // Layer 8.
    &["cli"],
    &["main"],
];

/// Third-party crates with a single place: the crate, and where it may be named.
const PLACES: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["crypto.rs"]),
    ("env_logger", &["main.rs"]),
    ("landlock", &["boot/sandbox.rs"]),
    ("lexopt", &["cli"]),
    ("libc", &["reactor/", "server", "sys.rs"]),
    ("markup5ever", &["xml/tree"]),
    ("mio", &["reactor/", "server", "transport/"]),
    ("nix", &["boot/privileges.rs"]),
    ("precis_profiles", &["jid"]),
    ("rcgen", &["transport/certs", "transport/binding.rs"]),
    ("redb", &["storage/disk"]),
    ("ring", &["crypto.rs"]),
    ("rustls", &["transport/tls", "transport/certs.rs", "transport/client.rs"]),
    ("rustls_pemfile", &["transport/certs.rs"]),
    ("serde", &["admin", "config"]),
    ("signal_hook", &["server", "boot"]),
    ("socket2", &["reactor/"]),
    ("toml", &["config"]),
    ("webpki", &["transport/"]),
    ("x509_cert", &["transport/"]),
    ("xml5ever", &["xml/tree"]),
];

/// Past 450 lines a file should look for its second job; past this it has one.
const FILE_LINES_MAX: usize = 700;
/// Tables of cases are longer, and read more easily.
const TEST_FILE_LINES_MAX: usize = 1000;

/// One source file, by its path below `src/`.
struct Source {
    path: String,
    text: String,
    /// The text with comments and the insides of strings blanked out, line by line as before.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: strip(text) }
    }

    /// The module directly below the crate that this file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The code above `mod tests {`.
    fn product(&self) -> &str {
        if self.is_test() {
            return "";
        }
        self.code.find("mod tests {").map_or(self.code.as_str(), |at| &self.code[..at])
    }

    fn at(&self, line: usize) -> String {
        format!("src/{}:{}", self.path, line + 1)
    }
}

/// Every `.rs` file below a folder of the package.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let below = path.strip_prefix(&root).unwrap_or(&path);
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                found.push(Source::new(&below.to_string_lossy().replace('\\', "/"), &text));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Blanks comments, and what stands inside string and character literals. Knows raw strings; line breaks stay.
fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match skipped(bytes, at) {
            Some(end) => end,
            None => {
                out.push(if bytes[at].is_ascii() { char::from(bytes[at]) } else { ' ' });
                at += 1;
                continue;
            }
        };
        out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `None` if none begins there.
fn skipped(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        let found = rest.get(from..)?.windows(what.len()).position(|window| window == what)?;
        Some(at + from + found + what.len())
    };
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length));
    }
    if rest.starts_with(b"/*") {
        return Some(find(2, b"*/").unwrap_or(bytes.len()));
    }
    let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let raw = rest.strip_prefix(b"br").or_else(|| rest.strip_prefix(b"r")).filter(|_| !word_before);
    if let Some(raw) = raw {
        let hashes = raw.iter().take_while(|byte| **byte == b'#').count();
        if raw.get(hashes) == Some(&b'"') {
            let mut close = vec![b'"'];
            close.resize(1 + hashes, b'#');
            return Some(find(rest.len() - raw.len() + hashes + 1, &close).unwrap_or(bytes.len()));
        }
    }
    match rest.first()? {
        b'"' => Some(quoted(bytes, at, b'"')),
        // A lifetime is no literal: 'a followed by anything but a quote.
        b'\'' if rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'') => Some(quoted(bytes, at, b'\'')),
        _ => None,
    }
}

fn quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// Whether `word` stands in `line` as a word of its own, or with `::` behind it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Whether a line names a crate by path: `name::`, not `crate::name::` or a field.
fn names_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].trim_end_matches("::");
        let absolute = before.len() + 2 == at && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        before.len() == at && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') || absolute
    })
}

/// The top-level modules that a file imports from its own crate, each with a line.
fn imports(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let code = &source.code;
    for root in ["crate::", "stonechat::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count();
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group).into_iter().map(|head| (head, line))),
                None => found.extend(word(rest).map(|head| (head, line))),
            }
        }
    }
    found
}

/// The first words of `a, b::c, d::{e, f}` up to the closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.extend(word(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(word(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Imports that go up or sideways, and modules that the table does not know.
fn layer_faults(source: &Source) -> Vec<String> {
    let module = source.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = layer(module) else {
        return vec![format!("{}: `{module}` has no place in the layer table", source.at(0))];
    };
    let mut faults = Vec::new();
    for (name, line) in imports(source) {
        // What is not a module is an item of the crate's root, such as a macro.
        let Some(other) = layer(&name).filter(|_| name != module) else {
            continue;
        };
        if other >= own {
            let direction = if other == own { "beside" } else { "above" };
            faults.push(format!("{}: `{module}` imports `{name}`, which stands {direction} it", source.at(line)));
        }
    }
    faults
}

fn place_faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, text) in source.code.lines().enumerate() {
        for (name, places) in PLACES {
            if names_crate(text, name) && !places.iter().any(|place| source.path.starts_with(place)) {
                faults.push(format!("{}: `{name}` belongs into {}", source.at(line), places.join(", ")));
            }
        }
    }
    faults
}

/// Words that have one place or none: the word, where it may stand, why.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("Instant", &["clock.rs"], "time comes in as `now`"),
    ("SystemTime", &["clock.rs"], "time comes in as `now`"),
    ("unsafe", &["sys.rs"], "each block needs its reason in one file"),
    ("todo!", &[], "nothing is left unfinished"),
    ("unimplemented!", &[], "nothing is left unfinished"),
    ("dbg!", &[], "a trace of debugging"),
    ("RefCell", &[], "state lives in columns keyed by id"),
];

fn word_faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, text) in source.code.lines().enumerate() {
        for (name, places, why) in WORDS {
            let allowed = places.iter().any(|place| source.path == *place);
            if has_word(text, name) && !allowed && !(*name == "unsafe" && text.contains("unsafe_code")) {
                faults.push(format!("{}: `{name}`: {why}", source.at(line)));
            }
        }
    }
    faults
}

/// `#[ignore]`, FIXME and its like; these may hide in comments.
fn unfinished_faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, (text, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        let ignored = code.replace(' ', "").contains("#[ignore");
        let marked = ["FIXME", "XXX", "TODO", "HACK"].iter().any(|mark| has_word(text, mark));
        if ignored || marked {
            faults.push(format!("{}: unfinished work or a test that does not run", source.at(line)));
        }
    }
    faults
}

/// Printing belongs to the program, not to the library.
fn print_faults(source: &Source) -> Vec<String> {
    if ["main", "cli", "boot"].contains(&source.module()) {
        return Vec::new();
    }
    let printing = |text: &str| ["println!", "eprintln!", "print!", "eprint!"].iter().any(|word| has_word(text, word));
    let lines = source.product().lines().enumerate().filter(|(_, text)| printing(text));
    lines.map(|(line, _)| format!("{}: printing in the library", source.at(line))).collect()
}

fn length_faults(source: &Source) -> Vec<String> {
    let max = if source.is_test() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    let lines = source.text.lines().count();
    let fault = format!("src/{}: {lines} lines, at most {max}: look for the second job in it", source.path);
    if lines > max { vec![fault] } else { Vec::new() }
}

/// A file opens with its job; one of tests has it from what it tests.
fn header_faults(source: &Source) -> Vec<String> {
    if source.is_test() || source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("src/{}: the first line says the file's one job", source.path)]
}

/// Every public bound has its reason above it.
fn bound_faults(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut faults = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(rest) =
            line.trim_start().strip_prefix("pub const ").or(line.trim_start().strip_prefix("pub(crate) const "))
        else {
            continue;
        };
        let name = rest.split(':').next().unwrap_or_default();
        let above = lines[..at].iter().rev().find(|line| !line.trim_start().starts_with("#["));
        let explained = above.is_some_and(|line| line.trim_start().starts_with("///"));
        if (name.ends_with("_MAX") || name.ends_with("_MIN")) && !explained {
            faults.push(format!("{}: `{name}` says nothing of its reason", source.at(at)));
        }
    }
    faults
}

/// Applies a check to every file below `src/`.
fn hold(check: fn(&Source) -> Vec<String>) {
    let faults: Vec<String> = sources("src").iter().flat_map(check).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_go_down() {
    hold(layer_faults);
    let up = Source::new("im/session.rs", "use crate::dispatch::Route;");
    assert_eq!(layer_faults(&up), ["src/im/session.rs:1: `im` imports `dispatch`, which stands above it"]);
    let beside = Source::new("xml/mod.rs", "\nuse crate::{ids::ConnId, transport::Tls};");
    assert_eq!(layer_faults(&beside), ["src/xml/mod.rs:2: `xml` imports `transport`, which stands beside it"]);
    let unknown = Source::new("stuff.rs", "");
    assert_eq!(layer_faults(&unknown), ["src/stuff.rs:1: `stuff` has no place in the layer table"]);
    let down = Source::new("im/mod.rs", "use crate::jid::Jid; // not crate::dispatch\nlet a = \"crate::cli\";");
    assert!(layer_faults(&down).is_empty());
}

#[test]
fn each_module_has_one_place() {
    let all: Vec<&str> = LAYERS.iter().flat_map(|row| row.iter().copied()).collect();
    let once: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), once.len());
}

#[test]
fn crates_have_their_places() {
    hold(place_faults);
    let outside = Source::new("stream/mod.rs", "use rustls::ServerConfig;\nlet x = crate::rustls::y;");
    assert_eq!(place_faults(&outside).len(), 1);
    let inside = Source::new("transport/tls.rs", "use rustls::ServerConfig;");
    assert!(place_faults(&inside).is_empty());
    let tree = Source::new("xml/framer.rs", "let x = ::xml5ever::tokenizer();");
    assert_eq!(place_faults(&tree), ["src/xml/framer.rs:1: `xml5ever` belongs into xml/tree"]);
}

#[test]
fn words_have_their_places() {
    hold(word_faults);
    let clock = "use std::time::Instant;";
    assert_eq!(
        word_faults(&Source::new("core/mod.rs", clock)),
        ["src/core/mod.rs:1: `Instant`: time comes in as `now`"]
    );
    assert!(word_faults(&Source::new("clock.rs", clock)).is_empty());
    assert!(word_faults(&Source::new("lib.rs", "#![deny(unsafe_code)]\n/// An Instant.\nstruct Instants;")).is_empty());
    assert_eq!(word_faults(&Source::new("lib.rs", "fn a() { todo!() }\nunsafe { b() }")).len(), 2);
}

#[test]
fn nothing_is_unfinished() {
    hold(unfinished_faults);
    for text in ["#[ignore]", "#[ ignore = \"slow\"]", "// FIXME: later", "/* TODO */"] {
        assert_eq!(unfinished_faults(&Source::new("a.rs", text)).len(), 1, "{text}");
    }
    for folder in ["tests", "benches"] {
        let others: Vec<Source> = sources(folder).into_iter().filter(|source| source.path != "tidy.rs").collect();
        let faults: Vec<String> = others.iter().flat_map(unfinished_faults).collect();
        assert!(faults.is_empty(), "{folder}: {}", faults.join("\n"));
    }
}

#[test]
fn the_library_prints_nothing() {
    hold(print_faults);
    assert_eq!(print_faults(&Source::new("im/mod.rs", "fn a() { println!(\"b\") }")).len(), 1);
    assert!(print_faults(&Source::new("im/mod.rs", "mod tests {\n println!(\"b\")")).is_empty());
    assert!(print_faults(&Source::new("cli/mod.rs", "fn a() { println!(\"b\") }")).is_empty());
}

#[test]
fn files_have_one_job() {
    hold(length_faults);
    hold(header_faults);
    let long = "\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(length_faults(&Source::new("a.rs", &long)).len(), 1);
    assert!(length_faults(&Source::new("a/tests.rs", &long)).is_empty());
    assert_eq!(header_faults(&Source::new("a.rs", "use b;")).len(), 1);
}

#[test]
fn bounds_are_explained() {
    hold(bound_faults);
    assert_eq!(bound_faults(&Source::new("a.rs", "pub const FRAME_BYTES_MAX: u32 = 1;")).len(), 1);
    assert!(
        bound_faults(&Source::new("a.rs", "/// Why.\n#[cfg(unix)]\npub const FRAME_BYTES_MAX: u32 = 1;")).is_empty()
    );
}

/// The names in a manifest's tables of dependencies.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ' '])) {
            // A renamed crate is known to the registry by its own name.
            let renamed = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            found.push(renamed.unwrap_or(name.trim()));
        }
    }
    found
}

#[test]
fn dependencies_have_their_reasons() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (manifest, reasons) = (read("Cargo.toml"), read("docs/dependencies.md"));
    let missing: Vec<&str> =
        dependencies(&manifest).into_iter().filter(|name| !reasons.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
    let sample =
        "[dependencies]\na = \"1\"\nb = { package = \"c\" }\n[lib]\nname = \"d\"\n[dev-dependencies]\ne = \"1\"";
    assert_eq!(dependencies(sample), ["a", "c", "e"]);
}

/// What a text puts between backticks.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a path of the package is there; one `*` stands for anything in a name.
fn exists(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((front, back)) = path.split_once('*') else { return root.join(path).exists() };
    let (folder, front) = front.rsplit_once('/').unwrap_or((".", front));
    let names = entries(&root.join(folder)).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.into_iter().any(|name| name.starts_with(front) && name.ends_with(back))
}

/// The rows of the promises, each with what it says holds it.
fn promises(text: &str) -> Vec<(&str, &str)> {
    let rows = text.lines().skip_while(|line| *line != "## Promises").skip(1).take_while(|line| !line.starts_with('#'));
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    cells
        .filter(|(promise, held_by)| *promise != "promise" && !promise.starts_with("**") && !held_by.starts_with('-'))
        .collect()
}

/// What is wrong with one of them: nothing holds it, or what is said to is not there.
fn promise_faults((promise, held_by): (&str, &str)) -> Vec<String> {
    let is_path = |word: &&str| word.contains(['/', '.']) && !word.contains(' ');
    let missing = ticked(held_by)
        .filter(is_path)
        .filter(|path| !exists(path))
        .map(|path| format!("{promise}: there is no {path}"));
    let is_held = ticked(held_by).next().is_some() || held_by.starts_with("all of the above");
    missing.chain((!is_held).then(|| format!("{promise}: held by nothing"))).collect()
}

#[test]
fn promises_are_held_by_what_is_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md")).unwrap();
    let rows = promises(&text);
    assert!(rows.len() > 40, "{} promises", rows.len());
    let faults: Vec<String> = rows.into_iter().flat_map(promise_faults).collect();
    assert!(faults.is_empty(), "docs/security.md:\n{}", faults.join("\n"));
    assert_eq!(promise_faults(("it holds", "`tests/nowhere.rs`")).len(), 1);
    assert_eq!(promise_faults(("it holds", "our word")).len(), 1);
    assert!(exists("tests/transcripts/flip_*.txt") && !exists("tests/transcripts/nothing_*.txt"));
}

/// An attack is known by where it comes from: each test of them has a line above it.
#[test]
fn attacks_have_their_sources() {
    let is_hostile = |path: &str| path.contains("hostile");
    let nameless = |source: &Source| -> Vec<String> {
        let lines: Vec<&str> = source.text.lines().collect();
        let tests = (1..lines.len()).filter(|at| lines[*at] == "#[test]" && !lines[at - 1].starts_with("///"));
        tests.map(|at| format!("{}:{}", source.path, at + 1)).collect()
    };
    let found: Vec<Source> = sources("tests").into_iter().filter(|source| is_hostile(&source.path)).collect();
    assert!(found.len() > 8);
    let faults: Vec<String> = found.iter().flat_map(nameless).collect();
    assert!(faults.is_empty(), "attacks without a source:\n{}", faults.join("\n"));
    assert_eq!(nameless(&Source::new("hostile.rs", "use x;\n#[test]\nfn it() {}")), ["hostile.rs:2"]);
}

#[test]
fn stripping_leaves_code_alone() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b */ c", "a         c"),
        ("x(\"a\\\"b\", y)", "x(      , y)"),
        ("r#\"a\"b\"# c", "         c"),
        ("'a' 'b: &'static str", "    'b: &'static str"),
        ("'\\'' c", "     c"),
        ("her\"a\"", "her   "),
    ] {
        assert_eq!(strip(text), code, "{text}");
    }
}
