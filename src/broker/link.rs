//! A connection to RabbitMQ, and the properties withheld from the client library on it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};

use super::error::BrokerError;
use super::flight::Flights;
use super::properties::Withheld;
use super::screen::{Screened, ScreenedTokio};

/// How often to check a connection while waiting for a response that may never arrive.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A connection. It dereferences to a [`Connection`]; clones share it.
#[derive(Clone)]
pub(super) struct Link {
    connection: Arc<Connection>,
    withheld: Withheld,
    flights: Flights,
}

impl Link {
    pub async fn open(
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> Result<Self, lapin::Error> {
        let (withheld, flights) = (Withheld::default(), Flights::default());
        let tokio = Tokio::current();
        let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), ScreenedTokio(tokio.clone())));
        let network = Runtime::new(tokio);
        let shared = (withheld.clone(), flights.clone());
        let connect = async move |uri: AMQPUri, _| {
            let stream = uri.connect_with_config_async(tls.as_ref(), &network).await?;
            let screened = Screened::new(stream, uri.query.frame_max, shared.0.clone(), shared.1.clone());
            Ok(AsyncTcpStream::Plain(screened))
        };
        Ok(Self {
            connection: Arc::new(Connection::connector(uri, runtime, connect, properties).await?),
            withheld,
            flights,
        })
    }

    pub fn withheld(&self) -> &Withheld {
        &self.withheld
    }

    pub fn flights(&self) -> &Flights {
        &self.flights
    }
}

impl Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens a channel. lapin's own call never returns if the connection ends at the wrong moment.
pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    tokio::select! {
        opened = connection.create_channel() => Ok(opened?),
        () = ended(connection) => Err(BrokerError::Unreachable("the connection is gone".into())),
    }
}

/// Returns when the connection has ended.
pub(super) async fn ended(connection: &Connection) {
    while connection.status().connected() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
