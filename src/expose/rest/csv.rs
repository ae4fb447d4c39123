//! Lists as CSV (RFC 4180), for spreadsheets.

use super::accept;
use super::error::ApiError;
use super::extract::Query;
use super::problem::Problem;
use super::time::Time;
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object.
    Json,
    /// A header, and a line for each item.
    Csv,
}

impl Format {
    /// What `format` says, else `Accept`; JSON where neither prefers CSV.
    pub fn of(query: &Query, problems: &mut Vec<Problem>) -> Self {
        query.named("format", problems).unwrap_or_else(|| {
            let [json, csv] = ["application/json", "text/csv"].map(|media| accept::weight(query.accept(), media));
            if csv > json { Self::Csv } else { Self::Json }
        })
    }

    /// The answer: `list` as JSON, or as a file of this name with the lines that `table` writes. `next` is where the next page is.
    pub fn answer<T: Serialize>(
        self,
        list: T,
        name: &str,
        next: Option<&str>,
        table: impl FnOnce(&T, &mut Table),
    ) -> Result<Response, ApiError> {
        let mut response = match self {
            Self::Json => Json(list).into_response(),
            Self::Csv => {
                let mut lines = Table::default();
                table(&list, &mut lines);
                let mut response = lines.0.into_response();
                let headers = response.headers_mut();
                headers
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
                let file = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\""));
                headers.extend(file.map(|file| (header::CONTENT_DISPOSITION, file)));
                // A cursor has nothing that would have to be escaped but what a plugin's name may hold.
                let link = next.map(|next| HeaderValue::from_str(&format!("<?after={next}>; rel=\"next\"")));
                headers.extend(link.and_then(Result::ok).map(|link| (header::LINK, link)));
                response
            }
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        Ok(response)
    }
}

/// The lines of a CSV file.
#[derive(Default)]
pub struct Table(String);

/// A cell.
pub enum Cell<'a> {
    /// Nothing is known.
    Nothing,
    /// Text, which may come from anywhere.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// A moment.
    Moment(Time),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Time> for Cell<'_> {
    fn from(time: Time) -> Self {
        Self::Moment(time)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl Table {
    /// Adds a line.
    pub fn line<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) {
        for (at, cell) in cells.into_iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            match cell {
                Cell::Text(text) => self.text(text),
                Cell::Number(number) if number.is_finite() => self.0 += &number.to_string(),
                Cell::Moment(time) => self.0 += &time.to_string(),
                Cell::Nothing | Cell::Number(_) => {}
            }
        }
        self.0 += "\r\n";
    }

    /// Text in quotes where it needs them. What a spreadsheet would take for a formula gets an apostrophe before it, by which
    /// spreadsheets know text.
    fn text(&mut self, text: &str) {
        let is_formula =
            text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
        let is_quoted =
            text.contains([',', '"', '\r', '\n', ';', '\t']) || text.starts_with(' ') || text.ends_with(' ');
        if is_quoted {
            self.0.push('"');
        }
        if is_formula {
            self.0.push('\'');
        }
        for c in text.chars() {
            if c == '"' {
                self.0.push('"');
            }
            self.0.push(c);
        }
        if is_quoted {
            self.0.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(cells: impl IntoIterator<Item = Cell<'static>>) -> String {
        let mut table = Table::default();
        table.line(cells);
        table.0
    }

    #[test]
    fn cells_are_quoted_and_no_text_is_a_formula() {
        for (text, expect) in [
            ("web-1", "web-1"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("=1+2", "'=1+2"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2", "'-2"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("a=1", "a=1"),
        ] {
            assert_eq!(line([Cell::Text(text)]), format!("{expect}\r\n"), "{text:?}");
        }
        let cells = [Cell::Number(-2.5), Cell::Number(f64::NAN), Cell::Nothing, Cell::Number(1e21)];
        assert_eq!(line(cells), "-2.5,,,1000000000000000000000\r\n", "numbers are numbers");
    }

    /// Reads one line back, as RFC 4180 has it.
    fn cells(line: &str) -> Vec<String> {
        let (mut all, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
        let mut chars = line.strip_suffix("\r\n").unwrap().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => all.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        all.push(cell);
        all
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_one_cell(texts in proptest::collection::vec("[-=+@a\",;\r\n\t ']{0,6}", 1..4)) {
            let mut table = Table::default();
            table.line(texts.iter().map(Cell::from));
            let back = cells(&table.0);
            prop_assert_eq!(back.len(), texts.len());
            for (cell, text) in back.iter().zip(&texts) {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{:?}", cell);
                prop_assert!(cell == text || cell.strip_prefix('\'') == Some(text.as_str()), "{:?} of {:?}", cell, text);
            }
        }
    }
}
