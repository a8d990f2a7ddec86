//! Rust files with their comments and strings told apart from the code.

use std::fs;
use std::path::Path;

/// A Rust file.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked; every offset is that of `text`.
    pub(crate) code: String,
    pub(crate) strings: Vec<Literal>,
}

/// A string literal, raw or not, without its quotes.
pub(crate) struct Literal {
    /// Of its first quote or prefix.
    pub(crate) offset: usize,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, strings) = Lexer::split(text);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            strings,
        }
    }

    /// The module that the file belongs to: `portal` for `src/portal/views.rs` and `src/portal.rs`.
    pub(crate) fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = path.split('/').next().unwrap_or(path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// `main.rs` and its commands are a crate of their own.
    pub(crate) fn is_of_the_binary(&self) -> bool {
        matches!(self.module(), "main" | "commands")
    }

    /// How many modules deep the file is: 1 for `src/portal.rs` and `src/portal/mod.rs`.
    pub(crate) fn depth(&self) -> usize {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = path.split('/').count();
        if path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// `path:line` of an offset, for messages.
    pub(crate) fn at(&self, offset: usize) -> String {
        let line = self.text[..offset].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Offsets at which `word` stands in `text` as a word of its own.
pub(crate) fn words_at<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(move |offset| {
            let before = text[..*offset].chars().next_back();
            let after = text[offset + word.len()..].chars().next();
            !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
        })
}

/// All Rust files below a folder of the repository.
pub(crate) fn rust_files(folder: &str) -> Vec<Source> {
    let files: Vec<_> = text_files(folder)
        .into_iter()
        .filter(|(path, _)| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .map(|(path, text)| Source::new(&path, &text))
        .collect();
    assert!(
        !files.is_empty(),
        "no Rust files in {folder}: nothing would be checked"
    );
    files
}

/// Paths and texts of all files below a folder of the repository that are text; none if it is not there.
pub(crate) fn text_files(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let inside = path.strip_prefix(root).unwrap();
                files.push((inside.to_str().unwrap().replace('\\', "/"), text));
            }
        }
    }
    files.sort();
    files
}

/// As much of Rust's lexical grammar as it takes to know code from comments and strings.
struct Lexer<'a> {
    text: &'a str,
    at: usize,
    code: Vec<u8>,
    strings: Vec<Literal>,
}

impl<'a> Lexer<'a> {
    fn split(text: &'a str) -> (String, Vec<Literal>) {
        let mut lexer = Self {
            text,
            at: 0,
            code: Vec::with_capacity(text.len()),
            strings: Vec::new(),
        };
        while lexer.at < text.len() {
            lexer.step();
        }
        let code = String::from_utf8(lexer.code).expect("blanks and ASCII are UTF-8");
        (code, lexer.strings)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn step(&mut self) {
        let rest = self.rest();
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment_length(rest));
        } else if let Some(opening) = self.string_opening() {
            let body = &rest[opening.length..];
            let length = opening.body_length(body);
            let text = body[..length].to_owned();
            self.strings.push(Literal {
                offset: self.at,
                text,
            });
            let whole = opening.length + length + 1 + opening.hashes.unwrap_or(0);
            self.blank(whole.min(rest.len()));
        } else if let Some(length) = character_length(rest) {
            self.blank(length);
        } else {
            self.keep();
        }
    }

    fn string_opening(&self) -> Option<Opening> {
        let rest = self.rest();
        let plain = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
        let raw = plain.strip_prefix('r');
        let unprefixed = raw.unwrap_or(plain);
        let hashes = raw.map(|raw| raw.len() - raw.trim_start_matches('#').len());
        let prefix = rest.len() - unprefixed.len();
        let part_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let in_word = prefix > 0 && self.code.last().is_some_and(part_of_word);
        let quote = unprefixed[hashes.unwrap_or(0)..].starts_with('"');
        (quote && !in_word).then(|| Opening {
            length: prefix + hashes.unwrap_or(0) + 1,
            hashes,
        })
    }

    fn keep(&mut self) {
        let character = self.rest().chars().next().expect("the end is not reached");
        if character.is_ascii() {
            self.code.push(character as u8);
            self.at += 1;
        } else {
            self.blank(character.len_utf8());
        }
    }

    fn blank(&mut self, length: usize) {
        let blanked = self.rest().as_bytes()[..length].iter();
        self.code
            .extend(blanked.map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        self.at += length;
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// What a string begins with, quote included.
struct Opening {
    length: usize,
    /// Of a raw string, which has no escapes.
    hashes: Option<usize>,
}

impl Opening {
    /// The length of the string's text, up to what closes it.
    fn body_length(&self, body: &str) -> usize {
        match self.hashes {
            Some(hashes) => {
                let close = format!("\"{}", "#".repeat(hashes));
                body.find(&close).unwrap_or(body.len())
            }
            None => quoted_length(body),
        }
    }
}

fn quoted_length(body: &str) -> usize {
    let mut escaped = false;
    for (offset, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return offset,
            _ => {}
        }
    }
    body.len()
}

/// The length of a character literal; `None` for a lifetime and for everything else.
fn character_length(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        let end = body[2..].find('\'')?;
        return Some(1 + 2 + end + 1);
    }
    let first = body.chars().next()?;
    let after = &body[first.len_utf8()..];
    after.starts_with('\'').then(|| 1 + first.len_utf8() + 1)
}

#[test]
fn code_comments_and_strings_are_told_apart() {
    let text = r##"let d = br"\"; let a = "x // \" y"; // "no"
        /* /* "no" */ crate::no */ let b = r#"raw " \"#; let c = '"'; fn f<'a>(x: &'a str) {} '\''"##;
    let source = Source::new("src/a/b.rs", text);
    let strings: Vec<_> = source
        .strings
        .iter()
        .map(|string| string.text.as_str())
        .collect();
    assert_eq!(strings, [r"\", r#"x // \" y"#, r#"raw " \"#]);
    let words: Vec<_> = source.code.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "let d = ; let a = ; let b = ; let c = ; fn f<'a>(x: &'a str) {}"
    );
    assert_eq!(source.code.len(), text.len());
}

#[test]
fn a_file_knows_its_module_and_depth() {
    for (path, module, depth) in [
        ("src/config.rs", "config", 1),
        ("src/portal/mod.rs", "portal", 1),
        ("src/portal/views/mod.rs", "portal", 2),
        ("src/portal/views/plans.rs", "portal", 3),
    ] {
        let source = Source::new(path, "");
        assert_eq!((source.module(), source.depth()), (module, depth), "{path}");
    }
}
