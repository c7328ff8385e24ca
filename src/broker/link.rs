//! A connection to RabbitMQ, and what was withheld from the client library on it.

use std::ops::Deref;
use std::time::Duration;

use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};

use super::error::BrokerError;
use super::properties::Withheld;
use super::screen::{Screened, ScreenedTokio};

/// How often a connection is looked at while an answer is waited for that may never come.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A connection. It reads as a [`Connection`].
pub(super) struct Link {
    connection: Connection,
    withheld: Withheld,
}

impl Link {
    pub async fn open(
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> Result<Self, lapin::Error> {
        let withheld = Withheld::default();
        let tokio = Tokio::current();
        let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), ScreenedTokio(tokio.clone())));
        let network = Runtime::new(tokio);
        let kept = withheld.clone();
        let connect = async move |uri: AMQPUri, _| {
            let stream = uri.connect_with_config_async(tls.as_ref(), &network).await?;
            let screened = Screened::new(stream, uri.query.frame_max, kept.clone());
            Ok(AsyncTcpStream::Plain(screened))
        };
        Ok(Self {
            connection: Connection::connector(uri, runtime, connect, properties).await?,
            withheld,
        })
    }

    pub fn withheld(&self) -> &Withheld {
        &self.withheld
    }
}

impl Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens a channel. lapin itself never answers when the connection ends at the wrong moment.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    tokio::select! {
        opened = connection.create_channel() => Ok(opened?),
        () = ended(connection) => Err(BrokerError::Unreachable("the connection is gone".into())),
    }
}

/// Returns when the connection is no longer one.
pub(super) async fn ended(connection: &Connection) {
    while connection.status().connected() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
