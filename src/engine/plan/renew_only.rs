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

#[cfg(test)]
mod tests {
    use super::super::fixture::{day, event, id, ingest, snapshot_of_active, sweep, touch};
    use super::*;
    use crate::domain::EventKind;

    #[test]
    fn a_touch_only_renews_after_the_last_event_and_before_the_next_timer() {
        let policies = Policies::default();
        let mut snapshot = snapshot_of_active("a");
        let expect = |snapshot: &ClientSnapshot, state: (bool, bool), expected: Option<(i64, i64)>| {
            let client = snapshot.stored().unwrap().client(&policies);
            let is_warned = client.access().unwrap().renewal().unwrap().warned.is_some();
            assert_eq!((client.fired.is_some(), is_warned), state);
            let expected = expected.map(|(after, before)| RenewOnlyWindow {
                after: day(after),
                before: day(before),
                policies: 1,
            });
            assert_eq!(window(&client, &policies), expected, "{client:?}");
        };
        expect(&snapshot, (false, false), Some((10, 56)));
        sweep(&mut snapshot, Sweep::AccessExpiry, day(56));
        expect(&snapshot, (true, true), None);
        let user_id = id("u-1");
        let kind = EventKind::UserAdded { user_id };
        ingest(&mut snapshot, vec![event("a", day(57), kind)]);
        expect(&snapshot, (false, true), None);
        ingest(&mut snapshot, vec![touch("a", day(58))]);
        expect(&snapshot, (false, false), Some((58, 104)));
        let assignment_id = id("a-1");
        let service = None;
        let kinds = [
            EventKind::AssignmentAdded {
                assignment_id,
                service,
            },
            EventKind::ClientTerminated { reason: None },
        ];
        ingest(&mut snapshot, kinds.map(|kind| event("a", day(59), kind)).into());
        expect(&snapshot, (true, false), None);
    }

    #[test]
    fn a_stored_window_is_unsound_if_it_is_too_wide_on_either_side() {
        let policies = Policies::default();
        let mut snapshot = snapshot_of_active("a");
        let client = snapshot.stored().unwrap().client(&policies);
        for (after, before, policies_then, is_unsound) in [
            (10, 56, 1, false),
            (11, 55, 1, false),
            (9, 56, 1, true),
            (10, 57, 1, true),
            (9, 57, 2, false),
        ] {
            let stored = RenewOnlyWindow {
                after: day(after),
                before: day(before),
                policies: policies_then,
            };
            snapshot.renew_only = Some(stored);
            let found = unsound(&snapshot, &client, &policies);
            assert_eq!(found, is_unsound.then_some(&stored), "{stored:?}");
        }
    }
}
