//! Where settings come from: the file, over it the environment, over both systemd's credentials.
//!
//! Each is read to the end and nothing unknown is passed over, so that a mistyped name is noticed
//! at the start and not when its default turns out wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::keys::{FILE_SUFFIX, FILE_VARIABLE, KEYS, Key, VARIABLE_PREFIX};
use super::problem::{Problem, Source};
use crate::nearest::nearest;

/// A setting as it was given, not yet understood.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
}

/// The settings of one source or of all, by full name.
pub(super) type Settings = BTreeMap<&'static str, Given>;

/// No configuration file and no secret is larger, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads all sources, the later over the earlier.
pub(super) fn collect(path: Option<&Path>, environment: &Environment) -> (Settings, Vec<Problem>) {
    let mut sources = Sources::default();
    let named = environment.get(FILE_VARIABLE).map(PathBuf::from);
    if let Some(path) = path.map(Path::to_owned).or(named) {
        sources.read_file(&path);
    }
    let from_file = sources.next_layer();
    sources.read_variables(environment);
    let from_variables = sources.next_layer();
    if let Some(directory) = environment.get("CREDENTIALS_DIRECTORY") {
        sources.read_credentials(Path::new(directory));
    }
    let mut settings = from_file;
    settings.extend(from_variables);
    settings.extend(sources.next_layer());
    (settings, sources.problems)
}

#[derive(Default)]
struct Sources {
    layer: Settings,
    problems: Vec<Problem>,
}

impl Sources {
    fn next_layer(&mut self) -> Settings {
        std::mem::take(&mut self.layer)
    }

