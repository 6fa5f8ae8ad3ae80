//! Plays a scenario and compares what came out with what was expected.

use std::collections::BTreeMap;

use martlet_codec::{Decoded, Limits, Packet, PropertyId, Version};

use crate::scenario::{Expected, Scenario, Step, Tag};
use crate::{Harness, bytes, lex, notation};

/// What a step caused, connection by connection in the order of their names.
pub type Output = BTreeMap<String, Vec<String>>;

/// A step whose output is not what was expected.
#[derive(Debug)]
pub struct Mismatch {
    /// The step's line.
    pub line: usize,
    /// The differences, line by line.
    pub diff: String,
}

/// What a run gave: the output of each step by its line, and where it differed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Each step that took place.
    pub outputs: Vec<(usize, Output)>,
    /// Those that differed.
    pub mismatches: Vec<Mismatch>,
}

impl Outcome {
    /// The report of a failure, `None` when all was as expected.
    pub fn report(&self, file: &str) -> Option<String> {
        if self.mismatches.is_empty() {
            return None;
        }
        let each = self
            .mismatches
            .iter()
            .map(|m| format!("{file}:{}: {}", m.line, m.diff));
        Some(format!(
            "- expected, + came\n{}",
            each.collect::<Vec<_>>().join("\n")
        ))
    }
}

/// Plays the scenario in that version. `Err` is a mistake in the file, with its line.
pub fn run(scenario: &Scenario, version: Version, harness: &mut dyn Harness) -> Result<Outcome, String> {
    let mut player = Player {
        scenario,
        version,
        harness,
        conns: BTreeMap::new(),
    };
    let mut outcome = Outcome::default();
    for step in scenario.steps.iter().filter(|s| s.tag.allows(version)) {
        let _where = Where {
            scenario: &scenario.name,
            line: step.line,
        };
        player
            .act(step)
            .map_err(|error| format!("line {}: {error}", step.line))?;
        let output = player.collect();
        if let Some(diff) = differ(step, version, &output) {
            outcome.mismatches.push(Mismatch {
                line: step.line,
                diff,
            });
        }
        outcome.outputs.push((step.line, output));
    }
    Ok(outcome)
}

/// Says which step it was when the broker panics.
struct Where<'a> {
    scenario: &'a str,
    line: usize,
}

impl Drop for Where<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the panic came in scenario {}, line {}", self.scenario, self.line);
        }
    }
}

struct Player<'a> {
    scenario: &'a Scenario,
    version: Version,
    harness: &'a mut dyn Harness,
    conns: BTreeMap<String, Conn>,
}

/// A connection as the client sees it.
struct Conn {
    id: usize,
    /// In which version its output reads; known once it sent a CONNECT.
    version: Version,
    asked: bool,
    unread: Vec<u8>,
    gone: bool,
}

impl Player<'_> {
    fn act(&mut self, step: &Step) -> Result<(), String> {
        let Some(actor) = &step.actor else {
            return self.world(&step.action);
        };
        if step.action == "open" {
            self.open(actor);
            return Ok(());
        }
        if step.action == "cut" {
            let conn = self
                .conns
                .get_mut(actor)
                .filter(|c| !c.gone)
                .ok_or(format!("{actor} is not connected"))?;
            conn.gone = true;
            self.harness.cut(conn.id);
            return Ok(());
        }
        let live = self.conns.get(actor).filter(|c| !c.gone);
        let (sent, opens) = sent(&step.action, live.map_or(self.version, |c| c.version))?;
        if live.is_none() {
            if !opens {
                return Err(format!("{actor} is not connected"));
            }
            self.open(actor);
        }
        let conn = self.conns.get_mut(actor).expect("it was opened");
        if !conn.asked {
            conn.version = asked(&sent).unwrap_or(self.version);
            conn.asked = !sent.is_empty();
        }
        self.harness.bytes(conn.id, &sent);
        Ok(())
    }

    fn open(&mut self, name: &str) {
        let id = self.harness.open();
        let conn = Conn {
            id,
            version: self.version,
            asked: false,
            unread: Vec::new(),
            gone: false,
        };
        self.conns.insert(name.to_owned(), conn);
    }

    fn world(&mut self, action: &str) -> Result<(), String> {
        match action.split_once(' ') {
            None if action == "stop" => self.harness.stop(),
            Some(("store", what @ ("fails" | "works"))) => self.harness.store_fails(what == "fails"),
            Some(("advance", time)) => self.harness.advance(milliseconds(time)?),
            _ => return Err(format!("{action:?} is no step")),
        }
        Ok(())
    }

    /// What every connection got since the last step.
    fn collect(&mut self) -> Output {
        let mut output = Output::new();
        for (name, conn) in self.conns.iter_mut().filter(|(_, c)| !c.gone) {
            conn.unread.extend(self.harness.output(conn.id));
            let mut lines = conn.read(&self.scenario.show);
            if self.harness.closed(conn.id) {
                if !conn.unread.is_empty() {
                    lines.push(format!("raw {}", bytes::write(&conn.unread)));
                }
                lines.push("closed".to_owned());
                conn.gone = true;
            }
            if !lines.is_empty() {
                output.insert(name.clone(), lines);
            }
        }
        output
    }
}

