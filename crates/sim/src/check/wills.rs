//! A will is published once if its connection is lost, and not after DISCONNECT or if the client comes back in time.

use martlet_codec::Qos;

use super::Found;
use super::view::{Conn, End, UNREADABLE, View};
use crate::history::{Fact, LOST, MessageNo};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    // Who listens is there until then.
    let rested_ms = view.rested_ms();
    for conn in view.conns.values() {
        let (Some(will), Some(end)) = (conn.will, conn.ended) else {
            continue;
        };
        if end.by_crash || conn.accepted.is_none() || end.ms >= rested_ms {
            continue;
        }
        let client = conn.client;
        if !end.has_will && !conn.is_confirmed {
            continue; // it was ended before its client was told that it is connected
        }
        if !end.has_will {
            found.of_message(
                will.message,
                client,
                format!("the will m{} was forgotten", will.message),
            );
            continue;
        }
        let count = heard(view, will.message, end.ms);
        let is_cancelled = end.by_goodbye || comes_back(view, conn, end, end.ms + will.delay_ms);
        // Nobody is promised that the goodbye survives a crash.
        let may_be_lost =
            crashes_after(view, end.ms, will.delay_ms) || comes_back_late(view, conn, end, will.delay_ms);
        if is_cancelled && !may_be_lost && count.is_some_and(|count| count > 0) {
            let what = format!(
                "the will m{} was published and should not have been",
                will.message
            );
            found.of_message(will.message, client, what);
        }
        // Nobody waits for a will to be stored.
        let may_be_lost = may_be_lost || view.store_refused();
        if !is_cancelled && !may_be_lost && count == Some(0) && !was_dropped(view, will.message) {
            let what = format!("the will m{} was not published", will.message);
            found.of_message(will.message, client, what);
        }
    }
}

/// How often one who certainly listened heard it; none: nobody did.
fn heard(view: &View<'_>, will: MessageNo, from_ms: u64) -> Option<usize> {
    let topic = &view.history.message(will).topic;
    let listens = |client: &&usize| {
        view.matching(view.last[*client], topic)
            .any(|s| s.qos > Qos::AtMostOnce && s.is_certain(from_ms, u64::MAX - 1))
    };
    let listener = view.last.keys().find(listens)?;
    let hears = |r: &&super::view::Receipt<'_>| r.client == *listener && r.message == will && r.is_new;
    Some(view.receipts.iter().filter(hears).count())
}

/// Whether a message of its topic was dropped and counted, or one that was not stored and that nobody knows the topic of.
fn was_dropped(view: &View<'_>, will: MessageNo) -> bool {
    let will_topic = &view.history.message(will).topic;
    view.history.facts.iter().any(|at| match &at.fact {
        Fact::BrokerDropped { topic, reason, .. } => {
            topic.as_ref() == Some(will_topic) || reason == UNREADABLE || reason == LOST
        }
        _ => false,
    })
}

/// Whether the session goes on before the will is due.
fn comes_back(view: &View<'_>, conn: &Conn, end: End, due_ms: u64) -> bool {
    next_accepted(view, conn, end).is_some_and(|(ms, is_present)| is_present && ms < due_ms)
}

/// Whether it goes on in the very moment in which the will is due.
fn comes_back_late(view: &View<'_>, conn: &Conn, end: End, delay_ms: u64) -> bool {
    delay_ms > 0
        && next_accepted(view, conn, end)
            .is_some_and(|(ms, is_present)| is_present && ms == end.ms + delay_ms)
}

fn next_accepted(view: &View<'_>, conn: &Conn, end: End) -> Option<(u64, bool)> {
    let of_client = view.conns.values().filter(|other| other.client == conn.client);
    let accepted = of_client.filter_map(|other| other.accepted);
    accepted
        .filter(|accepted| Some(*accepted) != conn.accepted && accepted.0 >= end.ms)
        .min()
}

fn crashes_after(view: &View<'_>, from_ms: u64, delay_ms: u64) -> bool {
    // What the crash found on its way from the broker to its store.
    const SLACK_MS: u64 = 10_000;
    view.history.facts.iter().any(|at| {
        matches!(at.fact, Fact::Crashed { .. }) && (from_ms..from_ms + delay_ms + SLACK_MS).contains(&at.ms)
    })
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;

    #[test]
    fn finds_a_will_that_was_not_published() {
        let mut hand = ByHand::mortal();
        hand.lose_mortal();
        hand.rest();
        assert_eq!(hand.count_by("wills"), 1);
    }

    #[test]
    fn finds_a_will_after_goodbye() {
        let mut hand = ByHand::mortal();
        hand.say_goodbye();
        hand.hear_will();
        hand.rest();
        assert_eq!(hand.count_by("wills"), 1);
    }

    #[test]
    fn finds_a_will_that_comes_twice() {
        let mut hand = ByHand::mortal();
        hand.lose_mortal();
        hand.hear_will();
        hand.rest();
        assert_eq!((hand.count_by("wills"), hand.count_by("once")), (0, 0));
        hand.hear_will();
        assert_eq!(hand.count_by("once"), 1);
    }
}
