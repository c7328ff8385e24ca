//! The errors of the RabbitMQ adapter, and how to fix them.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::tls;

const TLS: tls::Names = tls::Names {
    authority: "broker.ca_file",
    client: "broker.cert_file and broker.key_file",
    plain: "amqp:// in broker.url to connect without TLS",
};

/// An error of the RabbitMQ adapter. All but [`BrokerError::Settings`] are retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// A retry cannot help.
    #[error("{0}")]
    Settings(String),
    /// The server is unreachable, or the connection is lost.
    #[error("no connection to RabbitMQ: {0}")]
    Unreachable(String),
    /// The server is reachable but refuses the operation.
    #[error("RabbitMQ refused the operation: {0}")]
    Refused(String),
    /// The server is reachable but refuses the login: wrong user, password or vhost. This lasts until an operator acts.
    #[error("RabbitMQ refused the login: {0}")]
    Login(String),
    /// A message was published, but no queue receives it.
    #[error("no queue receives messages of {exchange} with the routing key {routing_key}: {hint}")]
    Unroutable {
        exchange: String,
        routing_key: String,
        hint: &'static str,
    },
}

impl BrokerError {
    /// What a refusal means while a connection is being opened, as this user on this vhost.
    pub(super) fn while_opening(error: &lapin::Error, user: &str, vhost: &str) -> Self {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return error.clone().into();
        };
        let text = protocol.get_message().to_string();
        match protocol.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Self::Login(format!(
                "{text} Check the user `{user}` and the password in broker.url (AMQP_URL)"
            )),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("not found") => {
                Self::Login(format!(
                    "{text}. Name another vhost in broker.url (AMQP_URL), or create this one: `rabbitmqctl add_vhost {vhost}`"
                ))
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("access to vhost") => {
                Self::Login(format!(
                    "{text}. Grant the permission: `rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'`"
                ))
            }
            _ => error.clone().into(),
        }
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(protocol) => {
                let text = protocol.get_message().to_string();
                // A shutdown, or an administrator who closes connections: the server will be back.
                if *protocol.kind() == AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) {
                    Self::Unreachable(text)
                } else {
                    Self::Refused(text)
                }
            }
            ErrorKind::IOError(io) => {
                Self::Unreachable(tls::explain(io, &TLS).unwrap_or_else(|| io.to_string()))
            }
            ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannel(_) => Self::Unreachable("the connection is gone".into()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
