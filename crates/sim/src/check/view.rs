//! A history, put in order: connections, sessions, subscriptions and messages.

use std::collections::BTreeMap;

use martlet_codec::{Filter, Qos, Topic};

use crate::history::{At, ClientNo, ConnNo, Fact, History, MessageNo, Step, Willed};

/// The reason of a message that could not be read from the store. Nobody knows its topic.
pub(crate) const UNREADABLE: &str = "unreadable";

/// The reason of a message that the store did not take.
const REFUSED: &str = "store_failed";

/// A session, from its beginning to its end: client and number.
pub(crate) type Epoch = (ClientNo, u32);

/// A history, put in order.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) history: &'a History,
    pub(crate) conns: BTreeMap<ConnNo, Conn>,
    pub(crate) sent: BTreeMap<MessageNo, Sent>,
    pub(crate) subscriptions: BTreeMap<Epoch, Vec<Subscription>>,
    pub(crate) receipts: Vec<Receipt<'a>>,
    /// Sessions that began before a crash without that anybody was told: those before them may have come back, if their
    /// ends could not be stored.
    pub(crate) come_back: BTreeMap<Epoch, Epoch>,
    /// The sessions that are there when all is at rest.
    pub(crate) last: BTreeMap<ClientNo, Epoch>,
}

/// A connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conn {
    pub(crate) client: ClientNo,
    pub(crate) clean_start: bool,
    pub(crate) expiry_s: u32,
    pub(crate) window: u16,
    pub(crate) will: Option<Willed>,
    /// When the broker accepted it, and whether with a session that it had.
    pub(crate) accepted: Option<(u64, bool)>,
    /// The session that it is about; none: it was not accepted.
    pub(crate) epoch: Option<Epoch>,
    /// Whether its client read CONNACK.
    pub(crate) is_confirmed: bool,
    pub(crate) ended: Option<End>,
}

/// The end of a connection at the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) ms: u64,
    pub(crate) by_goodbye: bool,
    pub(crate) has_will: bool,
    /// The process crashed.
    pub(crate) by_crash: bool,
}

/// What a publisher did with a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) first_ms: u64,
    pub(crate) times: usize,
    /// In how many sessions: a client may not know that a new one has begun.
    pub(crate) sessions: usize,
    /// The session of the first time.
    pub(crate) epoch: Option<Epoch>,
    /// The session of the last time.
    last_epoch: Option<Epoch>,
    /// When the broker's promise came: PUBACK or PUBREC with success.
    pub(crate) promised_ms: Option<u64>,
}

/// A subscription of a session.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    /// From then on it may be there.
    pub(crate) asked_ms: u64,
    /// From then on it is certainly there.
    pub(crate) granted_ms: Option<u64>,
    /// From then on it may be gone.
    pub(crate) leaving_ms: Option<u64>,
    /// From then on it is certainly gone.
    pub(crate) gone_ms: Option<u64>,
}

/// A message that a client got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt<'a> {
    pub(crate) ms: u64,
    pub(crate) client: ClientNo,
    pub(crate) conn: ConnNo,
    pub(crate) epoch: Epoch,
    pub(crate) message: MessageNo,
    pub(crate) topic: &'a str,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) is_new: bool,
}

impl Subscription {
    /// Whether the filter takes that topic, its share group apart.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        let (Ok(filter), Ok(topic)) = (Filter::new(&self.filter), Topic::new(topic)) else {
            return false;
        };
        Filter::new(filter.pattern()).is_ok_and(|pattern| pattern.matches(topic))
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.filter.starts_with("$share/")
    }

    /// Whether it is certainly there all that time.
    pub(crate) fn is_certain(&self, from_ms: u64, to_ms: u64) -> bool {
        self.granted_ms.is_some_and(|granted_ms| granted_ms < from_ms)
            && self.leaving_ms.is_none_or(|leaving_ms| leaving_ms > to_ms)
    }
}

