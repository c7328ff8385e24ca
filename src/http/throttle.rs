//! Slows down whoever guesses tokens: after a few failed sign-ins, further ones are refused for a while, for each address and for
//! all together. Actions of operators from an address that has sent several wrong tokens are limited in rate, also after a
//! sign-in: one of its guesses may have been right.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failed sign-ins after which an address must wait, and wrong tokens after which its actions are limited.
const FREE: u32 = 5;
/// The longest wait of an address.
const LONGEST: Duration = Duration::from_mins(15);
/// After that long without a failure, the failures of an address are forgotten. Longer than the longest wait.
const FORGET: Duration = Duration::from_mins(30);
/// How often old failures are looked for: each time would be a search for each wrong token.
const FORGET_EVERY: Duration = Duration::from_secs(1);
/// Addresses that are remembered. Beyond that, one without failed sign-ins is forgotten, or the one with the oldest failure.
const MOST_ADDRESSES: usize = 4_096;
/// Failed sign-ins of all addresses together: so many at once, and then one in each interval.
const OF_ALL: u32 = 100;
const EVERY: Duration = Duration::from_secs(1);
/// Failed sign-ins that the audit log records: so many at once, and then one in each interval.
const RECORDED: u32 = 10;
const RECORDED_EVERY: Duration = Duration::from_mins(1);

/// Actions of an address that has sent wrong tokens: so many at once, and then one in each interval. Nobody who clicks notices.
const ACTIONS: u32 = 10;
const ACTIONS_EVERY: Duration = Duration::from_secs(1);

/// The wrong tokens that this process has received.
pub(super) struct Throttle(Mutex<State>);

struct State {
    addresses: HashMap<Prefix, Failures>,
    /// When old failures were last forgotten.
    forgotten: Instant,
    of_all: Allowance,
    recorded: Allowance,
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            addresses: HashMap::new(),
            forgotten: now,
            of_all: Allowance::new(OF_ALL, EVERY, now),
            recorded: Allowance::new(RECORDED, RECORDED_EVERY, now),
        }))
    }
}

/// An IPv4 address, or the first half of an IPv6 address: a network has all addresses that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Prefix(u64);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            // Not those of IPv4: no IPv6 address in use begins with 32 zero bits.
            IpAddr::V6(address) => Self(u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

struct Failures {
    /// Failed sign-ins since the last successful one.
    sign_ins: u32,
    last_sign_in: Instant,
    /// Wrong tokens, whether a browser or a program sent them. A success does not end their count: somebody may have a token of
    /// their own, and guess another one.
    wrong: u32,
    last: Instant,
    actions: Actions,
}

/// The actions of an address with many wrong tokens.
struct Actions {
    allowance: Allowance,
    /// The log says that they are limited.
    is_logged: bool,
}

/// Whether an address may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Granted,
    /// Not before up to a second has passed. `is_first`: the log does not say yet that the address is limited.
    Refused {
        is_first: bool,
    },
}

impl Failures {
    /// When the address may try again.
    fn until(&self) -> Instant {
        let Some(beyond) = self.sign_ins.checked_sub(FREE) else {
            return self.last_sign_in;
        };
        let wait = Duration::from_secs(1u64.checked_shl(beyond).unwrap_or(u64::MAX));
        self.last_sign_in + wait.min(LONGEST)
    }
}

/// A number of uses that refills over time.
struct Allowance {
    most: u32,
    every: Duration,
    left: u32,
    filled: Instant,
}

impl Allowance {
    fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self {
            most,
            every,
            left: most,
            filled: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        while self.left < self.most && now.duration_since(self.filled) >= self.every {
            self.left += 1;
            self.filled += self.every;
        }
        if self.left == self.most {
            self.filled = now;
        }
    }

    /// Uses one. False: none is left.
    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// How long until one is left.
    fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        if self.left > 0 {
            Duration::ZERO
        } else {
            self.every.saturating_sub(now.duration_since(self.filled))
        }
    }
}

impl State {
    /// The failures of an address, which has sent a wrong token now.
    fn of(&mut self, address: IpAddr, now: Instant) -> &mut Failures {
        let prefix = Prefix::from(address);
        if now.duration_since(self.forgotten) >= FORGET_EVERY {
            self.forgotten = now;
            self.addresses
                .retain(|_, failures| now.duration_since(failures.last) < FORGET);
        }
        if self.addresses.len() >= MOST_ADDRESSES && !self.addresses.contains_key(&prefix) {
            // Tokens of programs are not limited: they must not make room for more sign-ins.
            let oldest = self
                .addresses
                .iter()
                .min_by_key(|(_, failures)| (failures.sign_ins > 0, failures.last));
            if let Some(oldest) = oldest.map(|(prefix, _)| *prefix) {
                self.addresses.remove(&oldest);
            }
        }
        let failures = self.addresses.entry(prefix).or_insert_with(|| Failures {
            sign_ins: 0,
            last_sign_in: now,
            wrong: 0,
            last: now,
            actions: Actions {
                allowance: Allowance::new(ACTIONS, ACTIONS_EVERY, now),
                is_logged: false,
            },
        });
        failures.last = now;
        failures
    }
}

