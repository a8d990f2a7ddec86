//! JSON values that know where they stand, and a reader that keeps every complaint about them.
//!
//! `serde_json` stops at the first wrong type. Here each value stays a slice of the file until it is
//! asked for, so its position is known and reading goes on after a problem.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{Problem, Problems};
use crate::nearest::nearest;

/// A value in the file, not yet looked into.
#[derive(Clone)]
pub(super) struct Node<'a> {
    raw: &'a RawValue,
    /// Its JSON pointer (RFC 6901).
    pointer: String,
}

impl<'a> Node<'a> {
    /// The value's own text.
    pub(super) fn text(&self) -> &'a str {
        self.raw.get()
    }

    fn kind(&self) -> &'static str {
        match self.text().as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    fn child(&self, name: &str, raw: &'a RawValue) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{name}", self.pointer);
        Self { raw, pointer }
    }
}

/// An object whose members are taken out one by one. What nobody asked for is unknown.
pub(super) struct Object<'a> {
    pub(super) node: Node<'a>,
    members: Vec<(String, Node<'a>)>,
    asked: Vec<&'static str>,
}

impl<'a> Object<'a> {
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.asked.push(name);
        let index = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.remove(index).1)
    }
}

/// Reads values of one file and collects what is wrong with them.
///
/// Every method that reads gives `None` after it has noted a problem.
pub(super) struct Reader<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// The reader and the file's outermost value; text that is not JSON is the only problem then.
    pub(super) fn open(file: &'a str) -> Result<(Self, Node<'a>), Problems> {
        let reader = Self {
            file,
            problems: Vec::new(),
        };
        match serde_json::from_str(file) {
            Ok(raw) => Ok((
                reader,
                Node {
                    raw,
                    pointer: String::new(),
                },
            )),
            Err(error) => Err(Problems::new(vec![Problem {
                pointer: String::new(),
                line: error.line(),
                column: error.column(),
                what: format!("this is not JSON: {}", without_position(&error)),
                fix: "look at this place and just before it".to_owned(),
            }])),
        }
    }

    /// What was read, unless there were problems.
    pub(super) fn close<T>(self, read: Option<T>) -> Result<T, Problems> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(Problems::new(self.problems)),
        }
    }

    pub(super) fn refuse(
        &mut self,
        node: &Node<'_>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (line, column) = self.position(node);
        self.problems.push(Problem {
            pointer: node.pointer.clone(),
            line,
            column,
            what: what.into(),
            fix: fix.into(),
        });
    }

    /// Line and column, both from 1, of where the value begins.
    fn position(&self, node: &Node<'_>) -> (usize, usize) {
        // The value is a slice of the file, so the distance of the two is its offset.
        let offset = node.text().as_ptr().addr() - self.file.as_ptr().addr();
        let before = &self.file[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    pub(super) fn array<'b>(&mut self, node: &Node<'b>) -> Option<Vec<Node<'b>>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(node.text()) else {
            self.refuse(node, format!("is {}", node.kind()), "write an array, [ … ]");
            return None;
        };
        let items = items.into_iter().enumerate();
        Some(
            items
                .map(|(index, raw)| node.child(&index.to_string(), raw))
                .collect(),
        )
    }

    pub(super) fn object<'b>(&mut self, node: &Node<'b>) -> Option<Object<'b>> {
        let mut reader = serde_json::Deserializer::from_str(node.text());
        let Ok(found) = reader.deserialize_map(Members) else {
            self.refuse(
                node,
                format!("is {}", node.kind()),
                "write an object, { … }",
            );
            return None;
        };
        let mut members: Vec<(String, Node<'b>)> = Vec::with_capacity(found.len());
        for (name, raw) in found {
            let value = node.child(&name, raw);
            if members.iter().any(|(earlier, _)| *earlier == name) {
                self.refuse(
                    &value,
                    format!("`{name}` stands here twice"),
                    "keep one of the two",
                );
            } else {
                members.push((name, value));
            }
        }
        Some(Object {
            node: node.clone(),
            members,
            asked: Vec::new(),
        })
    }

    /// Takes a member that must be there; `fix` says what to write.
    pub(super) fn require<'b>(
        &mut self,
        object: &mut Object<'b>,
        name: &'static str,
        fix: &str,
    ) -> Option<Node<'b>> {
        let taken = object.take(name);
        if taken.is_none() {
            self.refuse(&object.node, format!("has no `{name}`"), fix);
        }
        taken
    }

    /// Reports the members that nobody took.
    pub(super) fn finish(&mut self, object: Object<'_>) {
        for (name, node) in object.members {
            let known = object.asked.iter().copied();
            let fix = match nearest(&name, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("remove it; known here: {}", object.asked.join(", ")),
            };
            self.refuse(&node, format!("`{name}` is not known here"), fix);
        }
    }

    pub(super) fn string(&mut self, node: &Node<'_>) -> Option<String> {
        let text = serde_json::from_str(node.text()).ok();
        if text.is_none() {
            self.refuse(node, format!("is {}", node.kind()), "write a string, \"…\"");
        }
        text
    }

    /// A string of a number of characters in `range`, spaces around it not counted.
    pub(super) fn words(
        &mut self,
        node: &Node<'_>,
        range: RangeInclusive<usize>,
    ) -> Option<String> {
        let text = self.string(node)?.trim().to_owned();
        let count = text.chars().count();
        if range.contains(&count) {
            return Some(text);
        }
        let (low, high) = (range.start(), range.end());
        self.refuse(
            node,
            format!("has {count} characters"),
            format!("write {low} to {high} characters"),
        );
        None
    }

    /// A whole number in `range`; `fix` says what it should be.
    pub(super) fn integer(
        &mut self,
        node: &Node<'_>,
        range: RangeInclusive<u64>,
        fix: &str,
    ) -> Option<u64> {
        let number = node.text().parse::<u64>().ok();
        let accepted = number.filter(|number| range.contains(number));
        if accepted.is_none() {
            let what = match node.kind() {
                "a number" => node.text(),
                other => other,
            };
            self.refuse(node, format!("is {what}"), fix);
        }
        accepted
    }

    /// A whole number in `range` that fits 32 bits.
    pub(super) fn small_integer(
        &mut self,
        node: &Node<'_>,
        range: RangeInclusive<u32>,
        fix: &str,
    ) -> Option<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let number = self.integer(node, range, fix)?;
        u32::try_from(number).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        node: &Node<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let word = self.string(node)?;
        let chosen = choices.iter().find(|(name, _)| *name == word);
        if chosen.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            let fix = match nearest(&word, names.clone()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("write one of: {}", names.collect::<Vec<_>>().join(", ")),
            };
            self.refuse(node, format!("\"{word}\" is not known here"), fix);
        }
        chosen.map(|(_, value)| *value)
    }
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The members of an object in their order, repeated names included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
