//! What the README has to name: every route that is served and every command.

use std::fs;
use std::path::Path;

use crate::source::{Source, words_at};

/// The README, with every run of blanks as one.
pub(crate) fn read() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).expect("there is a README.md");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Routes of a file that the README does not have as a word of their own.
pub(crate) fn unnamed_routes(file: &Source, readme: &str) -> Vec<String> {
    routes(file)
        .into_iter()
        .filter_map(|(offset, route)| match route {
            Some(path) if names_path(readme, path) => None,
            Some(path) => Some(format!("{}: {path}", file.at(offset))),
            None => Some(format!(
                "{}: write the path as a literal in .route(\"…\"), so that it can be found",
                file.at(offset)
            )),
        })
        .collect()
}

/// The paths given to `.route(…)`; `None` where one is not a literal.
fn routes(file: &Source) -> Vec<(usize, Option<&str>)> {
    let calls = file.code.match_indices(".route(");
    calls
        .map(|(offset, call)| {
            let argument = &file.text[offset + call.len()..];
            let start = file.text.len() - argument.trim_start().len();
            let literal = file.strings.iter().find(|string| string.offset == start);
            (offset, literal.map(|string| string.text.as_str()))
        })
        .collect()
}

/// Whether the path stands there whole: `/plans` is not named by `/plans/{id}`.
fn names_path(readme: &str, path: &str) -> bool {
    let part_of_path = |c: char| c.is_alphanumeric() || "/{}_-.*".contains(c);
    readme
        .split(|c| !part_of_path(c))
        .any(|word| word == path || word.trim_end_matches('.') == path)
}

/// Commands of a file that the README does not show being called.
pub(crate) fn unnamed_commands(file: &Source, readme: &str) -> Vec<String> {
    let stem = file.path.rsplit('/').next().unwrap_or_default();
    let group = kebab(stem.strip_suffix(".rs").unwrap_or(stem));
    let top = group == "main";
    commands(&file.code)
        .into_iter()
        .filter_map(|name| {
            let calls = if top {
                vec![format!("tollhouse {name}"), format!("-- {name}")]
            } else {
                vec![format!("{group} {name}")]
            };
            let called = calls
                .iter()
                .any(|call| words_at(readme, call).next().is_some());
            (!called).then(|| format!("{}: `{}`", file.path, calls[0]))
        })
        .collect()
}

/// The variants of each enum that derives clap's `Subcommand`, as they are typed.
fn commands(code: &str) -> Vec<String> {
    words_at(code, "Subcommand")
        .filter_map(|offset| {
            let rest = &code[offset..];
            let derived = rest.find(")]")? < rest.find('\n')?;
            let body = rest.split_once("enum ")?.1.split_once('{')?.1;
            derived.then(|| variants(body))
        })
        .flatten()
        .collect()
}

/// The variants of an enum whose opening brace is already gone.
fn variants(body: &str) -> Vec<String> {
    let mut variants = Vec::new();
    let mut depth = 0_i32;
    let mut name = String::new();
    for character in body.chars() {
        match character {
            '(' | '{' | '[' => depth += 1,
            '}' if depth == 0 => break,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => variants.push(std::mem::take(&mut name)),
            _ if depth == 0 && character.is_alphanumeric() => name.push(character),
            _ => {}
        }
    }
    variants.push(name);
    variants.retain(|name| !name.is_empty());
    variants.iter().map(|name| kebab(name)).collect()
}

/// `ReportUsage` and `report_usage` as clap has them typed: `report-usage`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(character.to_lowercase());
    }
    kebab.replace('_', "-")
}

#[test]
fn routes_are_found_and_looked_up_whole() {
    let text = "Router::new().route(\"/plans\", get(a))\n.route(\n  \"/plans/{id}\", get(b)).route(PATH, c)";
    let file = Source::new("src/portal/mod.rs", text);
    let missing = unnamed_routes(&file, "Open `/plans/{id}`, then go on.");
    assert_eq!(
        missing,
        [
            "src/portal/mod.rs:1: /plans",
            "src/portal/mod.rs:3: write the path as a literal in .route(\"…\"), so that it can be found",
        ]
    );
    assert!(names_path("| GET | /plans. |", "/plans"));
    assert!(names_path("| GET | `/` |", "/"));
}

#[test]
fn commands_are_found_and_looked_up_as_they_are_typed() {
    let text = "#[derive(Subcommand)]\nenum Command {\n  /// Run, really.\n  Serve,\n  #[command(subcommand)]\n  \
                Sync(sync::Action),\n  ReportUsage { #[arg(long)] dry_run: bool },\n}\nstruct Other { x: u8 }";
    let main = Source::new("src/main.rs", text);
    assert_eq!(commands(&main.code), ["serve", "sync", "report-usage"]);
    assert_eq!(
        unnamed_commands(&main, "`tollhouse serve` and `cargo run -- sync`"),
        ["src/main.rs: `tollhouse report-usage`",]
    );
    let text = "#[derive(Debug, Subcommand)]\npub enum Action { Plan, Apply }";
    let sync = Source::new("src/commands/sync.rs", text);
    assert_eq!(
        unnamed_commands(&sync, "tollhouse sync plan"),
        ["src/commands/sync.rs: `sync apply`"]
    );
}
