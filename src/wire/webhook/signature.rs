//! Signatures of webhooks: HMAC-SHA256 over the id, the timestamp and the body, as <https://www.standardwebhooks.com> defines `v1`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// The bytes of a new secret.
const NEW_BYTES: usize = 32;
/// The bytes that the specification allows.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs. `Debug` does not show it.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

/// Why a text is not a secret. The message does not contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a secret of the Standard Webhooks specification: whsec_ and 24 to 64 bytes in base64, such as `openssl rand -base64 32` \
     prints"
)]
pub struct SecretError;

impl SigningKey {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// When it is anything else, or the secret has fewer than 24 bytes or more than 64.
    pub fn parse(secret: &str) -> Result<Self, SecretError> {
        let bytes = secret
            .strip_prefix(PREFIX)
            .and_then(|digits| STANDARD.decode(digits).ok())
            .filter(|bytes| BYTES.contains(&bytes.len()))
            .ok_or(SecretError)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A new secret, in the form that [`SigningKey::parse`] reads.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn new_secret() -> String {
        let mut bytes = [0; NEW_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system has random numbers");
        format!("{PREFIX}{}", STANDARD.encode(bytes))
    }

    /// The signature of a message. The timestamp is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// The header `webhook-signature`: a signature for each key, so that a receiver with either secret can verify.
#[must_use]
pub fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_message_is_signed_as_the_specification_shows() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_new_secret_reads_back_and_is_never_the_same() {
        let (one, other) = (SigningKey::new_secret(), SigningKey::new_secret());
        assert_ne!(one, other);
        let keys = [
            SigningKey::parse(&one).unwrap(),
            SigningKey::parse(&other).unwrap(),
        ];
        let header = signatures(&keys, "id", 1, b"{}");
        let parts: Vec<&str> = header.split(' ').collect();
        assert_eq!(
            parts,
            [keys[0].sign("id", 1, b"{}"), keys[1].sign("id", 1, b"{}")]
        );
        assert!(!format!("{keys:?}").contains(&one[6..]));
    }

    #[test]
    fn a_secret_is_base64_of_the_right_length_with_its_prefix() {
        for wrong in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_bmV3",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        ] {
            assert_eq!(SigningKey::parse(wrong).err(), Some(SecretError), "{wrong}");
        }
    }
}
