//! Actions in an account that an app asks an access decision for.

use std::collections::BTreeSet;

use super::account::Handover;
use super::id::clip;
use super::misspelling::is_misspelling;

/// The actions that a partner may never perform in an account, although it acts as a business owner (002).
pub const FORBIDDEN_ACTIONS: [&str; 5] = [
    "account_owner_settings",
    "activity_history",
    "subscription_change",
    "account_cancel",
    "accept_partner_invitation",
];

/// The action that hands an account over to its owner. The partner that created the account may perform it while the
/// handover is pending, and nobody else (002).
pub const HANDOVER_ACTION: &str = "account_owner_add";

/// Longest name of an action, in characters.
pub const MAX_ACTION_CHARS: usize = 64;

/// An action: 1–64 characters out of `a-z 0-9 _`. Every action that is not restricted is allowed, and a list of the actions that
/// exist is optional ([`Actions`]). A misspelt restricted action would pass as an allowed one; it is an error instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action(Box<str>);

/// Why a text is not the name of an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    #[error(
        "invalid action `{}`: expected 1 to {MAX_ACTION_CHARS} characters out of a-z 0-9 _",
        shown(given)
    )]
    Malformed { given: String },
    #[error(
        "unknown action `{given}`: did you mean `{intended}`, which is {}?",
        restriction(intended)
    )]
    Misspelt { given: String, intended: &'static str },
    #[error("unknown action `{given}`: add it to `access.actions`, or correct its name")]
    Unlisted { given: String },
}

impl Action {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_forbidden(&self, handover: Handover) -> bool {
        let hands_over = self.as_str() == HANDOVER_ACTION;
        FORBIDDEN_ACTIONS.contains(&self.as_str()) || (hands_over && handover != Handover::Pending)
    }
}

impl TryFrom<&str> for Action {
    type Error = ActionError;

    fn try_from(name: &str) -> Result<Self, ActionError> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if name.is_empty() || name.len() > MAX_ACTION_CHARS || !name.bytes().all(fits) {
            return Err(ActionError::Malformed {
                given: name.to_owned(),
            });
        }
        if restricted().any(|restricted| restricted == name) {
            return Ok(Self(name.into()));
        }
        match restricted().find(|restricted| is_misspelling(name, restricted)) {
            Some(intended) => Err(ActionError::Misspelt {
                given: name.to_owned(),
                intended,
            }),
            None => Ok(Self(name.into())),
        }
    }
}

/// The actions that exist, if the settings list them (`access.actions`). The restricted ones always exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions(BTreeSet<Box<str>>);

impl Actions {
    /// # Errors
    /// One of them is no name of an action, or resembles a restricted action.
    pub fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, ActionError> {
        let names = names.into_iter().map(Action::try_from);
        let names: Result<_, _> = names.map(|action| action.map(|action| action.0)).collect();
        names.map(Self)
    }

    /// The action with this name.
    ///
    /// # Errors
    /// As of [`Action`], and for an action that is not listed, if any are.
    pub fn read(&self, name: &str) -> Result<Action, ActionError> {
        let action = Action::try_from(name)?;
        let is_known = self.0.is_empty() || self.0.contains(name) || restricted().any(|known| known == name);
        if is_known {
            Ok(action)
        } else {
            Err(ActionError::Unlisted {
                given: name.to_owned(),
            })
        }
    }
}

/// The actions that a partner with access may not perform.
#[must_use]
pub fn forbidden_actions(handover: Handover) -> Vec<&'static str> {
    let hands_over = (handover != Handover::Pending).then_some(HANDOVER_ACTION);
    FORBIDDEN_ACTIONS.into_iter().chain(hands_over).collect()
}

/// The actions that are forbidden always, or but for one case.
fn restricted() -> impl Iterator<Item = &'static str> {
    FORBIDDEN_ACTIONS.into_iter().chain([HANDOVER_ACTION])
}

fn restriction(action: &str) -> &'static str {
    if action == HANDOVER_ACTION {
        "allowed only to the partner that created the account"
    } else {
        "forbidden"
    }
}

