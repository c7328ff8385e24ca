//! The `[telemetry]` section: where traces go.

use url::Url;

use super::error::SettingsError;
use super::reader::Reader;
use super::secret::Secret;
use crate::wire::percent_decode;

#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// The URL that accepts traces over OTLP. None: no traces.
    pub traces_url: Option<Url>,
    /// Headers of every request to it. Their values may be credentials.
    pub headers: Vec<(String, Secret)>,
    /// The name of this service in traces.
    pub service_name: String,
    /// The fraction of the traces that begin here that are recorded, 0 to 1. For others, their senders decide.
    pub sampling_ratio: f64,
}

pub(super) fn read(from: &Reader) -> Result<TelemetrySettings, SettingsError> {
    const NAME: &str = "telemetry.service_name";
    let service_name = from.text(NAME)?;
    if service_name.trim().is_empty() {
        return Err(from.invalid(NAME, "a name such as tenure"));
    }
    let base = url(from, "telemetry.otlp_endpoint", "http://localhost:4318")?;
    let exact = url(
        from,
        "telemetry.otlp_traces_endpoint",
        "http://localhost:4318/v1/traces",
    )?;
    Ok(TelemetrySettings {
        traces_url: exact.or_else(|| base.map(|base| of_traces(&base))),
        headers: headers(from)?,
        service_name: service_name.trim().to_owned(),
        sampling_ratio: from.ratio("telemetry.sampling_ratio")?,
    })
}

/// None: the setting is empty.
fn url(from: &Reader, key: &str, example: &str) -> Result<Option<Url>, SettingsError> {
    let text = from.text(key)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text.trim()).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(Some)
        .ok_or_else(|| {
            let expected = format!("the URL of an OTLP endpoint over HTTP, such as {example}");
            from.invalid(key, &expected)
        })
}

/// Where an endpoint accepts traces. Many people name this path in place of the base URL.
fn of_traces(base: &Url) -> Url {
    const PATH: &str = "/v1/traces";
    let mut url = base.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(PATH) {
        url.set_path(&format!("{path}{PATH}"));
    }
    url
}

/// As in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, the values percent-encoded.
fn headers(from: &Reader) -> Result<Vec<(String, Secret)>, SettingsError> {
    const HEADERS: &str = "telemetry.otlp_headers";
    let text = from.text(HEADERS)?;
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let value = String::from_utf8(percent_decode(value.trim().as_bytes())).ok()?;
        let is_value = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        (is_name && is_value).then(|| (name.to_ascii_lowercase(), Secret::new(value)))
    };
    pairs.map(read).collect::<Option<_>>().ok_or_else(|| {
        from.invalid(
            HEADERS,
            "headers such as \"authorization=Basic%20dGVudXJl,x-tenant=acme\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_traces_is_appended_unless_it_is_there() {
        for (base, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            (
                "https://otlp.example.com/tenant",
                "https://otlp.example.com/tenant/v1/traces",
            ),
            (
                "https://otlp.example.com/v1/traces",
                "https://otlp.example.com/v1/traces",
            ),
        ] {
            assert_eq!(of_traces(&base.parse().unwrap()).as_str(), expected);
        }
    }
}
