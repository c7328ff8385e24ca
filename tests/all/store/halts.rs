//! Halts of sweeps.

use tenure::domain::Sweep;
use tenure::store::{Halt, HaltKind};

use super::Fresh;
use super::given::*;

pub async fn sweeps_are_halted_and_resumed(fresh: Fresh) {
    let store = &*fresh.store;
    let halt = |sweep, kind, why: &str| Halt {
        sweep,
        kind,
        at: moment(1),
        why: why.into(),
    };
    let paused = halt(Sweep::AccessExpiry, HaltKind::Paused, "a holiday");
    let tripped = halt(Sweep::AccessExpiry, HaltKind::Tripped, "too many");
    let other = halt(Sweep::SubscriptionEnd, HaltKind::Tripped, "too many");
    for halt in [&paused, &tripped, &other] {
        store.halt(halt).await.unwrap();
    }
    let again = halt(Sweep::AccessExpiry, HaltKind::Paused, "another reason");
    store.halt(&again).await.unwrap();
    assert_eq!(
        store.halts().await.unwrap(),
        [paused, tripped.clone(), other.clone()]
    );
    let resume = |sweep, kind| store.resume(sweep, kind);
    assert!(resume(Sweep::AccessExpiry, HaltKind::Paused).await.unwrap());
    assert!(!resume(Sweep::AccessExpiry, HaltKind::Paused).await.unwrap());
    assert_eq!(store.halts().await.unwrap(), [tripped, other]);
}
