//! The client that a command is about.

use clap::Args;

use super::context::UsageError;
use crate::domain::ClientKey;

#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The client: PARTNER/CLIENT, or PARTNER and CLIENT as two arguments
    #[arg(value_name = "PARTNER/CLIENT")]
    key: String,
    #[arg(value_name = "CLIENT", hide = true)]
    client: Option<String>,
}

impl KeyArgs {
    /// # Errors
    /// If the arguments are not the key of a client.
    pub fn key(&self) -> Result<ClientKey, UsageError> {
        client_key(&self.key, self.client.as_deref())
    }
}

/// The client of one argument or of two.
///
/// # Errors
/// If the arguments are not the key of a client.
pub fn client_key(key: &str, client: Option<&str>) -> Result<ClientKey, UsageError> {
    match client {
        Some(client) => ClientKey::new(key, client),
        None => ClientKey::from_subject(key),
    }
    .map_err(|error| UsageError(error.to_string()))
}
