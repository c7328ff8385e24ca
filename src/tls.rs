//! Explains failed TLS handshakes with RabbitMQ and PostgreSQL, and says what to do.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

/// The names of one server's settings.
pub struct Names {
    /// The setting for a certificate authority.
    pub authority: &'static str,
    /// The settings for a client certificate and its key.
    pub client: &'static str,
    /// The setting for an unencrypted connection.
    pub plain: &'static str,
}

/// Explains a connection error if TLS caused it.
#[must_use]
pub fn explain(error: &io::Error, names: &Names) -> Option<String> {
    let mut inner: &(dyn std::error::Error + 'static) = error.get_ref()?;
    let found = loop {
        if let Some(found) = inner.downcast_ref::<Error>() {
            break found;
        }
        // An I/O error may wrap another.
        inner = match inner.downcast_ref::<io::Error>() {
            Some(nested) => nested.get_ref()?,
            None => inner.source()?,
        };
    };
    let Names {
        authority,
        client,
        plain,
    } = names;
    let advice = match found {
        Error::InvalidCertificate(certificate) => return Some(about(certificate, names)),
        Error::InvalidMessage(_) => {
            format!("the server does not speak TLS on this port; use its TLS port, or {plain}")
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => format!(
            "the server requires a client certificate that it trusts; set it and its key with {client}"
        ),
        _ => {
            format!("check that both sides support TLS 1.2 or 1.3, and that {authority} names the right file")
        }
    };
    Some(format!("TLS failed ({found}): {advice}"))
}

fn about(certificate: &CertificateError, names: &Names) -> String {
    let authority = names.authority;
    match certificate {
        CertificateError::UnknownIssuer => format!(
            "the server's certificate is not signed by a trusted authority; check that this is the right server, and set \
             its authority's certificate with {authority}"
        ),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is valid for {}, not for `{}`; connect by one of its names, or install a \
             certificate for this name",
            presented
                .iter()
                .map(|name| bare(name))
                .collect::<Vec<_>>()
                .join(", "),
            shown(expected)
        ),
        CertificateError::NotValidForName => "the server's certificate is valid for another name; connect by \
                                              that name, or install a certificate for this one"
            .into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it, or correct this machine's clock".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; correct the clock of this machine, or of the one that signed it"
                .into()
        }
        // rustls has no variant for this error of its verifier.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "the server's certificate is that of an authority (CA:TRUE), as `openssl req -x509` creates it; sign a certificate \
             for the server with it (CA:FALSE), and name the authority's certificate with {authority}"
        ),
        other => format!("the server's certificate is invalid ({other}); install another"),
    }
}

/// The name in rustls' notation `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

fn shown(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(address) => std::net::IpAddr::from(*address).to_string(),
        other => format!("{other:?}"),
    }
}