/// Untrusted text for a terminal or a log: short, with control and invisible characters escaped.
fn shown(text: &str) -> String {
    clip(text)
        .chars()
        .map(|c| match c {
            ' '..='~' => c.to_string(),
            _ if c.is_alphanumeric() => c.to_string(),
            '…' => c.to_string(),
            _ => c.escape_unicode().to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_names_and_unknown_names_are_actions() {
        for name in FORBIDDEN_ACTIONS {
            for handover in Handover::ALL {
                assert!(Action::try_from(name).unwrap().is_forbidden(handover), "{name}");
            }
        }
        for name in ["invoice_create", "no_such_action", "a", "0", "_", &"x".repeat(64)] {
            for handover in Handover::ALL {
                assert!(!Action::try_from(name).unwrap().is_forbidden(handover), "{name}");
            }
        }
    }

    #[test]
    fn an_owner_is_added_while_the_handover_is_pending() {
        let action = Action::try_from(HANDOVER_ACTION).unwrap();
        for (handover, forbidden) in [
            (Handover::None, true),
            (Handover::Pending, false),
            (Handover::Done, true),
        ] {
            assert_eq!(action.is_forbidden(handover), forbidden, "{handover}");
        }
    }

    #[test]
    fn the_forbidden_actions_are_those_that_are_refused() {
        for handover in Handover::ALL {
            let forbidden = forbidden_actions(handover);
            for name in restricted() {
                let is_forbidden = Action::try_from(name).unwrap().is_forbidden(handover);
                assert_eq!(forbidden.contains(&name), is_forbidden, "{name} {handover}");
            }
        }
    }

    #[test]
    fn an_action_that_is_not_listed_is_an_error_if_any_are() {
        let listed = Actions::listed(["invoice_create", "invoice_send"]).unwrap();
        for name in ["invoice_create", "account_cancel", HANDOVER_ACTION] {
            assert!(listed.read(name).is_ok(), "{name}");
        }
        let error = listed.read("invoice_delete").unwrap_err().to_string();
        assert!(error.contains("`invoice_delete`"), "{error}");
        assert!(Actions::default().read("invoice_delete").is_ok());
        assert!(Actions::default().read("acount_cancel").is_err());
        assert!(Actions::listed(["acount_cancel"]).is_err());
        assert!(Actions::listed(["Invoice"]).is_err());
    }

    #[test]
    fn a_name_within_two_letters_of_a_forbidden_one_is_an_error() {
        let letters = || (b'a'..=b'z').chain(b'0'..=b'9').chain([b'_']);
        for forbidden in restricted() {
            let bytes = forbidden.as_bytes();
            let mut near = Vec::new();
            for at in 0..=bytes.len() {
                for letter in letters() {
                    near.push([&bytes[..at], &[letter], &bytes[at..]].concat());
                    if at < bytes.len() {
                        near.push([&bytes[..at], &[letter], &bytes[at + 1..]].concat());
                    }
                }
                for end in at + 1..=(at + 2).min(bytes.len()) {
                    near.push([&bytes[..at], &bytes[end..]].concat());
                }
            }
            for name in near.iter().map(|name| std::str::from_utf8(name).unwrap()) {
                let found = Action::try_from(name);
                if name == forbidden {
                    assert!(found.is_ok());
                } else {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains(&format!("did you mean `{forbidden}`")), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_synonym_of_a_forbidden_action_is_an_error() {
        for (name, forbidden) in [
            ("cancel_account", "account_cancel"),
            ("account_cancellation", "account_cancel"),
            ("account_cancelation", "account_cancel"),
            ("account_cancelled", "account_cancel"),
            ("account_canceling", "account_cancel"),
            ("cansellation_of_account", "account_cancel"),
            ("cancel_accounts", "account_cancel"),
            ("cancel_the_account", "account_cancel"),
            ("cancelaccount", "account_cancel"),
            ("acount_cancelation", "account_cancel"),
            ("change_subscription", "subscription_change"),
            ("change_of_subscription", "subscription_change"),
            ("change_of_a_subscription", "subscription_change"),
            ("subscription_changes", "subscription_change"),
            ("ching_subscriptions", "subscription_change"),
            ("subscriptions_changed", "subscription_change"),
            ("subscription_chnge_s", "subscription_change"),
            ("changesubscription", "subscription_change"),
            ("acount_owner_seting", "account_owner_settings"),
            ("owner_account_settings", "account_owner_settings"),
            ("account_owners_setting", "account_owner_settings"),
            ("account_owner_set", "account_owner_settings"),
            ("settings_account_owner", "account_owner_settings"),
            ("activity_histories", "activity_history"),
            ("activities_history", "activity_history"),
            ("history_activity", "activity_history"),
            ("accept_partner_invite", "accept_partner_invitation"),
            ("accept_partner_invites", "accept_partner_invitation"),
            ("accepting_partner_invitations", "accept_partner_invitation"),
            ("partner_invitation_accept", "accept_partner_invitation"),
            ("partner_invite_accepted", "accept_partner_invitation"),
            ("add_account_owner", "account_owner_add"),
            ("account_owner_adding", "account_owner_add"),
            ("accounts_owners_add", "account_owner_add"),
            ("addaccountowner", "account_owner_add"),
            ("add_an_account_owner", "account_owner_add"),
        ] {
            let error = Action::try_from(name).expect_err(name).to_string();
            assert!(error.contains(&format!("did you mean `{forbidden}`")), "{error}");
        }
    }

    fn assert_allowed(name: &str) {
        let action = Action::try_from(name).expect(name);
        assert!(!action.is_forbidden(Handover::None), "{name}");
    }

    #[test]
    fn an_action_that_only_shares_words_with_a_forbidden_one_is_allowed() {
        for name in [
            "account_channels",
            "account_close",
            "account_create",
            "account_settings",
            "account_settings_view",
            "account_update",
            "account_view",
            "account_add",
            "account_owner_get",
            "account_owner_view",
            "account_member_settings",
            "owner_settings",
            "activity_export",
            "activity_list",
            "activity_view",
            "billing_history",
            "order_history",
            "history_view",
            "payment_history",
            "subscription_cancel",
            "subscription_create",
            "subscription_list",
            "subscription_manage",
            "subscription_pause",
            "subscription_renew",
            "subscription_view",
            "plan_change",
            "password_change",
            "invoice_cancel",
            "order_cancel",
            "booking_cancel",
            "invitation_send",
            "accept_payment",
            "accept_quote",
            "accept_terms",
            "access_to_partner_invitation",
            "partner_invitation_view",
            "send_partner_invitation",
            "user_add",
            "user_remove",
        ] {
            assert_allowed(name);
        }
    }

    #[test]
    fn an_action_of_another_kind_is_allowed() {
        for name in [
            "client_create",
            "client_invite",
            "client_list",
            "contact_import",
            "email_send",
            "file_upload",
            "invoice_create",
            "invoice_send",
            "listing_edit",
            "report_export",
            "report_view",
            "review_reply",
            "website_publish",
        ] {
            assert_allowed(name);
        }
    }

    #[test]
    fn a_malformed_name_is_an_error_that_shows_it() {
        for (name, shown) in [
            ("Account_Cancel", "`Account_Cancel`"),
            ("account-cancel", "`account-cancel`"),
            ("account_cancel ", "`account_cancel `"),
            ("account_cancel\0", "`account_cancel\\u{0}`"),
            ("account_cancel\u{200b}", "`account_cancel\\u{200b}`"),
            ("аccount_cancel", "`аccount_cancel`"),
            ("", "``"),
            (&"x".repeat(65), "`xxxx"),
            (&"x".repeat(81), "xxxx…`"),
        ] {
            let error = Action::try_from(name).unwrap_err();
            assert!(matches!(error, ActionError::Malformed { .. }), "{name:?}");
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
}