/// The bytes of an action, and whether they may open a connection.
fn sent(action: &str, mut version: Version) -> Result<(Vec<u8>, bool), String> {
    if let Some(raw) = action.strip_prefix("raw ") {
        return Ok((bytes::parse(raw)?, true));
    }
    let words = lex::words(action)?;
    let mut sent = Vec::new();
    for packet in words.split(|w| w.is(";")) {
        if packet.first().is_some_and(|w| w.is("raw")) {
            return Err("'raw' stands alone".to_owned());
        }
        let bytes = notation::encode(packet, version)?;
        version = asked(&bytes).unwrap_or(version);
        sent.extend(bytes);
    }
    Ok((sent, words[0].is("connect")))
}

/// The version in which the answer to a CONNECT reads, as far as it can be told.
fn asked(sent: &[u8]) -> Option<Version> {
    match Packet::decode(sent, None, &Limits::NONE) {
        Ok(Decoded::Packet(Packet::Connect(connect), _)) => Some(connect.version),
        Ok(_) => None,
        Err(fault) => fault.version,
    }
}

impl Conn {
    fn read(&mut self, show: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match Packet::decode(&self.unread, Some(self.version), &Limits::NONE) {
                Ok(Decoded::Packet(packet, n)) => {
                    lines.push(notation::line_of_shown(&packet, &|id| shown(&packet, id, show)));
                    self.unread.drain(..n);
                }
                Ok(Decoded::Incomplete { .. }) => return lines,
                Err(fault) => {
                    lines.push(format!("raw {} ({fault})", bytes::write(&self.unread)));
                    self.unread.clear();
                }
            }
        }
    }
}

/// What of a packet stands in the text: reason strings and what CONNACK announces in every connection
/// would drown the rest.
fn shown(packet: &Packet<'_>, id: PropertyId, show: &[String]) -> bool {
    use PropertyId::{MaximumPacketSize, ReasonString, ReceiveMaximum, TopicAliasMaximum};
    let asked = |what: &str| show.iter().any(|s| s == what);
    match (packet, id) {
        (_, ReasonString) => asked("reason-string"),
        (Packet::ConnAck(_), MaximumPacketSize | ReceiveMaximum | TopicAliasMaximum) => asked("capabilities"),
        _ => true,
    }
}

/// `30s`, `500ms`, `10m`, `2h`, `1d`.
fn milliseconds(time: &str) -> Result<u64, String> {
    let digits = time.find(|c: char| !c.is_ascii_digit()).unwrap_or(time.len());
    let (number, unit) = time.split_at(digits);
    let per = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{time:?} is no time: 500ms, 30s, 10m, 2h or 1d")),
    };
    number
        .parse::<u64>()
        .map(|n| n * per)
        .map_err(|_| format!("{time:?} is no time"))
}

/// The differences between what a step was to cause and what it caused.
fn differ(step: &Step, version: Version, output: &Output) -> Option<String> {
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for e in step.expected.iter().filter(|e| e.tag.allows(version)) {
        expected.entry(&e.conn).or_default().push(&e.text);
    }
    let none = Vec::new();
    let mut diff = String::new();
    let names: std::collections::BTreeSet<&str> = expected
        .keys()
        .copied()
        .chain(output.keys().map(String::as_str))
        .collect();
    for name in names {
        let wanted = expected.get(name).cloned().unwrap_or_default();
        let came = output.get(name).unwrap_or(&none);
        if wanted.len() == came.len() && wanted.iter().zip(came).all(|(w, c)| same(w, c)) {
            continue;
        }
        for line in wanted {
            diff.extend(["\n    - ", name, " < ", line]);
        }
        for line in came {
            diff.extend(["\n    + ", name, " < ", line]);
        }
    }
    let actor = step.actor.as_deref().map(|a| format!("{a} ")).unwrap_or_default();
    (!diff.is_empty()).then(|| format!("{actor}{}{diff}", step.action))
}

/// Equal but for `key=*`, which is any value.
fn same(expected: &str, came: &str) -> bool {
    if expected == came {
        return true;
    }
    let (Ok(expected), Ok(came)) = (lex::words(expected), lex::words(came)) else {
        return false;
    };
    expected.len() == came.len()
        && expected.iter().zip(&came).all(|(e, c)| {
            let any = e.key.is_some() && !e.quoted && e.value == b"*";
            e.key == c.key && (any || e.value == c.value)
        })
}

