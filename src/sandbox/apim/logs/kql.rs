//! Reads the part of the Kusto query language that the sandbox understands: a table, and behind it
//! `where`, `extend`, `summarize`, `order by` and `take`.
//!
//! <https://learn.microsoft.com/kusto/query/>

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) table: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Where(Expression),
    Extend(Vec<(String, Expression)>),
    Summarize {
        aggregates: Vec<(String, Aggregate)>,
        by: Vec<(String, Expression)>,
    },
    Take(usize),
    /// Columns, and whether each descends.
    Order(Vec<(String, bool)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aggregate {
    Count,
    /// Of a column, exactly; `dcount` only estimates.
    CountDistinct(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Literal),
    Column(String),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    Between(Box<Expression>, Box<(Expression, Expression)>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// `bin` or `case`.
    Call(String, Vec<Expression>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Literal {
    Bool(bool),
    Long(i64),
    Text(String),
    Time(DateTime<Utc>),
    Span(TimeDelta),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    /// `=~`, without regard to case.
    Alike,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads `text`; an error says where it stops to make sense.
pub(super) fn parse(text: &str) -> Result<Query, String> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        at: 0,
    };
    let table = reader.name()?;
    let mut steps = Vec::new();
    while reader.takes("|") {
        steps.push(reader.step()?);
    }
    match reader.peek() {
        None => Ok(Query { table, steps }),
        Some(token) => Err(format!("Unexpected {token:?}")),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    /// What stands in the brackets of `datetime(…)`.
    Time(DateTime<Utc>),
    Number(i64),
    Span(TimeDelta),
    Sign(&'static str),
}

const SIGNS: &[&str] = &[
    "==", "=~", "!=", "<=", ">=", "..", "|", "(", ")", ",", "<", ">", "=",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign))
        {
            (Token::Sign(sign), sign.len())
        } else if first == '"' || first == '\'' {
            quoted(rest, first)?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            word(rest)?
        } else {
            return Err(format!("Unexpected '{first}'"));
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let end = rest[1..].find(quote).ok_or("A string does not end")?;
    let text = &rest[1..=end];
    if text.contains(['\\', '\n']) {
        return Err("Escapes in strings are not understood".to_owned());
    }
    Ok((Token::Text(text.to_owned()), end + 2))
}

/// A number, or with a unit behind it a timespan: `1h`, `15m`.
fn number(rest: &str) -> Result<(Token, usize), String> {
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number: i64 = rest[..digits]
        .parse()
        .map_err(|_| "A number is too large")?;
    let unit = rest[digits..].chars().next().unwrap_or(' ');
    let span = match unit {
        'd' => TimeDelta::try_days(number),
        'h' => TimeDelta::try_hours(number),
        'm' => TimeDelta::try_minutes(number),
        's' => TimeDelta::try_seconds(number),
        _ => return Ok((Token::Number(number), digits)),
    };
    let span = span.ok_or("A timespan is too long")?;
    Ok((Token::Span(span), digits + 1))
}

fn word(rest: &str) -> Result<(Token, usize), String> {
    let length = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let word = &rest[..length];
    if word != "datetime" {
        return Ok((Token::Word(word.to_owned()), length));
    }
    let inside = rest[length..]
        .strip_prefix('(')
        .ok_or("datetime needs a value")?;
    let end = inside.find(')').ok_or("datetime(…) does not end")?;
    let time = moment(inside[..end].trim()).ok_or("datetime(…) is no date")?;
    Ok((Token::Time(time), length + end + 2))
}

/// A date, with a time of day behind it or not; without a zone it is UTC.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    let zoned = if text.ends_with('Z') {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    zoned.parse().ok()
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("The query ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(next)) if next == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(format!("Expected '{sign}' before {:?}", self.peek()))
    }

    fn name(&mut self) -> Result<String, String> {
        let next = self.next()?;
        if let Token::Word(word) = next {
            return Ok(word);
        }
        Err(format!("Expected a name and found {next:?}"))
    }

    fn step(&mut self) -> Result<Step, String> {
        match self.name()?.as_str() {
            "where" => Ok(Step::Where(self.expression()?)),
            "extend" => Ok(Step::Extend(self.list(Self::named)?)),
            "summarize" => {
                let aggregates = self.list(Self::aggregate)?;
                let by = if self.takes_word("by") {
                    self.list(Self::named)?
                } else {
                    Vec::new()
                };
                Ok(Step::Summarize { aggregates, by })
            }
            "take" | "limit" => {
                let next = self.next()?;
                let Token::Number(rows) = next else {
                    return Err(format!("Expected a number of rows and found {next:?}"));
                };
                Ok(Step::Take(usize::try_from(rows).unwrap_or(0)))
            }
            "order" | "sort" if self.takes_word("by") => Ok(Step::Order(self.list(Self::order)?)),
            other => Err(format!("The operator '{other}' is not understood")),
        }
    }

    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut list = vec![one(self)?];
        while self.takes(",") {
            list.push(one(self)?);
        }
        Ok(list)
    }

    /// `Name = expression`, or a column that keeps its name.
    fn named(&mut self) -> Result<(String, Expression), String> {
        let name = self.name()?;
        if self.takes("=") {
            return Ok((name, self.expression()?));
        }
        Ok((name.clone(), Expression::Column(name)))
    }

    fn aggregate(&mut self) -> Result<(String, Aggregate), String> {
        let name = self.name()?;
        self.expect("=")?;
        let function = self.name()?;
        self.expect("(")?;
        let aggregate = match function.as_str() {
            "count" => Aggregate::Count,
            "count_distinct" => Aggregate::CountDistinct(self.name()?),
            other => return Err(format!("The aggregate '{other}' is not understood")),
        };
        self.expect(")")?;
        Ok((name, aggregate))
    }

    /// Columns descend unless they are said to ascend.
    fn order(&mut self) -> Result<(String, bool), String> {
        let name = self.name()?;
        let ascends = self.takes_word("asc");
        let descends = !ascends;
        if descends {
            self.takes_word("desc");
        }
        Ok((name, descends))
    }

    fn expression(&mut self) -> Result<Expression, String> {
        let mut left = self.conjunction()?;
        while self.takes_word("or") {
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, String> {
        let mut left = self.comparison()?;
        while self.takes_word("and") {
            left = Expression::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.operand()?;
        if self.takes_word("in") {
            self.expect("(")?;
            let list = self.list(Self::operand)?;
            self.expect(")")?;
            return Ok(Expression::In(Box::new(left), list));
        }
        if self.takes_word("between") {
            self.expect("(")?;
            let from = self.operand()?;
            self.expect("..")?;
            let to = self.operand()?;
            self.expect(")")?;
            return Ok(Expression::Between(Box::new(left), Box::new((from, to))));
        }
        let comparisons = [
            ("==", Comparison::Equal),
            ("=~", Comparison::Alike),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in comparisons {
            if self.takes(sign) {
                let right = Box::new(self.operand()?);
                return Ok(Expression::Compare(Box::new(left), comparison, right));
            }
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        let literal = match self.next()? {
            Token::Number(number) => Literal::Long(number),
            Token::Text(text) => Literal::Text(text),
            Token::Time(time) => Literal::Time(time),
            Token::Span(span) => Literal::Span(span),
            Token::Word(word) if self.takes("(") => {
                let arguments = self.list(Self::expression)?;
                self.expect(")")?;
                return Ok(Expression::Call(word, arguments));
            }
            Token::Word(word) => return Ok(Expression::Column(word)),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            other @ Token::Sign(_) => return Err(format!("Unexpected {other:?}")),
        };
        Ok(Expression::Literal(literal))
    }
}
