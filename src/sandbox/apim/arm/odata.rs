//! The part of `OData`'s `$filter` that API Management understands: comparisons and text
//! functions, joined by `and`. Literals are texts in single quotes (a quote inside is doubled),
//! bare words, and `datetime'2026-01-31T00:00:00'` (UTC).

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// One comparison of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) field: String,
    pub(super) operator: Operator,
    pub(super) value: Literal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub(super) enum Literal {
    Text(String),
    Moment(DateTime<Utc>),
}

impl Condition {
    /// Whether `found`, the field's value, satisfies the condition. Values of different kinds
    /// never do.
    fn accepts(&self, found: &Literal) -> bool {
        use Operator::{Contains, EndsWith, Eq, Ge, Gt, Le, Lt, Ne, StartsWith};
        let (found_text, wanted_text) = match (found, &self.value) {
            (Literal::Text(found), Literal::Text(wanted)) => (found.as_str(), wanted.as_str()),
            (Literal::Moment(_), Literal::Moment(_)) => ("", "-"),
            (Literal::Text(_), Literal::Moment(_)) | (Literal::Moment(_), Literal::Text(_)) => {
                return false;
            }
        };
        match self.operator {
            Eq => found == &self.value,
            Ne => found != &self.value,
            Gt => found > &self.value,
            Ge => found >= &self.value,
            Lt => found < &self.value,
            Le => found <= &self.value,
            Contains => found_text.contains(wanted_text),
            StartsWith => found_text.starts_with(wanted_text),
            EndsWith => found_text.ends_with(wanted_text),
        }
    }
}

/// Whether something satisfies the whole filter.
///
/// `field` gives the value of a field by name; `None` is a field that cannot be filtered by.
pub(super) fn accepts(
    filter: &[Condition],
    field: impl Fn(&str) -> Option<Literal>,
) -> Result<bool, String> {
    let mut accepted = true;
    for condition in filter {
        let found = field(&condition.field)
            .ok_or_else(|| format!("Filter by '{}' is not supported.", condition.field))?;
        accepted &= condition.accepts(&found);
    }
    Ok(accepted)
}

/// Reads a `$filter`. An empty one has no conditions.
pub(super) fn parse(filter: &str) -> Result<Vec<Condition>, String> {
    let mut tokens = tokens(filter)?.into_iter().peekable();
    let mut conditions = Vec::new();
    while tokens.peek().is_some() {
        if !conditions.is_empty() {
            expect(&mut tokens, &Token::Word("and".to_owned()))?;
        }
        conditions.push(condition(&mut tokens)?);
    }
    Ok(conditions)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Literal(Literal),
    Open,
    Comma,
    Close,
}

fn condition(tokens: &mut impl Iterator<Item = Token>) -> Result<Condition, String> {
    let first = word(tokens)?;
    let operator = match first.to_ascii_lowercase().as_str() {
        "contains" => Operator::Contains,
        "startswith" => Operator::StartsWith,
        "endswith" => Operator::EndsWith,
        "substringof" => return substring_of(tokens),
        _ => return comparison(first, tokens),
    };
    expect(tokens, &Token::Open)?;
    let field = word(tokens)?;
    expect(tokens, &Token::Comma)?;
    let value = literal(tokens)?;
    expect(tokens, &Token::Close)?;
    Ok(Condition {
        field,
        operator,
        value,
    })
}

/// `substringof('part', field)`: the arguments are the other way round than in `contains`.
fn substring_of(tokens: &mut impl Iterator<Item = Token>) -> Result<Condition, String> {
    expect(tokens, &Token::Open)?;
    let value = literal(tokens)?;
    expect(tokens, &Token::Comma)?;
    let field = word(tokens)?;
    expect(tokens, &Token::Close)?;
    Ok(Condition {
        field,
        operator: Operator::Contains,
        value,
    })
}

