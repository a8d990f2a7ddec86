//! What is wrong with the settings: all of it, in words that let the operator put it right.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration file and the line in it, from 1.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Variable(String),
    /// A file as a whole: a systemd credential, what a `…_file` setting names, or an unreadable one.
    WholeFile(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(out, "line {line} of {}", path.display()),
            Self::Variable(name) => write!(out, "variable {name}"),
            Self::WholeFile(path) => write!(out, "{}", path.display()),
        }
    }
}

/// One thing wrong. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `section.name` of the setting, or the unknown name as it was written.
    pub setting: String,
    /// `None` when it was not given at all.
    pub source: Option<Source>,
    pub what: String,
    pub fix: String,
}

/// `portal.public_url (line 4 of tollhouse.toml): "x" is not a URL` and the fix on its own line.
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.setting)?;
        if let Some(source) = &self.source {
            write!(out, " ({source})")?;
        }
        write!(out, ": {}\n      {}", self.what, self.fix)
    }
}

/// Everything wrong with the settings. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

/// The whole message for whoever started Tollhouse without a usable configuration.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => out.write_str("the configuration cannot be used: 1 problem\n")?,
            count => writeln!(out, "the configuration cannot be used: {count} problems")?,
        }
        for problem in &self.0 {
            write!(out, "\n  {problem}")?;
        }
        out.write_str(
            "\n\npackaging/tollhouse.toml explains every setting. \
             To see Tollhouse at work without any: tollhouse demo",
        )
    }
}

impl std::error::Error for Problems {}
