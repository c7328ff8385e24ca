//! The `[telemetry]` section: where traces go.

use url::Url;

use super::error::SettingsError;
use super::reader::Reader;
use super::secret::Secret;

#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// The base URL of an OTLP endpoint. None: no traces.
    pub endpoint: Option<Url>,
    /// Headers of every request to it. Their values may be credentials.
    pub headers: Vec<(String, Secret)>,
    /// The name of this service in traces.
    pub service_name: String,
    /// The fraction of the traces that begin here that are recorded, 0 to 1.
    pub sampling_ratio: f64,
}

pub(super) fn read(from: &Reader) -> Result<TelemetrySettings, SettingsError> {
    const NAME: &str = "telemetry.service_name";
    let service_name = from.text(NAME)?;
    if service_name.trim().is_empty() {
        return Err(from.invalid(NAME, "a name such as tenure"));
    }
    Ok(TelemetrySettings {
        endpoint: endpoint(from)?,
        headers: headers(from)?,
        service_name: service_name.trim().to_owned(),
        sampling_ratio: from.ratio("telemetry.sampling_ratio")?,
    })
}

fn endpoint(from: &Reader) -> Result<Option<Url>, SettingsError> {
    const ENDPOINT: &str = "telemetry.otlp_endpoint";
    let text = from.text(ENDPOINT)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text.trim()).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(Some)
        .ok_or_else(|| {
            let expected = "the URL of an OTLP endpoint over HTTP, such as http://localhost:4318";
            from.invalid(ENDPOINT, expected)
        })
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
        let value = value.trim();
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
