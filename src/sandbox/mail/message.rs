//! As much of a message as a mail program shows: headers (RFC 5322, 2047) and its parts (2045).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// What a mail program would show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed {
    pub subject: String,
    pub message_id: String,
    /// The sender as the message itself names it.
    pub author: String,
    pub text: String,
    pub html: String,
}

/// Reads a message; whatever it lacks stays empty.
pub fn parse(raw: &str) -> Parsed {
    let (headers, _) = split(raw);
    let mut parsed = Parsed {
        subject: words(&header(&headers, "subject")),
        message_id: header(&headers, "message-id"),
        author: words(&header(&headers, "from")),
        ..Parsed::default()
    };
    read_part(raw, &mut parsed);
    parsed
}

fn read_part(raw: &str, parsed: &mut Parsed) {
    let (headers, body) = split(raw);
    let content_type = header(&headers, "content-type");
    if let Some(boundary) = parameter(&content_type, "boundary") {
        let delimiter = format!("--{boundary}");
        // Before the first delimiter is a preamble, after the last one "--".
        for part in body.split(&delimiter).skip(1) {
            if !part.starts_with("--") {
                read_part(part.trim_start_matches("\r\n"), parsed);
            }
        }
        return;
    }
    let body = body.trim_end_matches("\r\n");
    let content = match header(&headers, "content-transfer-encoding")
        .to_lowercase()
        .as_str()
    {
        "base64" => from_base64(body),
        "quoted-printable" => from_quoted_printable(body, false),
        _ => body.to_owned(),
    };
    let content = content.replace("\r\n", "\n");
    if content_type.to_lowercase().starts_with("text/html") {
        parsed.html = content;
    } else {
        parsed.text = content;
    }
}

/// Headers, unfolded, and body.
fn split(raw: &str) -> (Vec<String>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((raw, ""));
    let mut headers: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => headers.push(line.to_owned()),
        }
    }
    (headers, body)
}

fn header(headers: &[String], name: &str) -> String {
    let value = headers.iter().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    value.unwrap_or_default().to_owned()
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        let is_it = found.eq_ignore_ascii_case(name);
        is_it.then(|| value.trim_matches('"').to_owned())
    })
}

/// Encoded words, `=?utf-8?b?…?=`, as what they stand for; blanks between two of them go.
fn words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("=?") {
        let parts: Vec<&str> = after.splitn(4, '?').collect();
        let [_, encoding, word, tail] = parts[..] else {
            break;
        };
        let Some(tail) = tail.strip_prefix('=') else {
            break;
        };
        if text.is_empty() || !before.trim().is_empty() {
            text.push_str(before);
        }
        match encoding {
            "b" | "B" => text.push_str(&from_base64(word)),
            _ => text.push_str(&from_quoted_printable(word, true)),
        }
        rest = tail;
    }
    text + rest
}

fn from_base64(text: &str) -> String {
    let text: String = text.split_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn from_quoted_printable(text: &str, in_header: bool) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match (first, escaped) {
            (b'=', Some(byte)) => {
                bytes.push(byte);
                &tail[2..]
            }
            (b'_', _) if in_header => {
                bytes.push(b' ');
                tail
            }
            (other, _) => {
                bytes.push(*other);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Parsed, parse};

    #[test]
    fn headers_and_both_parts_are_read() {
        let raw = "From: =?utf-8?q?Caf=C3=A9_APIs?= <a@b.c>\r\nSubject: =?utf-8?b?w6k=?=\r\n \
            =?utf-8?b?dMOp?= done\r\nMessage-ID: <1@b.c>\r\nContent-Type: multipart/alternative;\r\n \
            boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nA =E2=80=9Cb=E2=80=9D =\r\nc\r\n--x\r\n\
            Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n\
            --x--\r\n";
        let expected = Parsed {
            subject: "été done".into(),
            message_id: "<1@b.c>".into(),
            author: "Café APIs <a@b.c>".into(),
            text: "A “b” c".into(),
            html: "<b>".into(),
        };
        assert_eq!(parse(raw), expected);
    }

    #[test]
    fn nonsense_is_no_panic() {
        for raw in [
            "",
            "=?",
            "Subject: =?a?b?c\r\n\r\n=",
            "Content-Type: x; boundary=\r\n\r\n--",
        ] {
            parse(raw);
        }
    }
}
