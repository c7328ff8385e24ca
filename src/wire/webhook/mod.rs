//! Webhooks on the wire: signatures by the Standard Webhooks specification, and the URLs and addresses that requests may go to.

mod address;
mod signature;
mod url;

pub use address::{Networks, NotPublic};
pub use signature::{SecretError, SigningKey, signatures};
pub use url::{EndpointUrl, EndpointUrlError};
