//! Shared subscriptions: a group of sessions, of which one gets each message.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::roster::{OfSession, Roster};
use super::subscription::{SessionRef, SubOptions};

/// Whether a session can take a message now: written by the shard that owns the session, read by every
/// shard that chooses a member of a group.
#[derive(Debug, Default)]
pub struct Presence(AtomicU8);

/// What [`Presence`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Not connected: a message waits in the stored session.
    Away,
    /// Connected, with room for a message.
    Ready,
    /// Connected, but without room.
    Full,
}

impl Presence {
    /// A session that is away.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells the groups of the session.
    pub fn set(&self, availability: Availability) {
        self.0.store(availability as u8, Ordering::Release);
    }

    /// The latest that was told.
    pub fn get(&self) -> Availability {
        match self.0.load(Ordering::Acquire) {
            0 => Availability::Away,
            1 => Availability::Ready,
            _ => Availability::Full,
        }
    }
}

/// The member that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionRef,
    /// What it asked for in this group [MQTT5-4.8.2-3].
    pub options: SubOptions,
    /// How it was when it was chosen.
    pub availability: Availability,
}

/// The members of `$share/{group}/{filter}`: one group for each filter, whatever its name. Routes hold
/// it, so who comes and goes needs no new route.
pub struct Group {
    filter: Arc<str>,
    members: Mutex<Members>,
}

struct Members {
    /// Those who were last seen connected, then the others. A group may have thousands of stored
    /// members that never come back; they are not looked at for each message.
    roster: Roster<Entry>,
    connected: usize,
    /// Whose turn it is among the connected.
    turn: usize,
    /// Whose turn it is among the others.
    turn_away: usize,
}

struct Entry {
    session: SessionRef,
    options: SubOptions,
    presence: Arc<Presence>,
}

impl OfSession for Entry {
    fn session(&self) -> SessionRef {
        self.session
    }
}

/// How many of those who were away are looked at again for each message, so that one who comes back gets
/// its share soon although others are connected.
const LOOKS_PER_MESSAGE: usize = 4;

impl Group {
    pub(crate) fn new(filter: Arc<str>, seed: u64) -> Self {
        let members = Members {
            roster: Roster::new(seed),
            connected: 0,
            turn: 0,
            turn_away: 0,
        };
        Self {
            filter,
            members: Mutex::new(members),
        }
    }

    /// The filter that its members subscribed to, `$share/{group}/` included.
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// Chooses who gets a message, in turn: first among those who are connected and have room, then
    /// among those who are away, then among those without room. None when all were tried.
    pub fn pick(&self, tried: &[SessionRef]) -> Option<Member> {
        let members = &mut *self.members.lock();
        members.look_again();
        members
            .pick_connected(tried)
            .or_else(|| members.pick_returned(tried))
            .or_else(|| members.pick_away(tried))
            .or_else(|| members.pick_full(tried))
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.lock().roster.items().len()
    }

    /// Whether nobody is left: the group is then no longer in the router.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a member or replaces its options; true if it was added.
    pub(crate) fn insert(&self, session: SessionRef, options: SubOptions, presence: Arc<Presence>) -> bool {
        self.members.lock().roster.insert(Entry {
            session,
            options,
            presence,
        })
    }

    pub(crate) fn options_of(&self, session: SessionRef) -> Option<SubOptions> {
        let roster = &self.members.lock().roster;
        let at = roster.position(session)?;
        Some(roster.items()[at].options)
    }

    pub(crate) fn remove(&self, session: SessionRef) -> bool {
        let members = &mut *self.members.lock();
        let Some(mut at) = members.roster.position(session) else {
            return false;
        };
        if at < members.connected {
            at = members.disconnect(at);
        }
        members.roster.swap_remove(at);
        true
    }

    #[cfg(test)]
    pub(crate) fn members(&self) -> Vec<(SessionRef, SubOptions)> {
        self.members
            .lock()
            .roster
            .items()
            .iter()
            .map(|m| (m.session, m.options))
            .collect()
    }
}

impl Members {
    fn len(&self) -> usize {
        self.roster.items().len()
    }

    fn member(&self, at: usize) -> Member {
        let Entry {
            session,
            options,
            presence,
        } = &self.roster.items()[at];
        Member {
            session: *session,
            options: *options,
            availability: presence.get(),
        }
    }

    /// Moves a member among the connected; the last position of them is then its.
    fn connect(&mut self, at: usize) -> usize {
        self.roster.swap(at, self.connected);
        self.connected += 1;
        self.connected - 1
    }

    /// Moves a member among the others; the first position of them is then its.
    fn disconnect(&mut self, at: usize) -> usize {
        self.connected -= 1;
        self.roster.swap(at, self.connected);
        self.connected
    }

    fn look_again(&mut self) {
        for _ in 0..LOOKS_PER_MESSAGE.min(self.len() - self.connected) {
            let at = self.next_away();
            if self.member(at).availability != Availability::Away {
                self.connect(at);
            }
        }
    }

    /// Advances among those who were away, of whom there is one.
    fn next_away(&mut self) -> usize {
        let at = if self.turn_away < self.connected || self.turn_away >= self.len() {
            self.connected
        } else {
            self.turn_away
        };
        self.turn_away = at + 1;
        at
    }

