//! Refusals: the reasons why an event is not possible at its place in a client's history.

use serde::{Deserialize, Serialize};

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $words:literal;)*) => {
        /// A reason code. A refused event stays in the event log. When an earlier event arrives late, the refused event is
        /// evaluated again. A refusal is data, not an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Refusal { $($(#[$doc])* $variant,)* }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code in the event log, in JSON and in metrics.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The reason in a sentence.
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
    /// 002: a partner cannot approve its own request.
    NotTheirs = "not_theirs", "this actor may not cause such an event";
    AlreadyExists = "already_exists", "the client already exists";
    /// 001: "a company with that name already exists", terminated ones included.
    NameTaken = "name_taken", "another client of this partner has the name";
    AlreadyLinked = "already_linked", "the client is already linked";
    InvitationWasRejected = "invitation_was_rejected", "the invitation was rejected; delete the client";
    AccessWasRejected = "access_was_rejected", "the identity check failed; the back office decides";
    NotInvited = "not_invited", "there is no open invitation";
    NotAReferral = "not_a_referral", "only a referral invitation can be rejected";
    NotLinked = "not_linked", "the link's status does not allow it";
    StillLinked = "still_linked", "the client is still linked; archive it first";
    Terminated = "terminated", "the service is terminated";
    NotActive = "not_active", "the service is not active";
    AlreadyTerminated = "already_terminated", "the service is already terminated";
    NotTerminated = "not_terminated", "the service is not terminated";
    DuplicateId = "duplicate_id", "the client already has a holding with this id";
    UnknownId = "unknown_id", "the client has no holding with this id";
    AlreadyEnded = "already_ended", "the subscription has ended";
    /// 002: someone entered the account, or tried to.
    NoAccess = "no_access", "the partner had no access at that moment";
    NotConnected = "not_connected", "partner and client are not connected; send a new invitation";
    AlreadyDisabled = "already_disabled", "access is already disabled";
    AlreadyEnabled = "already_enabled", "access is already enabled";
    AlreadyRequested = "already_requested", "a request is already open";
    NoRequest = "no_request", "there is no open request";
    NotRejected = "not_rejected", "no identity check has failed";
    NoHandover = "no_handover", "no account of the partner waits for an owner";
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
