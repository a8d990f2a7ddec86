//! Looks up the addresses of hosts, and remembers them for a little while.
//!
//! ureq asks before every request, even where a connection stands, and starts a thread for each
//! question: a daily run would ask the resolver of the machine a thousand times a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an answer counts: while a host moves to another address, calls fail for that long at most,
/// and are made again by whatever has to make them.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// Asks `lookup` about a host that it was not asked about lately.
#[derive(Debug, Default)]
pub(super) struct Names<L> {
    lookup: L,
    /// By host and port, with the moment of the answer. As few as there are vendors.
    known: Mutex<HashMap<String, (Instant, ResolvedSocketAddrs)>>,
}

impl<L: Resolver> Names<L> {
    fn resolve_at(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
        now: Instant,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // Whatever is no address of a host is for the lookup to refuse.
        let host = uri.scheme().zip(uri.authority());
        let Some(host) =
            host.and_then(|(scheme, host)| DefaultResolver::host_and_port(scheme, host))
        else {
            return self.lookup.resolve(uri, config, timeout);
        };
        let lately = |asked_at: Instant| now.duration_since(asked_at) < REMEMBERED_FOR;
        if let Some((asked_at, addresses)) = self.known().get(&host)
            && lately(*asked_at)
        {
            return Ok(addresses.clone());
        }
        let addresses = self.lookup.resolve(uri, config, timeout)?;
        self.known().insert(host, (now, addresses.clone()));
        Ok(addresses)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, ResolvedSocketAddrs)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Resolver> Resolver for Names<L> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.resolve_at(uri, config, timeout, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::{Duration, Instant};

    use http::Uri;
    use ureq::Error;
    use ureq::config::Config;
    use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
    use ureq::unversioned::transport::NextTimeout;

    use super::{Names, REMEMBERED_FOR};

    /// Answers with another address each time.
    #[derive(Debug, Default)]
    struct Moving(AtomicU8);

    impl Resolver for Moving {
        fn resolve(
            &self,
            uri: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, Error> {
            if uri.host() == Some("nobody.example") {
                return Err(Error::HostNotFound);
            }
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let mut addresses = self.empty();
            addresses.push(([10, 0, 0, number], 443).into());
            Ok(addresses)
        }
    }

    #[test]
    fn a_host_is_looked_up_once_in_a_while() {
        let names = Names::<Moving>::default();
        let begin = Instant::now();
        let ask = |uri: &str, after: Duration| {
            let uri: Uri = uri.parse().unwrap();
            let config = Config::default();
            let timeout = NextTimeout::default();
            let found = names.resolve_at(&uri, &config, timeout, begin + after);
            found.map(|addresses| addresses[0].ip().to_string()).ok()
        };
        let at = |uri, after| ask(uri, after).unwrap();
        let (stripe, azure) = ("https://stripe.example/v1", "https://azure.example/");
        assert_eq!(at(stripe, Duration::ZERO), "10.0.0.0");
        assert_eq!(
            at("https://stripe.example:443/v2", Duration::ZERO),
            "10.0.0.0"
        );
        assert_eq!(at(azure, Duration::ZERO), "10.0.0.1");
        let last = REMEMBERED_FOR.saturating_sub(Duration::from_millis(1));
        assert_eq!(at(stripe, last), "10.0.0.0");
        assert_eq!(at(stripe, REMEMBERED_FOR), "10.0.0.2", "and anew");
        assert_eq!(at(stripe, REMEMBERED_FOR + last), "10.0.0.2");
        assert_eq!(ask("https://nobody.example/", Duration::ZERO), None);
        assert_eq!(ask("https://nobody.example/", Duration::ZERO), None);
    }
}
