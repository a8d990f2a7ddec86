//! What no compiler checks: who may import whom, where SQL may stand, and that the README names
//! every route and command. Each failure says which file, which line, and what to do.

#![cfg(test)]

mod imports;
mod readme;
mod source;

use source::{Source, rust_files, text_files};

/// Fails with all findings at once, one a line.
fn expect_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}

#[test]
fn imports_follow_the_table() {
    let mut findings = imports::missing_rows();
    findings.extend(rust_files("src").iter().flat_map(imports::violations));
    expect_none(
        "imports point one way, as the table in tests/tidy/imports.rs has it:",
        &findings,
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    let silent: Vec<_> = files
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    expect_none("these files do not begin with a `//!` line:", &silent);
}

#[test]
fn sql_stands_only_in_the_store() {
    let outside = rust_files("src")
        .into_iter()
        .filter(|file| file.module() != "store");
    let findings: Vec<_> = outside
        .flat_map(|file| {
            let sql = file.strings.iter().filter(|string| is_sql(&string.text));
            sql.map(|string| file.at(string.offset)).collect::<Vec<_>>()
        })
        .collect();
    expect_none("SQL outside of src/store, move it there:", &findings);
}

/// Statements are written in capitals, prose is not.
fn is_sql(text: &str) -> bool {
    let has = |keyword| source::words_at(text, keyword).next().is_some();
    has("SELECT") || has("INSERT INTO") || has("DELETE FROM") || (has("UPDATE") && has("SET"))
}

#[test]
fn sql_is_told_from_prose() {
    assert!(is_sql("SELECT 1"));
    assert!(is_sql("\n  UPDATE jobs\n  SET done = 1"));
    assert!(!is_sql("Select a plan; UPDATED; INSERTED INTO"));
    assert!(!is_sql("UPDATE"));
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let markers =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|parts| parts.concat());
    let folders = [
        "src",
        "tests",
        "assets",
        "migrations",
        "packaging",
        "payment",
    ];
    let findings: Vec<_> = folders
        .iter()
        .flat_map(|folder| text_files(folder))
        .flat_map(|(path, text)| {
            let lines = text
                .lines()
                .enumerate()
                .map(|(index, line)| (index + 1, line));
            let marked = |line| {
                markers
                    .iter()
                    .any(|marker| source::words_at(line, marker).next().is_some())
            };
            let found = lines.filter(|(_, line)| marked(line));
            found
                .map(|(number, line)| format!("{path}:{number}: {}", line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none(
        "markers of unfinished work, finish it or leave it out:",
        &findings,
    );
}

#[test]
fn no_file_is_longer_than_600_lines() {
    const LINES_MAX: usize = 600;
    let long: Vec<_> = rust_files("src")
        .iter()
        .map(|file| (&file.path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    expect_none("find the idea that is missing and give it a file:", &long);
}

#[test]
fn the_readme_names_every_route() {
    let readme = readme::read();
    let served = rust_files("src")
        .into_iter()
        .filter(|file| file.module() != "sandbox");
    let findings: Vec<_> = served
        .flat_map(|file| readme::unnamed_routes(&file, &readme))
        .collect();
    expect_none("routes that README.md does not name:", &findings);
}

#[test]
fn the_readme_names_every_command() {
    let readme = readme::read();
    let files = rust_files("src")
        .into_iter()
        .filter(Source::is_of_the_binary);
    let findings: Vec<_> = files
        .flat_map(|file| readme::unnamed_commands(&file, &readme))
        .collect();
    expect_none("commands that README.md does not name:", &findings);
}
