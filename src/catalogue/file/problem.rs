//! What is wrong with a catalogue file, each problem with its place and the way to put it right.

use std::fmt;

/// One thing wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The JSON pointer (RFC 6901) of the value; empty for the file as a whole.
    pub pointer: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// `line 12, column 17, /3/prices/unit/quota: is 0; write …`
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(out, ", {}", self.pointer)?;
        }
        write!(out, ": {}; {}", self.what, self.fix)
    }
}

/// Everything that is wrong with a file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self(problems)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// One line for each problem under a line with their number.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => out.write_str("the catalogue has 1 problem:")?,
            count => write!(out, "the catalogue has {count} problems:")?,
        }
        self.0
            .iter()
            .try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
