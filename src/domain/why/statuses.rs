//! The statuses of an answer in words: that it has been so, that it becomes so, and that it never was.

use super::answer::Answer;

impl Answer {
    /// "Access has been expired", to go on with since when.
    pub(super) fn has_been(&self, status: &str) -> String {
        match (self, status) {
            (Self::Link, "none") => "The client has been unknown".to_owned(),
            (Self::Link, status) => format!("The link has been {}", spoken(status)),
            (Self::Service, status) => format!("The service has been {}", spoken(status)),
            (Self::Access, "none") => "The partner has had no access".to_owned(),
            (Self::Access, status) => format!("Access has been {status}"),
            (Self::Tab, "none") => "The client has been on no tab".to_owned(),
            (Self::Tab, tab) => format!("The client has been on the {tab} tab"),
            (Self::Subscription(id), "none") => {
                format!("The client has had no subscription {}", id.as_str())
            }
            (Self::Subscription(id), status) => {
                format!("Subscription {} has been {}", id.as_str(), spoken(status))
            }
            (flag, status) => flag.flag_has_been(status).to_owned(),
        }
    }

    fn flag_has_been(&self, status: &str) -> &'static str {
        match (self, status) {
            (Self::Billable, "yes") => "The client has been billable",
            (Self::Billable, _) => "The client has not been billable",
            (Self::Commission, "yes") => "The partner has earned commission",
            (Self::Commission, _) => "The partner has earned no commission",
            (Self::StatusCredit, "yes") => "The client has counted for status credit",
            (Self::StatusCredit, _) => "The client has not counted for status credit",
            (Self::Connected, "yes") => "Partner and client have been connected",
            (Self::Connected, _) => "Partner and client have not been connected",
            (Self::Visible, "yes") => "The dashboard has shown the client",
            (Self::Visible, _) => "The dashboard has not shown the client",
            (Self::Retrieving, "yes") => "The dashboard has retrieved data for the client",
            (Self::Retrieving, _) => "The dashboard has retrieved no data for the client",
            (Self::OnClientList, "yes") => "The client has been on the partner's client list",
            (Self::OnClientList, _) => "The client has not been on the partner's client list",
            (Self::ViewAsClient, "data") => "Viewing as the client has shown its data",
            (Self::ViewAsClient, "no_connections") => {
                "Viewing as the client has shown that it has no connections"
            }
            (Self::ViewAsClient, _) => "Viewing as the client has not been possible",
            _ => "The answer has been the same",
        }
    }

    /// "access expires".
    pub(super) fn becomes(&self, status: &str) -> String {
        match (self, status) {
            (Self::Link | Self::Service, "none") => "the client is unknown".to_owned(),
            (Self::Link, status) => format!("the link becomes {}", spoken(status)),
            (Self::Service, status) => format!("the service becomes {}", spoken(status)),
            (Self::Access, "none") => "the partner has no access".to_owned(),
            (Self::Access, "expired") => "access expires".to_owned(),
            (Self::Access, status) => format!("access becomes {status}"),
            (Self::Tab, "none") => "the client is on no tab".to_owned(),
            (Self::Tab, tab) => format!("the client moves to the {tab} tab"),
            (Self::Subscription(id), "none") => format!("subscription {} is removed", id.as_str()),
            (Self::Subscription(id), "ended") => format!("subscription {} ends", id.as_str()),
            (Self::Subscription(id), status) => {
                format!("subscription {} becomes {}", id.as_str(), spoken(status))
            }
            (flag, status) => flag.flag_becomes(status).to_owned(),
        }
    }

    fn flag_becomes(&self, status: &str) -> &'static str {
        match (self, status) {
            (Self::Billable, "yes") => "the client becomes billable",
            (Self::Billable, _) => "the client is no longer billable",
            (Self::Commission, "yes") => "the partner earns commission",
            (Self::Commission, _) => "the partner no longer earns commission",
            (Self::StatusCredit, "yes") => "the client counts for status credit",
            (Self::StatusCredit, _) => "the client no longer counts for status credit",
            (Self::Connected, "yes") => "partner and client are connected",
            (Self::Connected, _) => "partner and client are no longer connected",
            (Self::Visible, "yes") => "the dashboard shows the client",
            (Self::Visible, _) => "the dashboard no longer shows the client",
            (Self::Retrieving, "yes") => "the dashboard retrieves data for the client",
            (Self::Retrieving, _) => "the dashboard no longer retrieves data for the client",
            (Self::OnClientList, "yes") => "the client is on the partner's client list",
            (Self::OnClientList, _) => "the client is no longer on the partner's client list",
            (Self::ViewAsClient, "data") => "viewing as the client shows its data",
            (Self::ViewAsClient, "no_connections") => {
                "viewing as the client shows that it has no connections"
            }
            (Self::ViewAsClient, _) => "viewing as the client is no longer possible",
            _ => "the answer changes",
        }
    }

    /// What to say if the status has never changed, without the full stop.
    pub(super) fn never(&self) -> String {
        match self {
            Self::Link | Self::Service => "The client was not added",
            Self::Access => "The partner never had access: partner and client were never connected",
            Self::Billable => "The client was never billable",
            Self::Commission => "The partner never earned commission",
            Self::StatusCredit => "The client never counted for status credit",
            Self::Connected => "Partner and client were never connected",
            Self::Visible => "The dashboard never showed the client",
            Self::Retrieving => "The dashboard never retrieved data for the client",
            Self::OnClientList => "The client was never on the partner's client list",
            Self::Tab => "The client was never on a tab",
            Self::ViewAsClient => "Viewing as the client was never possible",
            Self::Subscription(id) => return format!("The client never had a subscription {}", id.as_str()),
        }
        .to_owned()
    }
}

/// A status in a sentence: "pending assigning".
fn spoken(status: &str) -> String {
    status.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_two_words_has_no_underscore_in_a_sentence() {
        let has_been = Answer::Service.has_been("pending_assigning");
        assert_eq!(has_been, "The service has been pending assigning");
        let becomes = Answer::Link.becomes("invitation_rejected");
        assert_eq!(becomes, "the link becomes invitation rejected");
    }
}
