//! What a failed TLS handshake means, and what to do about it: the same words for both servers.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

/// How the settings of one server are called.
pub struct Names {
    /// The certificate of an authority.
    pub authority: &'static str,
    /// A certificate of our own, and its key.
    pub client: &'static str,
    /// How to ask for plain text.
    pub plain: &'static str,
}

/// Explains an error of a connection, if it is one of TLS.
#[must_use]
pub fn explain(error: &io::Error, names: &Names) -> Option<String> {
    let mut inner: &(dyn std::error::Error + 'static) = error.get_ref()?;
    let found = loop {
        if let Some(found) = inner.downcast_ref::<Error>() {
            break found;
        }
        // One error of input and output may hold another.
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
            format!("what answers does not speak TLS; use the server's port for TLS, or {plain}")
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => format!(
            "the server wants a certificate of ours that it trusts; name it and its key with {client}"
        ),
        _ => format!("see that both sides speak TLS 1.2 or 1.3, and that {authority} names the right file"),
    };
    Some(format!("TLS failed ({found}): {advice}"))
}

fn about(certificate: &CertificateError, names: &Names) -> String {
    let authority = names.authority;
    match certificate {
        CertificateError::UnknownIssuer => format!(
            "the server's certificate is not signed by an authority that is trusted here; name the certificate of \
             the one that signed it with {authority}, and make sure that this is the server that you mean"
        ),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for {}, not for `{}`; connect by a name that it has, or give the server a \
             certificate with this one",
            presented
                .iter()
                .map(|name| bare(name))
                .collect::<Vec<_>>()
                .join(", "),
            shown(expected)
        ),
        CertificateError::NotValidForName => "the server's certificate is for another name; connect by one that it \
                                              has, or give the server a certificate with this one"
            .into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; give the server a new one, or set this machine's clock".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; set the clock of this machine, or of the one that signed it"
                .into()
        }
        other => format!("the server's certificate cannot be trusted ({other}); give the server another"),
    }
}

/// A name of a certificate, which comes as `DnsName("localhost")`.
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
