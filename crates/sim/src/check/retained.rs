//! Who reads what is retained gets, of each topic, a message that may have been the last when it was read.

use std::collections::BTreeMap;

use super::Found;
use super::view::View;
use crate::history::{ConnNo, Fact, MessageNo};

/// A retained message: from then on it may be there, and from then on what was there before is certainly gone.
struct Write {
    message: MessageNo,
    from_ms: u64,
    /// None: it may not have come yet, and may still come.
    done_ms: Option<u64>,
    clears: bool,
}

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let writes = writes(view);
    for (client, conn, from_ms, to_ms) in reads(view) {
        for (topic, writes) in &writes {
            let got = view
                .receipts
                .iter()
                .find(|r| r.conn == conn && r.retain && r.topic == *topic && r.ms <= to_ms);
            let got = got.map(|receipt| receipt.message);
            let is_late = got.is_none() && view.history.has_small_output;
            if !is_late && !may_be_last(writes, got, from_ms, to_ms) {
                let what = match got {
                    Some(message) => format!("#{conn} read m{message} on {topic}, which is not the last"),
                    None => format!("#{conn} read nothing on {topic}"),
                };
                found.add(got, Some(client), what);
            }
        }
    }
}

fn writes<'a>(view: &View<'a>) -> BTreeMap<&'a str, Vec<Write>> {
    let mut writes: BTreeMap<&str, Vec<Write>> = BTreeMap::new();
    for (&message, sent) in &view.sent {
        let said = view.history.message(message);
        if said.retain {
            writes.entry(&said.topic).or_default().push(Write {
                message,
                from_ms: sent.first_ms,
                done_ms: sent.promised_ms,
                clears: said.clears,
            });
        }
    }
    writes
}

/// Client, connection, and from when to when it read.
fn reads(view: &View<'_>) -> Vec<(usize, ConnNo, u64, u64)> {
    let mut begun = BTreeMap::new();
    let mut reads = Vec::new();
    for at in &view.history.facts {
        match &at.fact {
            Fact::Subscribing { conn, .. } => _ = begun.entry(*conn).or_insert(at.ms),
            Fact::Read { client, conn } => reads.push((*client, *conn, begun[conn], at.ms)),
            _ => {}
        }
    }
    reads
}

/// Whether `got` may have been the last message in the time of a read.
fn may_be_last(writes: &[Write], got: Option<MessageNo>, from_ms: u64, to_ms: u64) -> bool {
    let is_over = |write: &Write| {
        writes.iter().any(|later| {
            later.message != write.message
                && write.done_ms.is_some_and(|done_ms| done_ms < later.from_ms)
                && later.done_ms.is_some_and(|done_ms| done_ms < from_ms)
        })
    };
    let may_have_been = |write: &Write| write.from_ms <= to_ms && !is_over(write);
    if let Some(got) = got {
        return writes
            .iter()
            .any(|write| write.message == got && !write.clears && may_have_been(write));
    }
    let is_before = |write: &Write| write.done_ms.is_some_and(|done_ms| done_ms < from_ms);
    !writes.iter().any(is_before) || writes.iter().any(|write| write.clears && may_have_been(write))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(message: MessageNo, from_ms: u64, done_ms: Option<u64>) -> Write {
        Write {
            message,
            from_ms,
            done_ms,
            clears: false,
        }
    }

    #[test]
    fn finds_an_older_message() {
        let writes = [write(1, 10, Some(20)), write(2, 30, Some(40))];
        assert!(may_be_last(&writes, Some(2), 50, 60));
        assert!(!may_be_last(&writes, Some(1), 50, 60));
        assert!(!may_be_last(&writes, None, 50, 60));
        assert!(
            may_be_last(&writes, Some(1), 35, 60),
            "the later one may not have come"
        );
    }

    #[test]
    fn one_that_is_not_acknowledged_may_come_or_not() {
        let writes = [write(1, 10, Some(20)), write(2, 30, None)];
        assert!(may_be_last(&writes, Some(2), 50, 60) && may_be_last(&writes, Some(1), 50, 60));
    }

    #[test]
    fn finds_what_was_cleared() {
        let mut writes = [write(1, 10, Some(20)), write(2, 30, Some(40))];
        writes[1].clears = true;
        assert!(may_be_last(&writes, None, 50, 60));
        assert!(!may_be_last(&writes, Some(1), 50, 60));
    }
}
