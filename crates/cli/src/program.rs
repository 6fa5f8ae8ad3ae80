//! Which program runs, and whose manners it has.

/// One of the three clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Pub,
    Sub,
    Rr,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Pub, Self::Sub, Self::Rr];

    /// The subcommand.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Sub => "sub",
            Self::Rr => "rr",
        }
    }

    /// mosquitto's program of that kind, which is also the name of the default options file.
    pub(crate) const fn mosquitto(self) -> &'static str {
        match self {
            Self::Pub => "mosquitto_pub",
            Self::Sub => "mosquitto_sub",
            Self::Rr => "mosquitto_rr",
        }
    }

    /// One sentence about it.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Pub => "Publish messages to a topic",
            Self::Sub => "Subscribe to topics and print the messages",
            Self::Rr => "Publish a request and print the response",
        }
    }

    /// What mosquitto's program says about itself.
    pub(crate) const fn mosquitto_about(self) -> &'static str {
        match self {
            Self::Pub => {
                "mosquitto_pub is a simple mqtt client that will publish a message on a single topic and exit."
            }
            Self::Sub => {
                "mosquitto_sub is a simple mqtt client that will subscribe to a set of topics and print all \
                 messages it receives."
            }
            Self::Rr => {
                "mosquitto_rr is an mqtt client that can be used to publish a request message and wait for a response."
            }
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// The program that a link to this binary is named after.
    pub(crate) fn from_link(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.mosquitto() == name)
    }
}

/// Whose texts, exit codes and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `martlet pub`: 5.0 with a fallback, errors that say what to do.
    Martlet,
    /// A link named `mosquitto_pub`: as that program.
    Mosquitto,
}

/// A program in a manner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) program: Program,
    pub(crate) manner: Manner,
}

impl Role {
    /// What the user typed to start it.
    pub(crate) fn typed(self) -> String {
        match self.manner {
            Manner::Martlet => format!("martlet {}", self.program.name()),
            Manner::Mosquitto => self.program.mosquitto().to_owned(),
        }
    }

    /// What `--version` prints.
    pub(crate) fn version(self) -> String {
        let ours = env!("CARGO_PKG_VERSION");
        match self.manner {
            Manner::Martlet => format!("martlet {ours}\n"),
            Manner::Mosquitto => format!(
                "{} version {MOSQUITTO_VERSION} running on martlet {ours}.\n",
                self.program.mosquitto()
            ),
        }
    }

    pub(crate) const fn is_mosquitto(self) -> bool {
        matches!(self.manner, Manner::Mosquitto)
    }
}

/// The version of mosquitto whose options these are.
const MOSQUITTO_VERSION: &str = "2.1.2";
