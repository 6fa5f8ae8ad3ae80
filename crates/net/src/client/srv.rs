//! Servers that SRV records of the DNS name (RFC 2782): who is tried in which order.

mod dns;
mod question;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use self::question::Target;
use super::dial::{DialError, dial_place};
use super::kept::Kept;
use super::{Place, Route};
use crate::limits::{SRV_TARGET_WAIT_MAX, SRV_TARGETS_MAX};
use crate::stream::Stream;

/// A domain whose DNS says where its servers are: at `_mqtt._tcp`, with TLS at `_secure-mqtt._tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The domain, which is also whom a certificate is to name: what an answer of the DNS says is signed by nobody.
    pub domain: String,
    /// Name servers to ask; none: those of this system (`/etc/resolv.conf`).
    pub name_servers: Vec<SocketAddr>,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.domain.fmt(f)
    }
}

/// Why the DNS names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrvError {
    /// There is no such record.
    #[error("the DNS has no SRV record of that name")]
    NoRecord,
    /// The record says that there is no such service.
    #[error("its SRV record says that there is no such service in this domain")]
    NotOffered,
    /// What is no name.
    #[error("{0}")]
    Name(String),
    /// Nobody is there to be asked.
    #[error("no name server is known: {0}")]
    NoNameServer(String),
    /// None of the name servers gave an answer that can be used.
    #[error("no name server has an answer: {0}")]
    NoAnswer(String),
}

/// A connection to the first server that can be reached.
///
/// # Errors
/// There is none, or what has failed at the last one.
pub(super) async fn dial(route: &Route, service: &Service, kept: &mut Kept) -> Result<Stream, DialError> {
    let name = record_name(&service.domain, route.tls.is_some());
    let failed = |source| DialError::Srv {
        name: name.clone(),
        source,
    };
    if route.websocket.is_some() {
        let why = "SRV records name servers of MQTT, and not of WebSocket".to_owned();
        return Err(DialError::Request(why));
    }
    if service.domain.parse::<IpAddr>().is_ok() {
        let why = format!(
            "'{}' is an address, and only a name has SRV records",
            service.domain
        );
        return Err(failed(SrvError::Name(why)));
    }
    let targets = dns::ask(&name, &service.name_servers).await.map_err(failed)?;
    let targets = in_order(targets, draw);
    let mut last = failed(SrvError::NoRecord);
    let count = targets.len();
    for (n, target) in targets.into_iter().enumerate() {
        let route = to_target(route, service, target);
        // Whoever calls bounds the whole: one that is silent leaves the next ones their time.
        let wait = if n + 1 < count {
            SRV_TARGET_WAIT_MAX
        } else {
            Duration::MAX
        };
        match timeout(wait, dial_place(&route, kept)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => {
                last = DialError::Io {
                    address: route.place.to_string(),
                    source: std::io::ErrorKind::TimedOut.into(),
                };
            }
        }
    }
    Err(last)
}

fn record_name(domain: &str, is_secured: bool) -> String {
    let service = if is_secured { "_secure-mqtt" } else { "_mqtt" };
    format!("{service}._tcp.{}", domain.trim_end_matches('.'))
}

/// The way to one server, which is to show the certificate of the domain.
fn to_target(route: &Route, service: &Service, target: Target) -> Route {
    let mut route = route.clone();
    route.place = Place::Internet {
        host: target.host,
        port: target.port,
    };
    if let Some(tls) = &mut route.tls {
        let name = service.domain.trim_end_matches('.').to_owned();
        tls.server_name.get_or_insert(name);
    }
    route
}

/// A number from 0 to `max`, from the system.
fn draw(max: u32) -> u32 {
    // Without random numbers the heaviest is taken first, which serves as well.
    let drawn = getrandom::u64().unwrap_or(u64::MAX);
    ((u128::from(drawn) * (u128::from(max) + 1)) >> 64) as u32
}

/// By priority, and by chance within one: a record comes first as often as its weight is a part of all weights.
fn in_order(mut targets: Vec<Target>, mut draw: impl FnMut(u32) -> u32) -> Vec<Target> {
    // Those of no weight stand first, so that they too have a small chance.
    targets.sort_by_key(|target| (target.priority, target.weight != 0));
    let mut ordered = Vec::new();
    while let Some(first) = targets.first()
        && ordered.len() < SRV_TARGETS_MAX
    {
        let priority = first.priority;
        let same = || targets.iter().take_while(|target| target.priority == priority);
        let all: u32 = same().map(|target| u32::from(target.weight)).sum();
        let drawn = draw(all);
        let mut sum = 0;
        let chosen = same().position(|target| {
            sum += u32::from(target.weight);
            sum >= drawn
        });
        ordered.push(targets.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target {
            priority,
            weight,
            port: 1883,
            host: host.to_owned(),
        }
    }

    fn hosts(targets: &[(u16, u16, &str)], draw: impl FnMut(u32) -> u32) -> Vec<String> {
        let targets = targets.iter().map(|(p, w, host)| target(*p, *w, host));
        let ordered = in_order(targets.collect(), draw).into_iter();
        ordered.map(|target| target.host).collect()
    }

    #[test]
    fn priority_comes_before_weight() {
        let targets = [(20, 9, "c"), (10, 1, "a"), (20, 0, "d"), (10, 3, "b")];
        assert_eq!(hosts(&targets, |_| 0), ["a", "b", "d", "c"]);
        assert_eq!(hosts(&targets, |max| max), ["b", "a", "c", "d"]);
        assert_eq!(hosts(&[], |_| 0), [""; 0]);
    }

    /// All numbers that can be drawn, for the first of three: as often as the weights say.
    #[test]
    fn the_first_is_drawn_by_weight() {
        let targets = [(0, 0, "none"), (0, 10, "some"), (0, 90, "most")];
        let mut counts = [0; 3];
        for drawn in 0..=100 {
            let mut draws = [drawn].into_iter();
            let first = hosts(&targets, |max| {
                draws.next().map_or(0, |drawn| {
                    assert_eq!(max, 100);
                    drawn
                })
            });
            let names = ["none", "some", "most"];
            counts[names.iter().position(|name| *name == first[0]).unwrap()] += 1;
        }
        assert_eq!(counts, [1, 10, 90]);
    }

    #[test]
    fn what_is_drawn_is_in_its_range() {
        for max in [0, 1, 7, u32::MAX] {
            for _ in 0..1_000 {
                assert!(draw(max) <= max);
            }
        }
    }

    #[test]
    fn no_more_than_the_limit_are_tried() {
        let many = (0..1_000).map(|n| target(n, 0, "h")).collect();
        let ordered = in_order(many, |_| 0);
        assert_eq!(ordered.len(), SRV_TARGETS_MAX);
        assert_eq!(
            ordered.last().map(|target| target.priority),
            Some(SRV_TARGETS_MAX as u16 - 1)
        );
    }
}
