//! The trace context of a message (W3C Trace Context): from the CloudEvents extension attributes for distributed tracing, or from
//! the transport's header.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::STRUCTURED;
use super::described::text_members;
use super::headers::{Headers, Pairs};
use super::structured::utf8;
use crate::store::DeadLetter;

/// The attribute and the header that identify a span of the sender.
pub const TRACEPARENT: &str = "traceparent";
/// What tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is passed on: what every system must accept.
const MAX_STATE_BYTES: usize = 512;

/// A span of the sender, as it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// Whether the sender records the trace.
    pub is_sampled: bool,
    /// Empty: none.
    pub state: String,
}

impl TraceContext {
    /// Parses a `traceparent`. None: it is invalid, and a receiver must ignore it.
    #[must_use]
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut parts = parent.trim_ascii().split('-');
        let [version] = bytes(parts.next()?)?;
        let (trace_id, span_id) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        // Later versions may append parts.
        let is_valid = version != 0xff
            && (version != 0 || parts.next().is_none())
            && trace_id != [0; 16]
            && span_id != [0; 8];
        is_valid.then(|| Self {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
            state: state
                .map(str::trim_ascii)
                .filter(|state| {
                    state.len() <= MAX_STATE_BYTES && state.bytes().all(|byte| (0x20..0x7f).contains(&byte))
                })
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// The context of a message, stored as a dead letter. The attribute of its event comes before the header of its transport,
    /// which names the last hop only.
    #[must_use]
    pub fn of(message: &DeadLetter) -> Option<Self> {
        let in_transport = || {
            let header = |name: &str| -> Option<Cow<'_, str>> {
                let mut found = message.headers.iter();
                let (_, value) = found.find(|(header, _)| header.eq_ignore_ascii_case(name))?;
                Some(value.into())
            };
            Self::parse(&header(TRACEPARENT)?, header(TRACESTATE).as_deref())
        };
        Self::of_event(message).or_else(in_transport)
    }

    /// The context in the attributes of an event, whose message is stored as a dead letter.
    #[must_use]
    pub fn of_event(message: &DeadLetter) -> Option<Self> {
        let headers = Pairs::from(message.headers.clone());
        // In binary mode, the body is the data.
        let in_json = || {
            let json = utf8("the event", &message.body)
                .ok()
                .filter(|_| is_structured(message))?;
            let [parent, state] = text_members(json, [TRACEPARENT, TRACESTATE])?;
            Self::parse(&parent?, state.as_deref())
        };
        let in_attributes = || {
            let attribute = |name| headers.attribute(name).ok().flatten();
            Self::parse(&attribute(TRACEPARENT)?, attribute(TRACESTATE).as_deref())
        };
        in_attributes().or_else(in_json)
    }

    /// As a `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id_text(), hex(&self.span_id))
    }

    /// The id of the trace, as logs and tracing systems show it.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        hex(&self.trace_id)
    }
}

fn is_structured(message: &DeadLetter) -> bool {
    let content_type = message.content_type.as_deref().map(str::trim_start);
    content_type
        .and_then(|text| text.get(..STRUCTURED.len()))
        .is_some_and(|begin| begin.eq_ignore_ascii_case(STRUCTURED))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads exactly this many bytes of lower-case hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_reads_back() {
        let context = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        assert!(context.is_sampled);
        assert_eq!(context.state, "vendor=1");
        assert_eq!(context.trace_id_text(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.traceparent(), PARENT);
        // Flags and parts of a later version are not known.
        let later = PARENT.replacen("00", "cc", 1).replace("-01", "-03-what-else");
        assert_eq!(TraceContext::parse(&later, None).unwrap().traceparent(), PARENT);
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled, None).unwrap().is_sampled);
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        for invalid in [
            "",
            "00",
            "what",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319ç-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(invalid, None), None, "{invalid}");
        }
    }

    #[test]
    fn an_unusable_tracestate_is_left_out() {
        for state in ["a=\n".to_owned() + "b", "é=1".to_owned(), "a".repeat(513)] {
            assert_eq!(TraceContext::parse(PARENT, Some(&state)).unwrap().state, "");
        }
    }

    fn message(headers: &[(&str, &str)], body: &str) -> DeadLetter {
        DeadLetter {
            origin: "http".to_owned(),
            source: None,
            content_type: Some("Application/CloudEvents+JSON; charset=utf-8".to_owned()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.into(),
            reason: String::new(),
            retry_at: None,
        }
    }

    #[test]
    fn the_context_of_an_event_comes_before_that_of_its_transport() {
        let named = |first: u8| format!("00-{}-b7ad6b7169203331-01", format!("{first:02x}").repeat(16));
        let found = |message: DeadLetter| TraceContext::of(&message).map(|context| context.trace_id[0]);
        let json = format!(
            r#"{{"specversion":"1.0","traceparent":"{}","data":{{}}}}"#,
            named(1)
        );
        assert_eq!(found(message(&[], &json)), Some(1));
        assert_eq!(found(message(&[("traceparent", &named(2))], &json)), Some(1));
        for header in [
            "ce-traceparent",
            "cloudEvents_traceparent",
            "cloudEvents:traceparent",
        ] {
            let headers = [(header, &*named(3)), ("traceparent", &*named(2))];
            assert_eq!(found(message(&headers, "{}")), Some(3), "{header}");
        }
        assert_eq!(found(message(&[("Traceparent", &named(2))], "not JSON")), Some(2));
        assert_eq!(found(message(&[], "not JSON")), None);
        assert_eq!(found(message(&[], r#"{"traceparent":7}"#)), None);
        let data = DeadLetter {
            content_type: Some("application/json".to_owned()),
            ..message(&[], &json)
        };
        assert_eq!(found(data), None, "the data of an event is not its attributes");
    }
}