    fn pick_connected(&mut self, tried: &[SessionRef]) -> Option<Member> {
        for _ in 0..self.connected {
            if self.turn >= self.connected {
                self.turn = 0;
            }
            let member = self.member(self.turn);
            match member.availability {
                Availability::Away => {
                    self.disconnect(self.turn);
                }
                Availability::Ready if !tried.contains(&member.session) => {
                    self.turn += 1;
                    return Some(member);
                }
                Availability::Ready | Availability::Full => self.turn += 1,
            }
        }
        None
    }

    /// Nobody who was connected can take it, so everybody else is worth a look.
    fn pick_returned(&mut self, tried: &[SessionRef]) -> Option<Member> {
        let at = (self.connected..self.len()).find(|at| {
            let member = self.member(*at);
            member.availability == Availability::Ready && !tried.contains(&member.session)
        })?;
        let at = self.connect(at);
        self.turn = at + 1;
        Some(self.member(at))
    }

    fn pick_away(&mut self, tried: &[SessionRef]) -> Option<Member> {
        for _ in self.connected..self.len() {
            let at = self.next_away();
            let member = self.member(at);
            if !tried.contains(&member.session) {
                return Some(member);
            }
        }
        None
    }

    fn pick_full(&mut self, tried: &[SessionRef]) -> Option<Member> {
        for _ in 0..self.connected {
            if self.turn >= self.connected {
                self.turn = 0;
            }
            let member = self.member(self.turn);
            self.turn += 1;
            if !tried.contains(&member.session) {
                return Some(member);
            }
        }
        None
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members.lock();
        let all = (0..members.len()).map(|at| members.member(at));
        f.debug_list().entries(all).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use martlet_codec::Qos;

    use super::*;

    struct Few {
        group: Group,
        presences: Vec<Arc<Presence>>,
    }

    fn session(index: u32) -> SessionRef {
        SessionRef {
            shard: 0,
            generation: 0,
            index,
        }
    }

    fn group(availabilities: &[Availability]) -> Few {
        let group = Group::new("$share/g/f".into(), 0);
        let mut presences = Vec::new();
        for (i, availability) in availabilities.iter().enumerate() {
            let presence = Presence::new();
            presence.set(*availability);
            assert!(group.insert(session(i as u32), Qos::AtLeastOnce.into(), presence.clone()));
            presences.push(presence);
        }
        Few { group, presences }
    }

    impl Few {
        fn shares(&self, messages: usize) -> BTreeMap<u32, usize> {
            let mut shares = BTreeMap::new();
            for _ in 0..messages {
                *shares
                    .entry(self.group.pick(&[]).unwrap().session.index)
                    .or_default() += 1;
            }
            shares
        }
    }

    use Availability::{Away, Full, Ready};

    #[test]
    fn in_turn() {
        let few = group(&[Ready, Ready, Ready]);
        assert_eq!(few.shares(30), BTreeMap::from([(0, 10), (1, 10), (2, 10)]));
        let stored = group(&[Away, Away]);
        assert_eq!(stored.shares(10), BTreeMap::from([(0, 5), (1, 5)]));
    }

    #[test]
    fn connected_members_first() {
        let few = group(&[Away, Ready, Full, Ready]);
        assert_eq!(few.shares(20), BTreeMap::from([(1, 10), (3, 10)]));
        few.presences[1].set(Away);
        few.presences[3].set(Full);
        // One who is away stores it; one whose room is used up would have to drop it.
        assert_eq!(few.shares(20), BTreeMap::from([(0, 10), (1, 10)]));
        few.presences[0].set(Full);
        few.presences[1].set(Full);
        assert_eq!(few.shares(20), BTreeMap::from([(0, 5), (1, 5), (2, 5), (3, 5)]));
        few.presences[2].set(Ready);
        assert_eq!(few.shares(5), BTreeMap::from([(2, 5)]));
    }

    #[test]
    fn each_member_is_tried_once() {
        let few = group(&[Away, Ready, Full, Ready, Away]);
        let mut tried = Vec::new();
        while let Some(member) = few.group.pick(&tried) {
            tried.push(member.session);
        }
        let availabilities: Vec<_> = tried
            .iter()
            .map(|t| few.presences[t.index as usize].get())
            .collect();
        assert_eq!(availabilities, [Ready, Ready, Away, Away, Full]);
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), 5);
        assert_eq!(Group::new("$share/g/f".into(), 0).pick(&[]), None);
    }

    #[test]
    fn who_comes_back_gets_a_share() {
        let few = group(&[Away; 100]);
        few.presences[50].set(Ready);
        assert_eq!(few.shares(10), BTreeMap::from([(50, 10)]));
        few.presences[97].set(Ready);
        // Found by looking at a few for each message.
        few.shares(100 / LOOKS_PER_MESSAGE);
        assert_eq!(few.shares(10), BTreeMap::from([(50, 5), (97, 5)]));
    }

    #[test]
    fn members_come_and_go() {
        let few = group(&[Ready, Away, Ready, Ready]);
        few.shares(5);
        assert!(
            !few.group
                .insert(session(2), Qos::ExactlyOnce.into(), few.presences[2].clone())
        );
        assert!(few.group.remove(session(0)));
        assert!(!few.group.remove(session(0)));
        assert_eq!(few.shares(10), BTreeMap::from([(2, 5), (3, 5)]));
        assert!(few.group.remove(session(3)));
        let member = few.group.pick(&[]).unwrap();
        assert_eq!(
            (member.session, member.options.qos()),
            (session(2), Qos::ExactlyOnce)
        );
        assert!(few.group.remove(session(2)));
        assert_eq!(few.shares(2), BTreeMap::from([(1, 2)]));
        assert!(few.group.remove(session(1)));
        assert!(few.group.is_empty());
    }
}