fn comparison(
    field: String,
    tokens: &mut impl Iterator<Item = Token>,
) -> Result<Condition, String> {
    let operator = word(tokens)?;
    let operator = match operator.as_str() {
        "eq" => Operator::Eq,
        "ne" => Operator::Ne,
        "gt" => Operator::Gt,
        "ge" => Operator::Ge,
        "lt" => Operator::Lt,
        "le" => Operator::Le,
        _ => return Err(format!("Unknown operator '{operator}' in $filter.")),
    };
    let value = literal(tokens)?;
    Ok(Condition {
        field,
        operator,
        value,
    })
}

fn expect(tokens: &mut impl Iterator<Item = Token>, wanted: &Token) -> Result<(), String> {
    match tokens.next() {
        Some(found) if found == *wanted => Ok(()),
        found => Err(format!(
            "Syntax error in $filter: found {found:?}, expected {wanted:?}."
        )),
    }
}

fn word(tokens: &mut impl Iterator<Item = Token>) -> Result<String, String> {
    match tokens.next() {
        Some(Token::Word(word)) => Ok(word),
        found => Err(format!(
            "Syntax error in $filter: found {found:?}, expected a name."
        )),
    }
}

fn literal(tokens: &mut impl Iterator<Item = Token>) -> Result<Literal, String> {
    match tokens.next() {
        Some(Token::Literal(literal)) => Ok(literal),
        Some(Token::Word(word)) => Ok(Literal::Text(word)),
        found => Err(format!(
            "Syntax error in $filter: found {found:?}, expected a value."
        )),
    }
}

fn tokens(filter: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = filter.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '\'' => {
                let (text, length) = quoted(rest)?;
                (Token::Literal(Literal::Text(text)), length)
            }
            _ => word_or_moment(rest)?,
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn word_or_moment(rest: &str) -> Result<(Token, usize), String> {
    let end = rest
        .find(|character: char| character.is_whitespace() || "(),'".contains(character))
        .unwrap_or(rest.len());
    let word = &rest[..end];
    if word == "datetime" && rest[end..].starts_with('\'') {
        let (text, length) = quoted(&rest[end..])?;
        let moment = moment(&text).ok_or_else(|| format!("'{text}' is not a datetime."))?;
        return Ok((Token::Literal(Literal::Moment(moment)), end + length));
    }
    Ok((Token::Word(word.to_owned()), end))
}

/// The text of the literal that `rest` begins with, and the literal's length in bytes.
fn quoted(rest: &str) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '\'' {
            text.push(character);
        } else if characters.next_if(|(_, next)| *next == '\'').is_some() {
            text.push('\'');
        } else {
            return Ok((text, at + 1));
        }
    }
    Err("A text in $filter does not end.".to_owned())
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN))
        })
        .ok()
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::{Literal, accepts, parse};

    fn matches(filter: &str) -> Result<bool, String> {
        accepts(&parse(filter)?, |field| match field {
            "email" => Some(Literal::Text("o'hara@example.com".to_owned())),
            "registrationDate" => super::moment("2026-03-01T12:00:00").map(Literal::Moment),
            _ => None,
        })
    }

    #[test]
    fn filters_select_as_documented() {
        let cases = [
            ("", true),
            ("email eq 'o''hara@example.com'", true),
            ("email eq 'O''Hara@example.com'", false),
            ("email ne 'x' and startswith(email,'o')", true),
            ("contains(email, 'hara') and endswith(email,'.org')", false),
            ("substringof('hara', email)", true),
            ("registrationDate ge datetime'2026-03-01T12:00:00'", true),
            ("registrationDate gt datetime'2026-03-01T12:00:00'", false),
            (
                "registrationDate lt datetime'2026-03-01T12:00:00.001Z'",
                true,
            ),
            ("registrationDate le datetime'2026-03-01'", false),
        ];
        for (filter, expected) in cases {
            assert_eq!(matches(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let wrong = [
            "email",
            "email eq",
            "email is 'x'",
            "email eq 'x",
            "email eq 'x' or email eq 'y'",
            "contains(email 'x')",
            "password eq 'x'",
            "registrationDate ge datetime'yesterday'",
            "email eq 'x' and",
        ];
        for filter in wrong {
            assert!(matches(filter).is_err(), "{filter}");
        }
    }
}
