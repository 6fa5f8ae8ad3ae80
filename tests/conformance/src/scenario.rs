//! Scenario files: a header, steps, and what each step must cause.
//!
//! ```text
//! scenario row_43_nobody_subscribes
//! # Row 43 [MQTT5-3.4.2-1]: why the expectations are what they are.
//! versions: 3.1.1 5
//! config: max_keepalive=60
//! settings: slow_store
//! show: capabilities reason-string
//! broken: a known fault, so that the scenario must fail until it is mended
//!
//! a connect id=a clean
//!     < connack
//! a publish t/1 qos=1 id=7 "hello"
//!     [3] < puback 7
//!     [5] < puback 7 no-matching-subscribers
//! advance 30s
//!     a < closed
//! ```
//!
//! A step is `NAME packet`, `NAME packet ; packet` (in one read), `NAME raw BYTES`, `NAME open`, `NAME cut`
//! (lost without a DISCONNECT), `advance TIME`, `store fails`, `store works` or `stop` (the broker ends gracefully). `[5]` or `[3]` (both
//! of version 3), `[3.1]`, `[3.1.1]` in front limits a step or an expectation to that version. Indented
//! lines say what comes out: `< packet` for the connection of the step, `NAME < packet` for another,
//! and `closed` when the broker closes. `key=*` in an expectation is any value.

use martlet_codec::Version;

use crate::notation;

/// A file of scenarios.
#[derive(Debug)]
pub struct File {
    /// The scenarios in their order.
    pub scenarios: Vec<Scenario>,
}

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name, unique in its file.
    pub name: String,
    /// The versions that it runs for.
    pub versions: Vec<Version>,
    /// Directives that differ from the defaults.
    pub config: Vec<(String, String)>,
    /// The settings of the harness that it is for; none: all.
    pub settings: Vec<String>,
    /// A known fault: the scenario must fail, and once it does not, this goes.
    pub broken: Option<String>,
    /// What is shown though it is hidden by default.
    pub show: Vec<String>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A step and its expectations.
#[derive(Debug)]
pub struct Step {
    /// The line's number, from 1.
    pub line: usize,
    /// The versions in which it happens.
    pub tag: Tag,
    /// The connection that acts.
    pub actor: Option<String>,
    /// What it does.
    pub action: String,
    /// What must come out.
    pub expected: Vec<Expected>,
}

/// A line of expected output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The line's number, from 1.
    pub line: usize,
    /// The versions in which it is expected.
    pub tag: Tag,
    /// The connection.
    pub conn: String,
    /// The packet, or `closed`.
    pub text: String,
}

/// A limit to some versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// In every version.
    All,
    /// In 3.1 and in 3.1.1.
    Three,
    /// In one.
    Only(Version),
}

impl Tag {
    /// Whether it lets the version through.
    pub fn allows(self, version: Version) -> bool {
        match self {
            Self::All => true,
            Self::Three => version != Version::V5,
            Self::Only(only) => version == only,
        }
    }

    fn split(line: &str) -> Result<(Self, &str), String> {
        let Some((tag, rest)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) else {
            return Ok((Self::All, line));
        };
        let tag = if tag == "3" {
            Self::Three
        } else {
            Self::Only(notation::version(tag)?)
        };
        Ok((tag, rest.trim_start()))
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Three => f.write_str("[3] "),
            Self::Only(Version::V5) => f.write_str("[5] "),
            Self::Only(version) => write!(f, "[{version}] "),
        }
    }
}

/// The words that start a step without a connection.
const WORLD: [&str; 3] = ["advance", "stop", "store"];

impl File {
    /// Parses a file; an error names its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scenarios: Vec<Scenario> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            parse_line(&mut scenarios, i + 1, line).map_err(|error| format!("line {}: {error}", i + 1))?;
        }
        Ok(Self { scenarios })
    }
}

fn parse_line(scenarios: &mut Vec<Scenario>, number: usize, line: &str) -> Result<(), String> {
    let text = line.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(());
    }
    if let Some(name) = text.strip_prefix("scenario ") {
        if scenarios.iter().any(|s| s.name == name) {
            return Err(format!("there is a scenario {name} already"));
        }
        scenarios.push(Scenario {
            name: name.to_owned(),
            versions: vec![Version::V3_1_1, Version::V5],
            config: Vec::new(),
            settings: Vec::new(),
            broken: None,
            show: Vec::new(),
            steps: Vec::new(),
        });
        return Ok(());
    }
    let scenario = scenarios.last_mut().ok_or("a line before the first scenario")?;
    if let Some(names) = text.strip_prefix("versions:") {
        scenario.versions = names
            .split_whitespace()
            .map(notation::version)
            .collect::<Result<_, _>>()?;
    } else if let Some(pairs) = text.strip_prefix("config:") {
        for pair in pairs.split_whitespace() {
            let (key, value) = pair.split_once('=').ok_or("config: key=value ...")?;
            scenario.config.push((key.to_owned(), value.to_owned()));
        }
    } else if let Some(names) = text.strip_prefix("settings:") {
        scenario
            .settings
            .extend(names.split_whitespace().map(str::to_owned));
    } else if let Some(fault) = text.strip_prefix("broken:") {
        scenario.broken = Some(fault.trim().to_owned());
    } else if let Some(names) = text.strip_prefix("show:") {
        scenario.show.extend(names.split_whitespace().map(str::to_owned));
    } else if line.starts_with(' ') {
        let step = scenario
            .steps
            .last_mut()
            .ok_or("an expectation before the first step")?;
        step.expected
            .push(expectation(number, text, step.actor.as_deref())?);
    } else {
        scenario.steps.push(step(number, text)?);
    }
    Ok(())
}

