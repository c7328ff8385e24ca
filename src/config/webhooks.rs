//! The `[webhooks]` section: how changes are delivered to endpoints, and endpoints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use config::{Value, ValueKind};

use super::error::SettingsError;
use super::reader::{DISABLE_AFTER, INTERVAL, Reader, TIMEOUT};
use super::secret::Secret;
use crate::store::{EndpointFilter, check_endpoint_name};
use crate::wire::webhook::{EndpointUrl, Networks, SigningKey};

/// The longest file of secrets, in bytes.
const LONGEST_FILE: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Whether this worker may deliver.
    pub deliver: bool,
    /// Maximum number of requests in progress to one endpoint, 1 to 64.
    pub concurrency: usize,
    /// Timeout of one request.
    pub timeout: Duration,
    /// The longest pause between two attempts.
    pub max_backoff: Duration,
    /// After how much failure an endpoint is disabled.
    pub disable_after: TimeDelta,
    /// Networks that requests may go to, besides the public internet.
    pub allow_networks: Networks,
    /// Certificate authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// The endpoints of the settings, by name.
    pub endpoints: BTreeMap<String, EndpointSettings>,
}

/// An endpoint of the settings.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    pub url: EndpointUrl,
    /// All of them sign.
    pub secrets: Vec<Secret>,
    pub filter: EndpointFilter,
}

pub(super) fn read(from: &Reader) -> Result<WebhookSettings, SettingsError> {
    let networks = from.texts("webhooks.allow_networks");
    let networks = networks.and_then(|texts| Networks::parse(texts.iter().map(AsRef::as_ref)));
    Ok(WebhookSettings {
        deliver: from.flag("webhooks.deliver")?,
        concurrency: from.number("webhooks.concurrency", 1..=64)?,
        timeout: from.duration("webhooks.timeout", TIMEOUT)?,
        max_backoff: from.duration("webhooks.max_backoff", INTERVAL)?,
        disable_after: from.span("webhooks.disable_after", DISABLE_AFTER)?,
        allow_networks: networks.ok_or_else(|| {
            let expected = "a list of networks or addresses such as [\"10.0.0.0/8\", \"fd00::/8\"]";
            from.invalid("webhooks.allow_networks", expected)
        })?,
        ca_file: from.file("webhooks.ca_file")?,
        endpoints: endpoints(from)?,
    })
}

const ENDPOINTS: &str = "webhooks.endpoints";

fn endpoints(from: &Reader) -> Result<BTreeMap<String, EndpointSettings>, SettingsError> {
    let invalid = |name: &str, expected: &str| {
        let expected = format!(
            "names, each with an endpoint such as {{ url = \"https://crm.example.com/hooks\", secret_file = \"/run/secrets/crm\" \
             }}; the endpoint \"{}\": {expected}",
            crate::domain::id::clip(name)
        );
        from.invalid(ENDPOINTS, &expected)
    };
    let tables = from.tables_by_name(ENDPOINTS);
    let tables = tables.ok_or_else(|| invalid("", "expected a table"))?;
    let read = |(name, fields): (String, Vec<(String, Value)>)| match endpoint(&name, fields) {
        Ok(endpoint) => Ok((name, endpoint)),
        Err(expected) => Err(invalid(&name, &expected)),
    };
    tables.into_iter().map(read).collect()
}

/// Reads an endpoint. The error says what is wrong, without values: they may be secret.
fn endpoint(name: &str, fields: Vec<(String, Value)>) -> Result<EndpointSettings, String> {
    check_endpoint_name(name).map_err(|error| error.to_string())?;
    let (mut url, mut secrets) = (None, Vec::new());
    let mut filter = EndpointFilter::default();
    for (field, value) in fields {
        let text = match &value.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        };
        let text = text.ok_or_else(|| format!("`{field}` is not text"));
        match field.as_str() {
            "url" => url = Some(EndpointUrl::parse(&text?).map_err(|error| format!("`url`: {error}"))?),
            "secret" => secrets.extend(keys(&text?).map_err(|error| format!("`secret`: {error}"))?),
            "secret_file" => {
                let read = read_bounded(&text?).map_err(|error| format!("`secret_file`: {error}"))?;
                secrets.extend(keys(&read).map_err(|error| format!("`secret_file`: {error}"))?);
            }
            "partner" => filter.partner = Some(text?),
            "client" => {
                let text = text?;
                let key = text
                    .split_once('/')
                    .ok_or("`client`: expected `{partner}/{client}`")?;
                filter.partner = Some(key.0.to_owned());
                filter.client = Some(key.1.to_owned());
            }
            "types" => {
                filter.types = texts(&value).ok_or("`types`: expected a list such as [\"access.*\"]")?;
            }
            other => {
                return Err(format!(
                    "`{}` is unknown; there are url, secret, secret_file, partner, client and types",
                    crate::domain::id::clip(other)
                ));
            }
        }
    }
    filter.check().map_err(|error| error.to_string())?;
    if secrets.is_empty() {
        return Err("expected `secret` or `secret_file`".into());
    }
    Ok(EndpointSettings {
        url: url.ok_or("expected `url`")?,
        secrets,
        filter,
    })
}

/// One secret, or several: then all of them sign.
fn keys(text: &str) -> Result<Vec<Secret>, String> {
    let secrets = text.split_whitespace();
    let secrets = secrets.map(|secret| match SigningKey::parse(secret) {
        Ok(_) => Ok(Secret::new(secret)),
        Err(error) => Err(error.to_string()),
    });
    secrets.collect()
}

fn read_bounded(path: &str) -> Result<String, String> {
    let reason = |error: std::io::Error| format!("the file cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(reason)?.len();
    if length > LONGEST_FILE {
        return Err("the file is too long for a secret".into());
    }
    std::fs::read_to_string(path).map_err(reason)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    };
    match &value.kind {
        ValueKind::Array(values) => values.iter().map(text).collect(),
        _ => None,
    }
}
