//! Why an event is not possible at its place in a client's history. Data, not an error.

use serde::{Deserialize, Serialize};

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $words:literal;)*) => {
        /// A reason code. An event that is refused stays in the log; when an event that belongs
        /// before it arrives late, it is looked at again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Refusal { $($(#[$doc])* $variant,)* }

        impl Refusal {
            /// Every code, for tables and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it stands in the log, on the wire and in metrics.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The same in words, for people.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }

            /// The refusal with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

refusals! {
    UnknownClient = "unknown_client", "the client was never added, or is deleted";
    AlreadyExists = "already_exists", "the client exists already";
    /// 001: "a company with that name already exists", terminated ones included.
    NameTaken = "name_taken", "another client of this partner bears that name";
    AlreadyLinked = "already_linked", "the client is linked already";
    InvitationWasRejected = "invitation_was_rejected", "the invitation was rejected: delete the client";
    AccessWasRejected = "access_was_rejected", "the identity check failed: the back office decides";
    NotInvited = "not_invited", "there is no open invitation";
    NotAReferral = "not_a_referral", "only an invitation by referral can be rejected";
    NotLinked = "not_linked", "the link does not allow it";
    StillLinked = "still_linked", "archive the client first";
    Terminated = "terminated", "the service is terminated";
    NotActive = "not_active", "the service is not active";
    AlreadyTerminated = "already_terminated", "the service is terminated already";
    NotTerminated = "not_terminated", "the service is not terminated";
    DuplicateId = "duplicate_id", "that id is there already";
    UnknownId = "unknown_id", "that id is not there";
    AlreadyEnded = "already_ended", "the subscription has ended";
    /// 002: someone got in, or tried to.
    NoAccess = "no_access", "the partner had no access at that moment";
    NotConnected = "not_connected", "partner and client are not connected: send a new invitation";
    AlreadyDisabled = "already_disabled", "access is disabled already";
    AlreadyEnabled = "already_enabled", "access is enabled already";
    AlreadyRequested = "already_requested", "a request is open already";
    NoRequest = "no_request", "there is no open request";
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn codes_are_unique_and_read_back() {
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
            assert_eq!(
                serde_json::to_value(refusal).unwrap(),
                serde_json::Value::from(refusal.code())
            );
        }
    }
}
