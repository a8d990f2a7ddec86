//! The direction of imports: pure code, then adapters, features, `app` and `main`.
//!
//! Read from every path that begins at the crate's root, in `use` lines and anywhere else.

use std::collections::BTreeSet;

use crate::source::{Source, rust_files, words_at};

/// What every module may import: checked names, secrets and the helper of error messages.
const LOWEST: &[&str] = &["ids", "nearest", "secret"];
const PURE: &[&str] = &["catalogue", "config", "lifecycle"];
/// The HTTP stack, below the adapters; features name its errors.
const TRANSPORT: &[&str] = &["outbound"];
/// They do not know each other.
const ADAPTERS: &[&str] = &["apim", "store", "stripe"];
/// Page shell, errors and assets.
const SHELL: &[&str] = &["web"];
/// They do not know each other.
const FEATURES: &[&str] = &[
    "admin", "doctor", "mail", "metering", "portal", "sync", "users", "webhook",
];

/// The rows of the table: which modules, and what they may import besides [`LOWEST`].
const TABLE: &[(&[&str], &[&[&str]])] = &[
    (LOWEST, &[]),
    (PURE, &[]),
    (TRANSPORT, &[]),
    (&["store"], &[PURE]),
    (&["apim", "stripe"], &[PURE, TRANSPORT]),
    (SHELL, &[PURE]),
    (FEATURES, &[PURE, TRANSPORT, ADAPTERS, SHELL]),
    (&["app"], &[PURE, TRANSPORT, ADAPTERS, SHELL, FEATURES]),
    (
        &["main", "commands"],
        &[
            PURE,
            TRANSPORT,
            ADAPTERS,
            SHELL,
            FEATURES,
            &["app", "sandbox", "commands"],
        ],
    ),
];

/// The sandbox stands for the outside world and shares nothing with what it tests, not even names.
const OUTSIDE: &str = "sandbox";

/// Modules of the source that the table does not have.
pub(crate) fn missing_rows() -> Vec<String> {
    let modules: BTreeSet<String> = rust_files("src")
        .iter()
        .map(|file| file.module().to_owned())
        .collect();
    modules
        .into_iter()
        .filter(|module| module != "lib" && module != OUTSIDE && allowed(module).is_none())
        .map(|module| format!("`{module}` has no row in the table: say what it may import"))
        .collect()
}

/// What a module may import; `None` if it has no row.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    let (_, groups) = TABLE
        .iter()
        .find(|(modules, _)| modules.contains(&module))?;
    Some(
        groups
            .iter()
            .chain([&LOWEST])
            .flat_map(|group| group.iter().copied())
            .collect(),
    )
}

/// Imports of a file that the table does not allow.
pub(crate) fn violations(file: &Source) -> Vec<String> {
    let module = file.module();
    let allowed = match module {
        OUTSIDE => Vec::new(),
        _ => allowed(module).unwrap_or_default(),
    };
    roots(file)
        .into_iter()
        .filter(|(_, root)| *root != module && !allowed.contains(root))
        .filter(|(offset, root)| !(*root == OUTSIDE && is_test(file, *offset)))
        .map(|(offset, root)| format!("{}: {module} must not import {root}", file.at(offset)))
        .collect()
}

/// The tests of a module may use the sandbox that it must not know itself.
fn is_test(file: &Source, offset: usize) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    name.ends_with("tests.rs")
        || file.path.contains("/tests/")
        || inline_modules(&file.code)
            .iter()
            .any(|module| module.name == "tests" && module.holds(offset))
}

