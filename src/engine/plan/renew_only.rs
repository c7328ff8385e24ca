//! The window in which a touch only renews access. The plan stores it, a verification compares it, and a rebuild closes a window
//! that is too wide.

use chrono::{DateTime, Utc};

use crate::domain::{Client, Policies, Sweep};
use crate::store::{ClientSnapshot, RenewOnlyWindow};

/// 9999-12-31T23:59:59Z: later than any event, and within the range of both stores.
const NEVER: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("a time");

/// The window in which touches of this client can be accepted without reading the client, if there is one.
///
/// A touch between `after` and `before` is applied, renews access and does nothing else, because
///
/// - access is enabled, and only an event or a timer ends that. Every event but a touch is written with the client, which
///   closes the window; the touch is later than every event that the client has seen, so it changes no earlier outcome;
/// - no timer is due before `before`. Each touch in the window only moves the timers of access to a later time. That
///   holds as long as no warning went out since the last renewal: a renewal makes all warnings due again, and the first
///   of them may be due before the expiry that was next;
/// - the deadlines come from the policies recorded so far, those not yet in force included. The window counts only while
///   no other policy is recorded.
///
/// A client whose last step was a timer has no window: the timer may have fired early (in a sweep as of a later moment), and a
/// touch before that moment would cancel it.
pub fn window(client: &Client, policies: &Policies) -> Option<RenewOnlyWindow> {
    let renewal = client.access()?.renewal()?;
    if client.fired.is_some() || renewal.warned.is_some() {
        return None;
    }
    let due = Sweep::ALL
        .into_iter()
        .filter_map(|sweep| client.deadline(sweep, policies))
        .min();
    Some(RenewOnlyWindow {
        after: client.as_of()?,
        before: due.unwrap_or(NEVER),
        policies: policies.count(),
    })
}

/// The stored window of a client, if it is wider than its history allows: a touch in it could be accepted although it must be
/// refused, or although a timer fires before it. A narrower window is sound. So is one that was computed under other policies,
/// because no touch uses it.
pub fn unsound<'a>(
    snapshot: &'a ClientSnapshot,
    client: &Client,
    policies: &Policies,
) -> Option<&'a RenewOnlyWindow> {
    let renew_only = snapshot
        .renew_only
        .as_ref()
        .filter(|renew_only| renew_only.policies == policies.count())?;
    let is_sound = window(client, policies)
        .is_some_and(|window| window.after <= renew_only.after && renew_only.before <= window.before);
    (!is_sound).then_some(renew_only)
}