    fn refuse(
        &mut self,
        setting: impl Into<String>,
        source: Source,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem {
            setting: setting.into(),
            source: Some(source),
            what: what.into(),
            fix: fix.into(),
        });
    }

    fn read_file(&mut self, path: &Path) {
        let at = |line| Source::File {
            path: path.to_owned(),
            line,
        };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                let fix = "name an existing, readable file with --config or TOLLHOUSE_CONFIG";
                let source = Source::WholeFile(path.to_owned());
                return self.refuse("the file", source, error.to_string(), fix);
            }
        };
        let line_of = |offset: usize| {
            let before = text.bytes().take(offset);
            before.filter(|byte| *byte == b'\n').count() + 1
        };
        let (document, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let line = line_of(error.span().map_or(0, |span| span.start));
            let fix = "write TOML: [section] lines, and name = value with text in quotes";
            self.refuse("the file", at(line), error.message(), fix);
        }
        for (section, value) in document.into_inner() {
            let source = at(line_of(section.span().start));
            let section = section.into_inner();
            if let DeValue::Table(table) = value.into_inner() {
                self.read_section(&section, table, &|offset| at(line_of(offset)));
            } else {
                let known = KEYS.iter().map(|key| key.full_name);
                let fix = unknown_fix(&section, known);
                self.refuse(section.as_ref(), source, "stands outside of a section", fix);
            }
        }
    }

    fn read_section(
        &mut self,
        section: &str,
        table: DeTable<'_>,
        source_at: &dyn Fn(usize) -> Source,
    ) {
        for (name, value) in table {
            let source = source_at(name.span().start);
            let full_name = format!("{section}.{}", name.get_ref());
            match text_or_list(&value) {
                Some(value) => self.put(&full_name, &full_name, value, source),
                None => self.refuse(
                    full_name,
                    source,
                    format!("is {}", value.get_ref().type_str()),
                    "write one value, or a list of texts",
                ),
            }
        }
    }

    fn read_variables(&mut self, environment: &Environment) {
        for (name, value) in &environment.variables {
            if name == FILE_VARIABLE || !name.starts_with(VARIABLE_PREFIX) {
                continue;
            }
            let full_name = name[VARIABLE_PREFIX.len()..]
                .to_lowercase()
                .replace("__", ".");
            let source = Source::Variable(name.clone());
            self.put(name, &full_name, Value::Text(value.clone()), source);
        }
    }

    /// Takes a setting of any name; `written` is how the operator wrote it.
    fn put(&mut self, written: &str, full_name: &str, value: Value, source: Source) {
        let secret = full_name.strip_suffix(FILE_SUFFIX).and_then(|name| {
            let secret = KEYS.iter().find(|key| key.full_name == name);
            secret.filter(|key| key.credential.is_some())
        });
        if let Some(key) = secret {
            return self.put_from_file(key, value, source);
        }
        if let Some(key) = KEYS.iter().find(|key| key.full_name == full_name) {
            return self.put_known(key, Given { value, source });
        }
        let fix = if written == full_name {
            unknown_fix(written, KEYS.iter().map(|key| key.full_name))
        } else {
            let variables: Vec<_> = KEYS.iter().map(Key::variable).collect();
            unknown_fix(written, variables.iter().map(String::as_str))
        };
        self.refuse(written, source, "is not a setting", fix);
    }

    /// A secret whose text is in a file of its own.
    fn put_from_file(&mut self, key: &'static Key, value: Value, source: Source) {
        let setting = format!("{}{FILE_SUFFIX}", key.full_name);
        let Value::Text(path) = value else {
            return self.refuse(setting, source, "is a list", "write one path");
        };
        let path = PathBuf::from(path);
        match read_text(&path) {
            Ok(text) => self.put_known(key, secret_text(&text, path)),
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                self.refuse(
                    setting,
                    source,
                    what,
                    "name a file that this process can read",
                );
            }
        }
    }

    fn put_known(&mut self, key: &'static Key, given: Given) {
        if let Some(earlier) = self.layer.get(key.full_name) {
            let what = format!("is given twice, also in {}", earlier.source);
            self.refuse(key.full_name, given.source, what, "keep one of the two");
        } else {
            self.layer.insert(key.full_name, given);
        }
    }

    /// Files of other names may be there for other uses, but not ones that look like ours.
    fn read_credentials(&mut self, directory: &Path) {
        let Ok(entries) = directory.read_dir() else {
            let source = Source::WholeFile(directory.to_owned());
            let fix = "check LoadCredential= in the unit, or unset the variable";
            return self.refuse("CREDENTIALS_DIRECTORY", source, "cannot be read", fix);
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let known = KEYS.iter().filter_map(|key| key.credential);
            match KEYS.iter().find(|key| key.credential == Some(&name)) {
                Some(key) => self.put_credential(key, path),
                None => {
                    if let Some(meant) = nearest(&name, known) {
                        let fix = format!("did you mean {meant}?");
                        let source = Source::WholeFile(path);
                        self.refuse(name, source, "is not a credential of Tollhouse", fix);
                    }
                }
            }
        }
    }

    fn put_credential(&mut self, key: &'static Key, path: PathBuf) {
        match read_text(&path) {
            Ok(text) => self.put_known(key, secret_text(&text, path)),
            Err(error) => {
                let source = Source::WholeFile(path);
                let fix = "check LoadCredential= in the unit";
                self.refuse(key.full_name, source, error.to_string(), fix);
            }
        }
    }
}

/// Whoever writes a secret with an editor leaves a line end behind it.
fn secret_text(text: &str, path: PathBuf) -> Given {
    Given {
        value: Value::Text(text.trim().to_owned()),
        source: Source::WholeFile(path),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    // Half a file would be read as if it were whole.
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn unknown_fix<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "remove it; packaging/tollhouse.toml names every setting".to_owned(),
    }
}

/// A TOML value as text or as a list of texts; `None` for a table or a list of anything else.
fn text_or_list(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    let text = match value.get_ref() {
        DeValue::Array(items) => {
            let texts = items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned));
            return texts.collect::<Option<_>>().map(Value::List);
        }
        DeValue::Table(_) => return None,
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
    };
    Some(Value::Text(text))
}
