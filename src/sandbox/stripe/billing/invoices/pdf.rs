//! The smallest PDF that shows some lines of text: one page, one of the standard fonts.

use std::fmt::Write;

/// Why writing to a `String` cannot fail.
const GROWS: &str = "text can always grow";
const LINE_HEIGHT_POINTS: u16 = 16;
const LARGEST_PAGE_LINES: usize = 45;

/// An A4 page with `lines` of text; what does not fit on it is left out. Characters beyond Latin-1
/// become question marks.
pub(crate) fn page(lines: &[String]) -> Vec<u8> {
    let mut text = format!("BT /F1 11 Tf 56 786 Td {LINE_HEIGHT_POINTS} TL\n");
    for line in lines.iter().take(LARGEST_PAGE_LINES) {
        text.push('(');
        text.push_str(&escaped(line));
        text.push_str(") Tj T*\n");
    }
    text.push_str("ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    assembled(&objects)
}

/// Numbers the objects and adds the table of their places.
fn assembled(objects: &[String]) -> Vec<u8> {
    let mut file = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", file.len()).expect(GROWS);
        writeln!(file, "{} 0 obj\n{object}\nendobj", index + 1).expect(GROWS);
    }
    let start = file.len();
    let count = objects.len() + 1;
    let trailer = format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF");
    writeln!(file, "xref\n0 {count}\n{table}{trailer}").expect(GROWS);
    file.into_bytes()
}

/// Text inside parentheses; other characters than ASCII by their octal Latin-1 code.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match (letter, u32::from(letter)) {
            ('(' | ')' | '\\', _) => escaped.extend(['\\', letter]),
            (_, 0x20..=0x7e) => escaped.push(letter),
            (_, code @ 0xa0..=0xff) => write!(escaped, "\\{code:03o}").expect(GROWS),
            _ => escaped.push('?'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn the_table_points_at_the_objects() {
        let file = String::from_utf8(page(&["1 × Basic (at $14.95)".into()])).unwrap();
        assert!(file.contains("(1 \\327 Basic \\(at $14.95\\)) Tj"));
        let table: Vec<_> = file.lines().skip_while(|line| *line != "xref").collect();
        for (number, entry) in table[3..8].iter().enumerate() {
            let place: usize = entry[..10].parse().unwrap();
            assert!(file[place..].starts_with(&format!("{} 0 obj", number + 1)));
        }
        let start: usize = table[table.len() - 2].parse().unwrap();
        assert!(file[start..].starts_with("xref"));
    }
}
