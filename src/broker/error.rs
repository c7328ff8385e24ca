//! What can go wrong with RabbitMQ, and what to do about it.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::tls;

const TLS: tls::Names = tls::Names {
    authority: "broker.ca_file",
    client: "broker.cert_file and broker.key_file",
    plain: "amqp:// in broker.url where plain text is meant",
};

/// An error of the broker's. All but [`BrokerError::Settings`] are waited out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No trying again will help.
    #[error("{0}")]
    Settings(String),
    /// The server is not there, or went away.
    #[error("no connection to RabbitMQ: {0}")]
    Unreachable(String),
    /// The server is there and says no.
    #[error("RabbitMQ refuses: {0}")]
    Refused(String),
    /// The server is there and does not let us in: wrong user, password or vhost. It stays so until somebody acts.
    #[error("RabbitMQ refuses the login: {0}")]
    Login(String),
    /// A message was published, and there is no queue for it.
    #[error("no queue takes messages of {exchange} with the routing key {routing_key}: {hint}")]
    Unroutable {
        exchange: String,
        routing_key: String,
        hint: &'static str,
    },
}

impl BrokerError {
    /// What a refusal means while a connection is being opened, as this user on this vhost.
    pub(super) fn while_opening(error: &lapin::Error, user: &str, vhost: &str) -> Self {
        let ErrorKind::ProtocolError(said) = error.kind() else {
            return error.clone().into();
        };
        let text = said.get_message().to_string();
        match said.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Self::Login(format!(
                "{text} Check the user `{user}` and the password in broker.url (AMQP_URL)"
            )),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("not found") => {
                Self::Login(format!(
                    "{text}. Name another vhost in broker.url (AMQP_URL), or make this one: `rabbitmqctl add_vhost {vhost}`"
                ))
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("access to vhost") => {
                Self::Login(format!(
                    "{text}. Give the user the right to it: `rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'`"
                ))
            }
            _ => error.clone().into(),
        }
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) => {
                let text = said.get_message().to_string();
                // A stop, or an administrator who closes connections: it will be back.
                if *said.kind() == AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) {
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
