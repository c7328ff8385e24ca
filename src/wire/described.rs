//! What a message that is no valid event says about itself, for people. Nothing that it says is validated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::MAX_NAME_BYTES;
use super::decode::plain;
use super::headers::{Headers, Pairs};
use super::structured::utf8;
use crate::domain::id::clip;
use crate::store::DeadLetter;

/// A longer body is not read again: an event is shorter.
const LONGEST: usize = 1 << 20;

/// What a dead letter says about itself, as far as that can be read, shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    pub id: Option<String>,
    pub source: Option<String>,
    pub kind: Option<String>,
    /// The client.
    pub subject: Option<String>,
}

impl Described {
    #[must_use]
    pub fn of(message: &DeadLetter) -> Self {
        let texts = texts(message, ["id", "source", "type", "subject"]);
        let [id, source, kind, subject] = texts.map(|text| text.map(|text| clip(&text)));
        Self {
            id,
            source,
            kind,
            subject,
        }
    }
}

/// The source that a message names, for people. It can be longer than that of an event: then it is shortened.
pub(super) fn source_of(message: &DeadLetter) -> Option<String> {
    let [source] = texts(message, ["source"]);
    let source = source?;
    let source = match source.trim() {
        "" => return None,
        source if source.len() > MAX_NAME_BYTES => clip(source),
        source => source.to_owned(),
    };
    Some(plain(&source))
}

/// The attributes of a message that are texts, from its headers or its body.
fn texts<const N: usize>(message: &DeadLetter, names: [&str; N]) -> [Option<String>; N] {
    let headers = Pairs::from(message.headers.clone());
    // In binary mode, the body is the data.
    let is_binary = matches!(headers.attribute("specversion"), Ok(Some(_)) | Err(_));
    let json = utf8("the event", &message.body).ok().filter(|_| !is_binary);
    let in_json = json.and_then(|json| text_members(json, names));
    let mut in_json = in_json.into_iter().flatten();
    names.map(|name| {
        let in_json = in_json.next().flatten();
        let in_headers = headers.attribute(name).ok().flatten();
        in_headers.or(in_json).map(Cow::into_owned)
    })
}

/// The members of a JSON object that are texts. None: it is no JSON object, or too long.
pub(super) fn text_members<const N: usize>(
    json: &str,
    names: [&str; N],
) -> Option<[Option<Cow<'static, str>>; N]> {
    if json.len() > LONGEST || !json.trim_ascii_start().starts_with('{') {
        return None;
    }
    // The last of two members with one name.
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json).ok()?;
    Some(names.map(|name| {
        serde_json::from_str::<String>(members.get(name)?.get())
            .ok()
            .map(Cow::Owned)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(headers: &[(&str, &str)], body: &str) -> DeadLetter {
        DeadLetter {
            origin: "http".to_owned(),
            source: None,
            content_type: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.into(),
            reason: String::new(),
            retry_at: None,
        }
    }

    fn described(headers: &[(&str, &str)], body: &str) -> [Option<String>; 4] {
        let Described {
            id,
            source,
            kind,
            subject,
        } = Described::of(&dead_letter(headers, body));
        [id, source, kind, subject]
    }

    #[test]
    fn a_message_is_described_as_far_as_it_can_be_read() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            described(
                &[],
                r#"{"id":"1","source":"/a","type":"no.such","subject":7,"data":[]}"#
            ),
            [text("1"), text("/a"), text("no.such"), None]
        );
        assert_eq!(
            described(
                &[("ce-id", "a%20b"), ("cloudEvents_subject", "acme/c")],
                "garbage"
            ),
            [text("a b"), None, None, text("acme/c")]
        );
        assert_eq!(described(&[], "[{}]"), [None, None, None, None]);
        let data = r#"{"id":"not the event's"}"#;
        assert_eq!(
            described(&[("ce-specversion", "1.0")], data),
            [None, None, None, None]
        );
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(500));
        assert!(described(&[], &long)[0].as_ref().unwrap().chars().count() < 100);
    }

    #[test]
    fn the_source_of_a_dead_letter_is_that_of_its_event() {
        let whole = "/a".repeat(MAX_NAME_BYTES / 2);
        for (headers, body, source) in [
            (&[][..], r#"{"source":"/a","id":7}"#, Some("/a")),
            (
                &[("ce-specversion", "1.0"), ("ce-source", "/a%20b")],
                r#"{"source":"not the event's"}"#,
                Some("/a b"),
            ),
            (&[], &format!(r#"{{"source":"{whole}"}}"#), Some(&*whole)),
            (&[], r#"{"source":"a\nb"}"#, Some("a\\nb")),
            (&[], r#"{"source":" "}"#, None),
            (&[], r#"{"source":null}"#, None),
            (&[], r#"[{"source":"/a"}]"#, None),
            (&[], r#"{"source":"/a""#, None),
        ] {
            let found = source_of(&dead_letter(headers, body));
            assert_eq!(found.as_deref(), source, "{headers:?} {body}");
        }
        let long = format!(r#"{{"source":"{whole}b"}}"#);
        let found = source_of(&dead_letter(&[], &long)).unwrap();
        assert!(found.ends_with('…') && found.len() < MAX_NAME_BYTES, "{found}");
    }
}