impl Throttle {
    /// How long an address must wait before its next sign-in. Zero: it need not.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Duration {
        self.with(|state| {
            let of_address = state.addresses.get(&address.into());
            let of_address = of_address.map_or(Duration::ZERO, |failures| {
                failures.until().saturating_duration_since(now)
            });
            of_address.max(state.of_all.wait(now))
        })
    }

    /// Records a failed sign-in. True: the audit log has room for it.
    pub(super) fn fail(&self, address: IpAddr, now: Instant) -> bool {
        self.with(|state| {
            let failures = state.of(address, now);
            failures.wrong = failures.wrong.saturating_add(1);
            if now.duration_since(failures.last_sign_in) >= FORGET {
                failures.sign_ins = 0;
            }
            failures.sign_ins = failures.sign_ins.saturating_add(1);
            failures.last_sign_in = now;
            state.of_all.take(now);
            state.recorded.take(now)
        })
    }

    /// Records a wrong token of a program. It slows down no sign-in: a program behind the same proxy may have an old token.
    pub(super) fn reject(&self, address: IpAddr, now: Instant) {
        self.with(|state| {
            let failures = state.of(address, now);
            failures.wrong = failures.wrong.saturating_add(1);
        });
    }

    /// Lets an address that has signed in sign in again at once.
    pub(super) fn succeed(&self, address: IpAddr) {
        self.with(|state| {
            if let Some(failures) = state.addresses.get_mut(&address.into()) {
                failures.sign_ins = 0;
            }
        });
    }

    /// Admits an action of an operator.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Admission {
        self.with(|state| {
            let failures = state.addresses.get_mut(&address.into());
            let limited = failures
                .filter(|failures| failures.wrong >= FREE && now.duration_since(failures.last) < FORGET);
            let Some(Failures { actions, .. }) = limited else {
                return Admission::Granted;
            };
            if actions.allowance.take(now) {
                return Admission::Granted;
            }
            let is_first = !std::mem::replace(&mut actions.is_logged, true);
            Admission::Refused { is_first }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn an_address_waits_longer_after_each_failure_and_is_forgotten_in_time() {
        let mut now = Instant::now();
        let throttle = Throttle::new(now);
        for _ in 0..FREE {
            assert_eq!(throttle.wait(address(1), now), Duration::ZERO);
            throttle.fail(address(1), now);
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = throttle.wait(address(1), now);
            waits.push(wait.as_secs());
            now += wait;
            throttle.fail(address(1), now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(throttle.wait(address(2), now), Duration::ZERO);
        now += FORGET;
        throttle.fail(address(2), now);
        throttle.fail(address(1), now);
        assert_eq!(throttle.wait(address(1), now), Duration::ZERO);
    }

    #[test]
    fn all_addresses_together_are_limited_and_bounded_in_memory() {
        let mut now = Instant::now();
        let throttle = Throttle::new(now);
        let mut recorded = 0;
        for number in 0..OF_ALL {
            assert_eq!(throttle.wait(address(number), now), Duration::ZERO, "{number}");
            recorded += u32::from(throttle.fail(address(number), now));
        }
        assert_eq!(recorded, RECORDED);
        assert_eq!(throttle.wait(address(1_000_000), now), EVERY);
        now += EVERY;
        assert_eq!(throttle.wait(address(1_000_000), now), Duration::ZERO);
        for number in 0..3 * u32::try_from(MOST_ADDRESSES).unwrap() {
            throttle.fail(address(number), now);
        }
        let remembered = throttle.with(|state| state.addresses.len());
        assert_eq!(remembered, MOST_ADDRESSES);
    }

    /// How many actions of an address are admitted at once, at most 1,000.
    fn admitted(throttle: &Throttle, number: u32, now: Instant) -> usize {
        let admit = |_: &u32| throttle.admit(address(number), now) == Admission::Granted;
        (0..1_000).take_while(admit).count()
    }

    #[test]
    fn actions_of_an_address_with_wrong_tokens_are_limited_until_it_is_forgotten() {
        let mut now = Instant::now();
        let throttle = Throttle::new(now);
        for _ in 1..FREE {
            throttle.fail(address(1), now);
        }
        assert_eq!(admitted(&throttle, 1, now), 1_000, "a person mistypes");
        throttle.fail(address(1), now);
        assert_eq!(admitted(&throttle, 2, now), 1_000);
        for _ in 0..10 {
            assert_eq!(throttle.admit(address(1), now), Admission::Granted);
        }
        for is_first in [true, false] {
            assert_eq!(throttle.admit(address(1), now), Admission::Refused { is_first });
        }
        now += ACTIONS_EVERY;
        assert_eq!(admitted(&throttle, 1, now), 1);
        now += FORGET;
        assert_eq!(admitted(&throttle, 1, now), 1_000);
    }

    #[test]
    fn a_sign_in_and_a_token_of_a_program_do_not_hide_guesses() {
        let now = Instant::now();
        let throttle = Throttle::new(now);
        for _ in 0..FREE {
            throttle.fail(address(1), now);
            throttle.succeed(address(1));
            throttle.reject(address(2), now);
        }
        for number in [1, 2] {
            assert_eq!(throttle.wait(address(number), now), Duration::ZERO);
            assert_eq!(admitted(&throttle, number, now), 10);
        }
    }

    #[test]
    fn sign_ins_of_yesterday_are_forgotten_although_a_program_has_an_old_token() {
        let mut now = Instant::now();
        let throttle = Throttle::new(now);
        for _ in 0..14 {
            throttle.fail(address(1), now);
        }
        for _ in 0..100 {
            now += FORGET / 10;
            throttle.reject(address(1), now);
        }
        throttle.fail(address(1), now);
        assert_eq!(throttle.wait(address(1), now), Duration::ZERO);
        // Nor do programs make room for guesses.
        for _ in 0..FREE {
            throttle.fail(address(2), now);
        }
        for number in 0..2 * u32::try_from(MOST_ADDRESSES).unwrap() {
            throttle.reject(address(1_000 + number), now);
        }
        assert!(throttle.wait(address(2), now) > Duration::ZERO);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let prefix = |text: &str| Prefix::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(prefix("2001:db8::1"), prefix("2001:db8::ffff:1"));
        assert_ne!(prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        assert_eq!(prefix("::ffff:10.0.0.7"), prefix("10.0.0.7"));
    }
}
