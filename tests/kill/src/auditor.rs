//! A client that looks at what is retained.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use martlet_codec::{
    Connect, Filter, Packet, PacketId, Properties, Qos, Subscribe, SubscribeOptions, SubscribeRequests,
    Version,
};

use crate::fault::Checked;
use crate::link::{Came, Link};
use crate::scene::Scene;

/// How long after the last message it still waits for one.
const QUIET: Duration = Duration::from_millis(20);

/// One look at the topics of some filters.
#[derive(Debug)]
pub(crate) struct Auditor {
    link: Option<Link>,
    filters: &'static [&'static str],
    last: Instant,
    has_pong: bool,
    /// The last payload of each topic.
    pub(crate) found: BTreeMap<String, Vec<u8>>,
}

impl Auditor {
    pub(crate) fn new(filters: &'static [&'static str], scene: &Scene) -> Self {
        let mut link = Link::open(scene.port, Version::V5);
        if let Some(link) = &mut link {
            link.send(&Packet::Connect(Connect {
                version: Version::V5,
                bridge: false,
                clean_start: true,
                keep_alive_s: 0,
                client_id: "auditor",
                will: None,
                user_name: None,
                password: None,
                properties: Properties::EMPTY,
            }));
        }
        Self {
            link,
            filters,
            last: scene.now,
            has_pong: false,
            found: BTreeMap::new(),
        }
    }

    /// Whether it has that many topics and nothing more comes.
    pub(crate) fn is_done(&self, topics_min: usize) -> bool {
        self.has_pong && self.found.len() >= topics_min && self.last.elapsed() > QUIET
    }

    /// For how long nothing came.
    pub(crate) fn silence(&self) -> Duration {
        self.last.elapsed()
    }

    pub(crate) fn turn(&mut self, scene: &mut Scene) -> Checked {
        while let Some(link) = &mut self.link {
            link.flush();
            let Some(came) = link.next()? else { return Ok(()) };
            scene.packets += 1;
            self.last = Instant::now();
            match came {
                Came::ConnAck { .. } => {
                    let options = SubscribeOptions::qos(Qos::AtMostOnce);
                    let filters = self
                        .filters
                        .iter()
                        .map(|filter| (Filter::new(filter).expect("a filter"), options));
                    let requests: Vec<_> = filters.collect();
                    link.send(&Packet::Subscribe(Subscribe {
                        packet_id: PacketId::MIN,
                        properties: Properties::EMPTY,
                        requests: SubscribeRequests::List(&requests),
                    }));
                }
                Came::SubAck(..) => link.send(&Packet::PingReq),
                Came::Pong => self.has_pong = true,
                Came::Publish(arrived) => {
                    self.found.insert(arrived.topic, arrived.payload);
                }
                Came::Closed => self.link = None,
                _ => {}
            }
        }
        Ok(())
    }
}