impl<'a> View<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let mut view = Self {
            history,
            conns: BTreeMap::new(),
            sent: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            receipts: Vec::new(),
            come_back: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        view.read_conns();
        view.read_messages();
        view.read_subscriptions();
        view
    }

    pub(crate) fn epoch(&self, conn: ConnNo) -> Option<Epoch> {
        self.conns.get(&conn)?.epoch
    }

    /// The subscriptions of a session that take a topic.
    pub(crate) fn matching(&self, epoch: Epoch, topic: &str) -> impl Iterator<Item = &Subscription> {
        let all = self.subscriptions.get(&epoch).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |subscription| subscription.matches(topic))
    }

    /// Whether a client has a session by a shared subscription only.
    pub(crate) fn is_member(&self, epoch: Epoch) -> bool {
        self.subscriptions
            .get(&epoch)
            .is_some_and(|all| all.iter().any(Subscription::is_shared))
    }

    /// Whether the store refused anything: what nobody waits for may have been lost then, and counted.
    pub(crate) fn store_refused(&self) -> bool {
        self.history
            .facts
            .iter()
            .any(|at| matches!(at.fact, Fact::Store(_)))
    }

    /// Whether a session ended with a crash: it was not stored.
    pub(crate) fn died_in_crash(&self, conn: ConnNo) -> bool {
        self.conns
            .get(&conn)
            .is_some_and(|conn| conn.expiry_s == 0 && conn.ended.is_some_and(|end| end.by_crash))
    }

    /// Whether messages of a topic were dropped on their way to a client.
    pub(crate) fn has_dropped(&self, of: ClientNo, about: &str) -> bool {
        self.history.facts.iter().any(|at| {
            matches!(&at.fact, Fact::BrokerDropped { client: Some(client), topic, .. } if *client == of && topic.as_deref() == Some(about))
        })
    }

    /// Whether a message for a client could not be read from the store: it stays there, and may come after a restart.
    pub(crate) fn was_unreadable(&self, of: ClientNo) -> bool {
        self.history.facts.iter().any(|at| {
            matches!(&at.fact, Fact::BrokerDropped { client: Some(client), reason, .. } if *client == of && reason == UNREADABLE)
        })
    }

    /// Whether the store refused a message of a publisher.
    pub(crate) fn was_refused(&self, of: ClientNo) -> bool {
        self.history.facts.iter().any(|at| {
            matches!(&at.fact, Fact::BrokerDropped { client: Some(client), reason, .. } if *client == of && reason == REFUSED)
        })
    }

    /// Whether the store refused a message of anybody. Of those whom it refused just before a crash nobody is told.
    pub(crate) fn refused_anything(&self) -> bool {
        let is_refusal =
            |at: &At| matches!(&at.fact, Fact::BrokerDropped { reason, .. } if reason == REFUSED);
        self.history.facts.iter().any(is_refusal)
    }

    /// How often the process crashed.
    pub(crate) fn crashes(&self) -> usize {
        let is_crash = |at: &&At| matches!(at.fact, Fact::Crashed { .. });
        self.history.facts.iter().filter(is_crash).count()
    }

    /// When all came to rest.
    pub(crate) fn rested_ms(&self) -> u64 {
        let mut facts = self.history.facts.iter();
        let rested = facts.find(|at| matches!(at.fact, Fact::Rested { .. }));
        rested.map_or(u64::MAX, |at| at.ms)
    }

    fn read_conns(&mut self) {
        let mut numbers: BTreeMap<ClientNo, u32> = BTreeMap::new();
        let told = told(self.history);
        // Sessions that nobody was told of, with those before them.
        let mut unconfirmed: BTreeMap<ClientNo, Epoch> = BTreeMap::new();
        let mut is_resting = false;
        for at in &self.history.facts {
            match &at.fact {
                Fact::Connecting {
                    client,
                    conn,
                    clean_start,
                    expiry_s,
                    window,
                    will,
                } => {
                    let conn = self.conns.entry(*conn).or_default();
                    (conn.client, conn.clean_start, conn.expiry_s) = (*client, *clean_start, *expiry_s);
                    (conn.window, conn.will) = (*window, *will);
                }
                Fact::BrokerAccepted {
                    client,
                    conn,
                    session_present,
                    ..
                } => {
                    let said = told.get(conn).copied().unwrap_or(*session_present);
                    let number = numbers.entry(*client).or_default();
                    if told.contains_key(conn) {
                        unconfirmed.remove(client);
                    } else if !said {
                        unconfirmed.entry(*client).or_insert((*client, *number));
                    }
                    *number += u32::from(!said);
                    let epoch = (*client, *number);
                    if !is_resting {
                        self.last.insert(*client, epoch);
                    }
                    let conn = self.conns.entry(*conn).or_default();
                    conn.accepted = Some((at.ms, said));
                    conn.epoch = Some(epoch);
                }
                Fact::Connected { conn, .. } => {
                    self.conns.entry(*conn).or_default().is_confirmed = true;
                }
                Fact::BrokerEnded {
                    conn,
                    by_goodbye,
                    has_will,
                    ..
                } => {
                    self.conns.entry(*conn).or_default().ended = Some(End {
                        ms: at.ms,
                        by_goodbye: *by_goodbye,
                        has_will: *has_will,
                        by_crash: false,
                    });
                }
                Fact::Crashed { .. } => {
                    let come_back = std::mem::take(&mut unconfirmed).into_iter();
                    self.come_back
                        .extend(come_back.map(|(client, before)| ((client, numbers[&client]), before)));
                    for conn in self.conns.values_mut().filter(|conn| conn.accepted.is_some()) {
                        conn.ended.get_or_insert(End {
                            ms: at.ms,
                            by_goodbye: false,
                            has_will: false,
                            by_crash: true,
                        });
                    }
                }
                Fact::Rested { .. } => is_resting = true,
                _ => {}
            }
        }
    }

    fn read_messages(&mut self) {
        for at in &self.history.facts {
            match &at.fact {
                Fact::Published { conn, message, .. } => {
                    let epoch = self.epoch(*conn);
                    let sent = self.sent.entry(*message).or_insert(Sent {
                        first_ms: at.ms,
                        times: 0,
                        sessions: 1,
                        epoch,
                        last_epoch: epoch,
                        promised_ms: None,
                    });
                    sent.times += 1;
                    if epoch.is_some() && sent.last_epoch != epoch {
                        sent.sessions += usize::from(sent.last_epoch.is_some());
                        sent.last_epoch = epoch;
                    }
                }
                Fact::Acknowledged {
                    message,
                    step,
                    reason,
                    ..
                } if !reason.is_error() && *step != Step::PubComp => {
                    if let Some(sent) = self.sent.get_mut(message) {
                        sent.promised_ms.get_or_insert(at.ms);
                    }
                }
                Fact::Received {
                    client,
                    conn,
                    message,
                    topic,
                    qos,
                    retain,
                    dup,
                    is_new,
                    ..
                } => {
                    let Some(epoch) = self.epoch(*conn) else { continue };
                    self.receipts.push(Receipt {
                        ms: at.ms,
                        client: *client,
                        conn: *conn,
                        epoch,
                        message: *message,
                        topic,
                        qos: *qos,
                        retain: *retain,
                        dup: *dup,
                        is_new: *is_new,
                    });
                }
                _ => {}
            }
        }
    }

    fn read_subscriptions(&mut self) {
        for at in &self.history.facts {
            let (Fact::Subscribing { conn, filter, .. }
            | Fact::Subscribed { conn, filter, .. }
            | Fact::Unsubscribing { conn, filter, .. }
            | Fact::Unsubscribed { conn, filter, .. }) = &at.fact
            else {
                continue;
            };
            let Some(epoch) = self.epoch(*conn) else { continue };
            let all = self.subscriptions.entry(epoch).or_default();
            let there = all
                .iter_mut()
                .filter(|s| s.filter == *filter && s.gone_ms.is_none());
            match &at.fact {
                Fact::Subscribing { qos, .. } => all.push(Subscription {
                    filter: filter.clone(),
                    qos: *qos,
                    asked_ms: at.ms,
                    granted_ms: None,
                    leaving_ms: None,
                    gone_ms: None,
                }),
                Fact::Subscribed { reason, .. } if !reason.is_error() => {
                    there.for_each(|s| _ = s.granted_ms.get_or_insert(at.ms));
                }
                // Refused: one that was asked for before on a connection that was lost may still be there.
                Fact::Unsubscribing { .. } => there.for_each(|s| _ = s.leaving_ms.get_or_insert(at.ms)),
                Fact::Unsubscribed { is_gone: true, .. } => {
                    there
                        .filter(|s| s.leaving_ms.is_some())
                        .for_each(|s| s.gone_ms = Some(at.ms));
                }
                _ => {}
            }
        }
    }
}

/// Whether there was a session, as clients were told where they were.
fn told(history: &History) -> BTreeMap<ConnNo, bool> {
    let of = |at: &At| match at.fact {
        Fact::Connected {
            conn,
            session_present,
            ..
        } => Some((conn, session_present?)),
        _ => None,
    };
    history.facts.iter().filter_map(of).collect()
}