/// The expectations that would make the step's outputs in all versions right, tagged where those differ.
pub fn expectations(outputs: &[(Version, Output)]) -> Vec<Expected> {
    let expected = |tag, conn: &str, text: &str| Expected {
        line: 0,
        tag,
        conn: conn.to_owned(),
        text: text.to_owned(),
    };
    let names: std::collections::BTreeSet<&String> = outputs.iter().flat_map(|(_, o)| o.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let none = Vec::new();
        let each: Vec<_> = outputs
            .iter()
            .map(|(v, o)| (*v, o.get(name).unwrap_or(&none)))
            .collect();
        if each.iter().all(|(_, lines)| *lines == each[0].1) {
            lines.extend(each[0].1.iter().map(|text| expected(Tag::All, name, text)));
            continue;
        }
        for (version, texts) in each {
            lines.extend(texts.iter().map(|text| expected(Tag::Only(version), name, text)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::File;

    /// Answers each CONNECT, echoes a PUBLISH of QoS 0 and closes on DISCONNECT.
    #[derive(Default)]
    struct Echo {
        conns: Vec<(Option<Version>, Vec<u8>, bool)>,
    }

    impl Harness for Echo {
        fn open(&mut self) -> usize {
            self.conns.push((None, Vec::new(), false));
            self.conns.len() - 1
        }

        fn bytes(&mut self, conn: usize, mut bytes: &[u8]) {
            let (version, out, closed) = &mut self.conns[conn];
            while let Ok(Decoded::Packet(packet, n)) = Packet::decode(bytes, *version, &Limits::NONE) {
                bytes = &bytes[n..];
                match packet {
                    Packet::Connect(connect) => {
                        *version = Some(connect.version);
                        out.extend(notation::parse("connack", connect.version).unwrap());
                    }
                    Packet::Disconnect(_) => *closed = true,
                    other => other.encode(version.unwrap(), out),
                }
            }
        }

        fn cut(&mut self, conn: usize) {
            self.conns[conn].2 = true;
        }

        fn advance(&mut self, ms: u64) {
            assert_eq!(ms, 1_500);
        }

        fn stop(&mut self) {}

        fn store_fails(&mut self, _: bool) {}

        fn output(&mut self, conn: usize) -> Vec<u8> {
            std::mem::take(&mut self.conns[conn].1)
        }

        fn closed(&self, conn: usize) -> bool {
            self.conns[conn].2
        }
    }

    const GOOD: &str = "\
scenario echo
a connect id=a
    < connack
a publish t content-type=x \"1\" ; pingreq
    [3] < publish t \"1\"
    [5] < publish t content-type=* \"1\"
    < pingreq
advance 1500ms
b connect id=b v=3.1
    < connack
[5] b cut
a raw e0 00
    < closed
";

    #[test]
    fn as_expected() {
        let file = File::parse(GOOD).unwrap();
        for version in [Version::V3_1_1, Version::V5] {
            let outcome = run(&file.scenarios[0], version, &mut Echo::default()).unwrap();
            assert_eq!(outcome.report("f"), None);
        }
    }

    #[test]
    fn a_difference_is_shown_and_rewritten() {
        let text = GOOD
            .replace("    < pingreq\n", "    < pingresp\n    b < closed\n")
            .replace("type=*", "type=y");
        let file = File::parse(&text).unwrap();
        let outcome = run(&file.scenarios[0], Version::V3_1_1, &mut Echo::default()).unwrap();
        let report = outcome.report("f.txt").unwrap();
        assert!(report.contains("f.txt:4: a publish t content-type=x"), "{report}");
        assert!(
            report.contains("- a < pingresp\n    + a < publish t \"1\"\n    + a < pingreq\n    - b < closed")
        );

        let outputs: Vec<_> = [Version::V3_1_1, Version::V5]
            .into_iter()
            .map(|v| {
                (
                    v,
                    run(&file.scenarios[0], v, &mut Echo::default())
                        .unwrap()
                        .outputs
                        .swap_remove(1)
                        .1,
                )
            })
            .collect();
        let got = crate::scenario::rewrite(&text, &file, &[(4, expectations(&outputs))]);
        assert!(got.contains(
            "    [3.1.1] < publish t \"1\"\n    [3.1.1] < pingreq\n    [5] < publish t content-type=x \"1\"\n"
        ));
        assert!(!got.contains("b < closed"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (step, mistake) in [
            ("a pingreq", "a is not connected"),
            ("a publish + \"\"", "no topic name"),
            ("advance 3", "no time"),
            ("a connect id=a x", "means nothing here"),
        ] {
            let file = File::parse(&format!("scenario x\n{step}\n")).unwrap();
            let error = run(&file.scenarios[0], Version::V5, &mut Echo::default()).unwrap_err();
            assert!(
                error.starts_with("line 2: ") && error.contains(mistake),
                "{error}"
            );
        }
    }
}