/// Every module of the crate's root that the code names, and where.
fn roots(file: &Source) -> Vec<(usize, &str)> {
    let code = &file.code;
    let mut roots = Vec::new();
    for root in ["crate", "tollhouse"] {
        for offset in words_at(code, root) {
            roots.extend(names_after(&code[offset + root.len()..]).map(|name| (offset, name)));
        }
    }
    let inline = inline_modules(code);
    for offset in words_at(code, "super") {
        let path = &code[offset..];
        let ups = path.split("::").take_while(|part| *part == "super").count();
        let enclosing = inline.iter().filter(|module| module.holds(offset)).count();
        let inside_a_chain = code[..offset].ends_with("super::");
        if !inside_a_chain && ups == file.depth() + enclosing {
            let end = ups * "super::".len() - "::".len();
            roots.extend(names_after(&path[end..]).map(|name| (offset, name)));
        }
    }
    roots
}

/// The first names of a path's rest: `a` of `::a::b`, `a` and `c` of `::{a::b, c}`.
fn names_after(rest: &str) -> impl Iterator<Item = &str> {
    let rest = rest.strip_prefix("::").unwrap_or_default();
    let (group, single) = match rest.strip_prefix('{') {
        Some(group) => (top_level(group), None),
        None => (Vec::new(), Some(rest)),
    };
    group
        .into_iter()
        .chain(single)
        .map(|path| {
            let path = path.trim_start();
            let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
            &path[..end.unwrap_or(path.len())]
        })
        .filter(|name| !name.is_empty() && *name != "self")
}

/// The items of a `{…}` group whose opening brace is already gone, groups within left whole.
fn top_level(group: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (offset, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..offset]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..offset]);
                start = offset + 1;
            }
            _ => {}
        }
    }
    items
}

/// `mod name { … }` within a file.
struct InlineModule<'a> {
    name: &'a str,
    start: usize,
    end: usize,
}

impl InlineModule<'_> {
    fn holds(&self, offset: usize) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

fn inline_modules(code: &str) -> Vec<InlineModule<'_>> {
    words_at(code, "mod")
        .filter_map(|offset| {
            let rest = &code[offset + "mod".len()..];
            let (name, _) = rest.split_once('{')?;
            let name = name.trim();
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_name.then(|| InlineModule {
                name,
                start: offset,
                end: offset + block_end(&code[offset..]),
            })
        })
        .collect()
}

/// The offset after the brace that closes the first one.
fn block_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (offset, character) in code.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return offset + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

#[test]
fn paths_from_the_root_are_found_however_they_are_written() {
    let text = "use crate::{ids::UserId, store::{self, usage}, web};\nfn f() { crate::apim::x() }\n\
                use super::catalogue::Model;\nmod tests { use super::super::config; use super::f; }\n\
                // crate::metering\nlet x = \"crate::admin\"; $crate::sync::y;";
    let file = Source::new("src/portal/mod.rs", text);
    let found: Vec<_> = roots(&file).into_iter().map(|(_, name)| name).collect();
    assert_eq!(
        found,
        ["ids", "store", "web", "apim", "sync", "catalogue", "config"]
    );
}

#[test]
fn an_import_against_the_direction_is_named_with_its_line() {
    let check = |path, text, expected: &[&str]| {
        assert_eq!(
            violations(&Source::new(path, text)),
            expected,
            "{path}: {text}"
        );
    };
    check(
        "src/store/usage.rs",
        "\nuse crate::{ids, stripe};",
        &["src/store/usage.rs:2: store must not import stripe"],
    );
    check(
        "src/portal/mod.rs",
        "use crate::webhook;",
        &["src/portal/mod.rs:1: portal must not import webhook"],
    );
    check(
        "src/sandbox/clock.rs",
        "use crate::ids; use crate::sandbox::faults;",
        &["src/sandbox/clock.rs:1: sandbox must not import ids"],
    );
    check(
        "src/app.rs",
        "use crate::sandbox;",
        &["src/app.rs:1: app must not import sandbox"],
    );
    check("src/sync/plan.rs", "mod tests { use crate::sandbox; }", &[]);
    check("src/main.rs", "use tollhouse::{app, sandbox};", &[]);
    check(
        "src/config.rs",
        "use super::catalogue;",
        &["src/config.rs:1: config must not import catalogue"],
    );
}