fn expectation(line: usize, text: &str, actor: Option<&str>) -> Result<Expected, String> {
    let (tag, text) = Tag::split(text)?;
    let (conn, text) = text
        .split_once('<')
        .ok_or("an expectation is 'NAME < packet' or '< packet'")?;
    let conn = match (conn.trim(), actor) {
        ("", Some(actor)) => actor,
        ("", None) => return Err("whose output? 'NAME < packet'".to_owned()),
        (conn, _) => conn,
    };
    Ok(Expected {
        line,
        tag,
        conn: conn.to_owned(),
        text: text.trim().to_owned(),
    })
}

fn step(line: usize, text: &str) -> Result<Step, String> {
    let (tag, text) = Tag::split(text)?;
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (actor, action) = if WORLD.contains(&first) {
        (None, text)
    } else {
        if rest.is_empty() {
            return Err(format!("what does {first:?} do?"));
        }
        (Some(first.to_owned()), rest.trim())
    };
    Ok(Step {
        line,
        tag,
        actor,
        action: action.to_owned(),
        expected: Vec::new(),
    })
}

/// The file's text with new expectations: for each step's line those that replace its own.
pub fn rewrite(text: &str, file: &File, new: &[(usize, Vec<Expected>)]) -> String {
    let steps = || file.scenarios.iter().flat_map(|s| &s.steps);
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        let of = steps().find(|s| s.expected.iter().any(|e| e.line == number));
        if of.is_some_and(|step| new.iter().any(|(line, _)| *line == step.line)) {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let Some((_, expected)) = new.iter().find(|(line, _)| *line == number) else {
            continue;
        };
        let actor = steps()
            .find(|s| s.line == number)
            .and_then(|s| s.actor.as_deref());
        for e in expected {
            let conn = if actor == Some(e.conn.as_str()) {
                String::new()
            } else {
                format!("{} ", e.conn)
            };
            out.extend(["    ", &e.tag.to_string(), &conn, "< ", &e.text, "\n"]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Theme.
scenario one
# Row 1.
versions: 3.1 5
a connect id=a
    < connack
    [5] b < closed
[3] advance 30s
    b < pingresp

scenario two
stop
";

    #[test]
    fn a_file_is_parsed() {
        let file = File::parse(TEXT).unwrap();
        assert_eq!(file.scenarios.len(), 2);
        let one = &file.scenarios[0];
        assert_eq!(one.versions, [Version::V3_1, Version::V5]);
        assert_eq!(
            (one.steps[0].actor.as_deref(), one.steps[0].action.as_str()),
            (Some("a"), "connect id=a")
        );
        let expected: Vec<_> = one.steps[0]
            .expected
            .iter()
            .map(|e| (e.tag, e.conn.as_str(), e.text.as_str()))
            .collect();
        assert_eq!(
            expected,
            [
                (Tag::All, "a", "connack"),
                (Tag::Only(Version::V5), "b", "closed")
            ]
        );
        assert_eq!(
            (one.steps[1].tag, one.steps[1].actor.as_deref()),
            (Tag::Three, None)
        );
        assert_eq!(file.scenarios[1].versions, [Version::V3_1_1, Version::V5]);
        for bad in [
            "a connect",
            "scenario x\n    < connack",
            "scenario x\nstop\n    < y",
            "scenario x\nscenario x",
        ] {
            assert!(File::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_changed_is_rewritten() {
        let file = File::parse(TEXT).unwrap();
        assert_eq!(rewrite(TEXT, &file, &[]), TEXT);
        let expected = Expected {
            line: 0,
            tag: Tag::Three,
            conn: "a".to_owned(),
            text: "connack session".to_owned(),
        };
        let got = rewrite(TEXT, &file, &[(5, vec![expected])]);
        assert_eq!(
            got,
            TEXT.replace(
                "    < connack\n    [5] b < closed\n",
                "    [3] < connack session\n"
            )
        );
    }
}
