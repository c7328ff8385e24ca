//! The `[webhooks]` section: delivery to endpoints, and the endpoints themselves.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use config::{Value, ValueKind};

use super::error::SettingsError;
use super::reader::{DISABLE_AFTER, INTERVAL, Reader, TIMEOUT};
use super::secret::Secret;
use crate::domain::id::clip;
use crate::store::{EndpointFieldError, EndpointFilter, check_endpoint_name};
use crate::wire::webhook::{EndpointUrl, EndpointUrlError, Networks, NotPublic, SecretError, SigningKey};

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
    let networks = networks.ok_or_else(|| {
        let expected = "a list of networks or addresses such as [\"10.0.0.0/8\", \"fd00::/8\"]";
        from.invalid("webhooks.allow_networks", expected)
    })?;
    Ok(WebhookSettings {
        deliver: from.flag("webhooks.deliver")?,
        concurrency: from.number("webhooks.concurrency", 1..=64)?,
        timeout: from.duration("webhooks.timeout", TIMEOUT)?,
        max_backoff: from.duration("webhooks.max_backoff", INTERVAL)?,
        disable_after: from.span("webhooks.disable_after", DISABLE_AFTER)?,
        ca_file: from.file("webhooks.ca_file")?,
        endpoints: endpoints(from, &networks)?,
        allow_networks: networks,
    })
}

const ENDPOINTS: &str = "webhooks.endpoints";

fn endpoints(
    from: &Reader,
    networks: &Networks,
) -> Result<BTreeMap<String, EndpointSettings>, SettingsError> {
    let invalid = |name: &str, expected: &str| {
        let expected = format!(
            "names, each with an endpoint such as {{ url = \"https://crm.example.com/hooks\", secret_file = \"/run/secrets/crm\" \
             }}; the endpoint \"{}\": {expected}",
            clip(name)
        );
        from.invalid(ENDPOINTS, &expected)
    };
    let tables = from.tables_by_name(ENDPOINTS);
    let tables = tables.ok_or_else(|| invalid("", "expected a table"))?;
    let read = |(name, fields): (String, Vec<(String, Value)>)| match endpoint(&name, fields, networks) {
        Ok(endpoint) => Ok((name, endpoint)),
        Err(problem) => Err(invalid(&name, &problem.to_string())),
    };
    tables.into_iter().map(read).collect()
}

/// What is wrong with an endpoint. It shows no value but an address: others may be secret.
#[derive(Debug, thiserror::Error)]
enum EndpointProblem {
    #[error(transparent)]
    Field(#[from] EndpointFieldError),
    #[error("`{0}` is not text")]
    NotText(String),
    #[error("`{}` is unknown; expected url, secret, secret_file, partner, client or types", clip(.0))]
    UnknownField(String),
    #[error("expected `url`")]
    NoUrl,
    #[error("`url`: {0}")]
    Url(#[from] EndpointUrlError),
    #[error("`url`: {0}")]
    NotPublic(#[from] NotPublic),
    #[error("expected `secret` or `secret_file`")]
    NoSecret,
    #[error("`{field}`: {source}")]
    Secret {
        field: &'static str,
        source: SecretError,
    },
    #[error("`secret_file`: the file cannot be read: {0}")]
    File(#[source] io::Error),
    #[error("`secret_file`: the file is too long for a secret")]
    LongFile,
    #[error("`client`: expected `{{partner}}/{{client}}`")]
    Client,
    #[error("`types`: expected a list such as [\"access.*\"]")]
    Types,
}

fn endpoint(
    name: &str,
    fields: Vec<(String, Value)>,
    networks: &Networks,
) -> Result<EndpointSettings, EndpointProblem> {
    check_endpoint_name(name)?;
    let (mut url, mut secrets) = (None, Vec::new());
    let mut filter = EndpointFilter::default();
    for (field, value) in fields {
        let text = || text(&value).ok_or_else(|| EndpointProblem::NotText(field.clone()));
        match field.as_str() {
            "url" => url = Some(EndpointUrl::parse(&text()?)?),
            "secret" => secrets.extend(keys("secret", &text()?)?),
            "secret_file" => secrets.extend(keys("secret_file", &read_bounded(&text()?)?)?),
            "partner" => filter.partner = Some(text()?),
            "client" => {
                let text = text()?;
                let (partner, client) = text.split_once('/').ok_or(EndpointProblem::Client)?;
                filter.partner = Some(partner.to_owned());
                filter.client = Some(client.to_owned());
            }
            "types" => filter.types = texts(&value).ok_or(EndpointProblem::Types)?,
            _ => return Err(EndpointProblem::UnknownField(field)),
        }
    }
    filter.check()?;
    if secrets.is_empty() {
        return Err(EndpointProblem::NoSecret);
    }
    let url = url.ok_or(EndpointProblem::NoUrl)?;
    networks.check(&url)?;
    Ok(EndpointSettings { url, secrets, filter })
}

/// One secret, or several: then all of them sign.
fn keys(field: &'static str, text: &str) -> Result<Vec<Secret>, EndpointProblem> {
    let secrets = text.split_whitespace();
    let secrets = secrets.map(|secret| match SigningKey::parse(secret) {
        Ok(_) => Ok(Secret::new(secret)),
        Err(source) => Err(EndpointProblem::Secret { field, source }),
    });
    secrets.collect()
}

fn read_bounded(path: &str) -> Result<String, EndpointProblem> {
    let length = std::fs::metadata(path).map_err(EndpointProblem::File)?.len();
    if length > LONGEST_FILE {
        return Err(EndpointProblem::LongFile);
    }
    std::fs::read_to_string(path).map_err(EndpointProblem::File)
}

fn text(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match &value.kind {
        ValueKind::Array(values) => values.iter().map(text).collect(),
        _ => None,
    }
}
