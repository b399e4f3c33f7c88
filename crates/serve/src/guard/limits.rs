//! What one key may use, and what it has used.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What one key may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute, those of prompts and answers together.
    pub tokens_per_minute: Option<u32>,
    /// Requests at the same time.
    pub concurrent: Option<u32>,
}

/// A key's name, its limits and what it has used of them.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    limits: Limits,
    requests: Bucket,
    tokens: Bucket,
    under_way: u32,
}

/// Why a key is asked to come back later.
#[derive(Debug)]
pub(crate) struct Exhausted {
    /// What there is a limit to, as the metric of refusals calls it.
    pub(crate) what: &'static str,
    pub(crate) limit: u32,
    pub(crate) retry_after: Duration,
}

/// One request of an account, under way until dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Account>);

impl Account {
    pub(crate) fn new(name: &str, limits: Limits) -> Account {
        let now = Instant::now();
        Account {
            name: name.into(),
            used: Mutex::new(Used {
                limits,
                requests: Bucket::full(limits.requests_per_minute, now),
                tokens: Bucket::full(limits.tokens_per_minute, now),
                under_way: 0,
            }),
        }
    }

    /// Begins a request, if the limits leave room for one.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Result<Turn, Exhausted> {
        let mut used = self.used();
        let limits = used.limits;
        if let Some(limit) = limits.concurrent
            && used.under_way >= limit
        {
            let retry_after = Duration::from_secs(1);
            return Err(Exhausted {
                what: "concurrent",
                limit,
                retry_after,
            });
        }
        // Tokens are known only afterwards: a request may overdraw the account, and the next one waits for it.
        used.tokens
            .wait(limits.tokens_per_minute, f64::MIN_POSITIVE, now)
            .map_err(|(limit, retry_after)| Exhausted {
                what: "tokens",
                limit,
                retry_after,
            })?;
        used.requests
            .wait(limits.requests_per_minute, 1.0, now)
            .map_err(|(limit, retry_after)| Exhausted {
                what: "requests",
                limit,
                retry_after,
            })?;
        used.requests.left -= 1.0;
        used.under_way += 1;
        drop(used);
        Ok(Turn(Arc::clone(self)))
    }

    /// Tokens were read or written.
    pub(crate) fn charge(&self, tokens: usize) {
        let mut used = self.used();
        if used.limits.tokens_per_minute.is_some() {
            used.tokens.left -= tokens as f64;
        }
    }

    /// Other limits from now on; what was used stays used.
    pub(crate) fn relimit(&self, limits: Limits) {
        let mut used = self.used();
        let now = Instant::now();
        if used.limits.requests_per_minute != limits.requests_per_minute {
            used.requests = Bucket::full(limits.requests_per_minute, now);
        }
        if used.limits.tokens_per_minute != limits.tokens_per_minute {
            used.tokens = Bucket::full(limits.tokens_per_minute, now);
        }
        used.limits = limits;
    }

    #[cfg(test)]
    pub(crate) fn limits(&self) -> Limits {
        self.used().limits
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut used = self.0.used();
        used.under_way = used.under_way.saturating_sub(1);
    }
}

/// Fills evenly, a minute's worth in a minute and never more.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(limit: Option<u32>, at: Instant) -> Bucket {
        Bucket {
            left: limit.map_or(0.0, f64::from),
            at,
        }
    }

    /// Whether there is as much as `wanted`, or else the limit and when there will be.
    fn wait(
        &mut self,
        limit: Option<u32>,
        wanted: f64,
        now: Instant,
    ) -> Result<(), (u32, Duration)> {
        let Some(limit) = limit else { return Ok(()) };
        let (most, per_second) = (f64::from(limit), f64::from(limit.max(1)) / 60.0);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * per_second).min(most);
        self.at = now;
        if self.left >= wanted {
            return Ok(());
        }
        let seconds = ((wanted - self.left) / per_second).ceil().max(1.0);
        Err((limit, Duration::from_secs_f64(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(limits: Limits) -> Arc<Account> {
        Arc::new(Account::new("a", limits))
    }

    #[test]
    fn a_minutes_requests_fill_again_evenly() {
        let account = account(Limits {
            requests_per_minute: Some(2),
            ..Limits::default()
        });
        let now = Instant::now();
        assert!(account.begin(now).is_ok() && account.begin(now).is_ok());
        let refused = account.begin(now).expect_err("a third");
        assert_eq!((refused.what, refused.limit), ("requests", 2));
        assert_eq!(refused.retry_after, Duration::from_secs(30));
        let later = now + Duration::from_secs(31);
        assert!(account.begin(later).is_ok() && account.begin(later).is_err());
    }

    #[test]
    fn an_overdrawn_account_waits_until_it_is_even() {
        let account = account(Limits {
            tokens_per_minute: Some(60),
            ..Limits::default()
        });
        let now = Instant::now();
        let turn = account.begin(now);
        assert!(turn.is_ok());
        account.charge(90);
        let refused = account.begin(now).expect_err("overdrawn");
        assert_eq!(refused.what, "tokens");
        assert!((30..=31).contains(&refused.retry_after.as_secs()));
        assert!(account.begin(now + Duration::from_secs(32)).is_ok());
    }

    #[test]
    fn a_turn_lasts_until_it_is_dropped() {
        let account = account(Limits {
            concurrent: Some(1),
            ..Limits::default()
        });
        let now = Instant::now();
        let turn = account.begin(now).expect("the first");
        assert!(account.begin(now).is_err());
        drop(turn);
        assert!(account.begin(now).is_ok());
    }
}
