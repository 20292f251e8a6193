//! Reading requests: JSON text, queries, ids and cursors, each refused as [`Error`] with the place.

use std::str::FromStr;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{HeaderValue, header, request::Parts},
};
use chrono::{DateTime, Utc};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::error::Error;
use crate::{
    access::Caller,
    domain::{instant, transaction::InvalidText},
    store::Cursor,
};

/// The most bytes of a body.
pub(super) const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A body that was sent as JSON; not parsed yet.
pub(super) struct JsonText(String);

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let coding = request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Err(Error::Encoded);
        }
        let sent_as = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = sent_as.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Error::NotJson);
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(cause) if cause.status() == 413 => {
                Error::BodyTooLarge { limit: BODY_LIMIT }
            }
            _ => Error::BodyUnreadable,
        })?;
        String::from_utf8(bytes.into()).map(Self).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..good).unwrap_or_default();
            let line = before.split(|&byte| byte == b'\n');
            Error::Syntax { line: line.clone().count(), column: line.clone().next_back().map_or(0, <[u8]>::len) + 1 }
        })
    }
}

impl JsonText {
    /// Parses the whole text, an object. (Serde would take an array for a struct too.)
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        self.parse_as('{', "must be an object")
    }

    /// Parses the whole text, an array.
    pub(super) fn parse_list<'a, T: Deserialize<'a>>(&'a self) -> Result<Vec<T>, Error> {
        self.parse_as('[', "must be an array")
    }

    fn parse_as<'a, T: Deserialize<'a>>(&'a self, opening: char, otherwise: &str) -> Result<T, Error> {
        let syntax = |error: &serde_json::Error| Error::Syntax { line: error.line(), column: error.column().max(1) };
        if !self.0.trim_start().starts_with(opening) {
            serde_json::from_str::<IgnoredAny>(&self.0).map_err(|error| syntax(&error))?;
            return Err(Error::Shape { pointer: Some(String::new()), detail: otherwise.to_owned() });
        }
        let mut deserializer = serde_json::Deserializer::from_str(&self.0);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
        let parsed = T::deserialize(tracked).and_then(|value| deserializer.end().map(|()| value));
        parsed.map_err(|error| {
            let text = error.to_string();
            // Such a number is JSON; that it fits nowhere is the reader's limit.
            if !error.is_data() && !text.starts_with("number out of range") {
                return syntax(&error);
            }
            let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail).to_owned();
            Error::Shape { pointer: Some(pointer(&track.path())), detail }
        })
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

/// A query string; unknown parameters are refused, so that a misspelt filter can't widen a list.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |rejection| {
                let text = rejection.body_text();
                let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
                Error::Query { detail }
            },
        )
    }
}

/// What a path names by its last `{…}`.
pub(super) trait Thing {
    /// What it is named by.
    type Id: FromStr;

    /// There is none of that name.
    fn unknown() -> Error;
}

/// The id in a path. Text that can't be one names nothing.
pub(super) struct Named<T: Thing>(pub(super) T::Id);

impl<T: Thing, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| T::unknown())?;
        text.parse().map(Self).map_err(|_| T::unknown())
    }
}

/// Who is asking; there is one on every route that declares a scope.
pub(super) struct Who(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Caller>().cloned().map(Self).ok_or(Error::Undeclared)
    }
}

/// How many items a list answers with: 1 to 500.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(u32);

impl Limit {
    pub(super) const ONE: Self = Self(1);

    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(limit: u32) -> Result<Self, &'static str> {
        if (1..=500).contains(&limit) { Ok(Self(limit)) } else { Err("must be 1 to 500") }
    }
}

/// A place in the feed of events; 0 is before the first.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Place(i64);

impl Place {
    pub(super) fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Place {
    type Error = &'static str;

    fn try_from(place: i64) -> Result<Self, &'static str> {
        if place >= 0 { Ok(Self(place)) } else { Err("must be 0 or more") }
    }
}

/// A day or an RFC 3339 time in a query.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct At(pub(super) DateTime<Utc>);

impl TryFrom<String> for At {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        instant(&text).map(Self)
    }
}

/// Text that a person wrote beside a decision.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Note(pub(super) String);

impl TryFrom<String> for Note {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if text.chars().count() > 1_000 {
            return Err(InvalidText::TooLong { max: 1_000 });
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(InvalidText::Control);
        }
        Ok(Self(text))
    }
}

/// Why somebody decided so: a [`Note`] that says something.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Reason(pub(super) String);

impl TryFrom<String> for Reason {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if text.trim().is_empty() {
            return Err(InvalidText::Empty);
        }
        Note::try_from(text).map(|note| Self(note.0))
    }
}

/// Where a list goes on. Opaque to callers.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct After(pub(super) Cursor);

impl After {
    pub(super) fn encode(cursor: &Cursor) -> String {
        hex::encode(format!("{}.{}", cursor.posted_at.timestamp_micros(), cursor.id))
    }
}

impl TryFrom<String> for After {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let decode = || {
            let text = String::from_utf8(hex::decode(&text).ok()?).ok()?;
            let (micros, id) = text.split_once('.')?;
            let posted_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            Some(Self(Cursor { posted_at, id: id.parse().ok()? }))
        };
        decode().ok_or("is no cursor of this list: take `next` from an answer as it is")
    }
}

/// Splits what was fetched (one more than `limit`) into the page and where the next one begins.
pub(super) fn page<T, C>(mut fetched: Vec<T>, limit: u32, place: impl Fn(&T) -> C) -> (Vec<T>, Option<C>) {
    let more = fetched.len() > limit as usize;
    fetched.truncate(limit as usize);
    let next = fetched.last().filter(|_| more).map(place);
    (fetched, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor =
            Cursor { posted_at: DateTime::from_timestamp_micros(-1_234_567).unwrap(), id: "a.b/ü".parse().unwrap() };
        assert_eq!(After::try_from(After::encode(&cursor)).ok().map(|after| after.0), Some(cursor));
        for text in ["", "00", "zz", "2e", "312e"] {
            assert!(After::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_that_fits_nowhere_is_no_broken_json() {
        #[derive(Debug, Deserialize)]
        struct Body {
            #[expect(dead_code, reason = "it can't be read")]
            share: f32,
        }
        let refused = JsonText(r#"{"share": -2.5e999}"#.to_owned()).parse::<Body>().unwrap_err();
        let Error::Shape { pointer, detail } = refused else { panic!("{refused}") };
        assert_eq!((pointer.as_deref(), detail.as_str()), (Some("/share"), "number out of range"));
    }

    #[test]
    fn a_page_says_whether_more_follows() {
        let place = |item: &u32| item + 10;
        assert_eq!(page(vec![1, 2], 2, place), (vec![1, 2], None));
        assert_eq!(page(vec![1, 2, 3], 2, place), (vec![1, 2], Some(12)));
    }
}
