//! The users of a file.

use std::collections::BTreeMap;
use std::hint::black_box;

use sha2::{Digest, Sha512};

use crate::hash::PasswordHash;
use crate::limits::FAULTS_MAX;
use crate::line::{Fault, LineError, lines, parts};

/// Users with the hashes of their passwords. By default there are none, and nobody is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// By name.
    list: Vec<(Box<str>, PasswordHash)>,
}

/// What became of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is that user.
    Accepted,
    /// There is no user of that name.
    UnknownUser,
    /// There is, with another password.
    WrongPassword,
}

/// All that is wrong with a file; at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// In the order of the lines.
    pub list: Vec<Fault>,
    /// Further ones that were not kept.
    pub more: usize,
}

impl Users {
    /// Reads a file: lines `name:hash`, empty ones, and comments with `#` as their first character. With one line that
    /// makes no sense there are no users at all.
    pub fn read(bytes: &[u8]) -> Result<Self, Faults> {
        let mut faults = Faults {
            list: Vec::new(),
            more: 0,
        };
        let mut users: BTreeMap<Box<str>, (usize, PasswordHash)> = BTreeMap::new();
        for (line, number) in lines(bytes).zip(1..) {
            let added = user(line).and_then(|user| {
                let Some((name, hash)) = user else {
                    return Ok(());
                };
                if let Some((first, _)) = users.get(name) {
                    return Err(LineError::Twice {
                        name: name.to_owned(),
                        first: *first,
                    });
                }
                users.insert(name.into(), (number, hash));
                Ok(())
            });
            if let Err(error) = added {
                faults.add(number, error);
            }
        }
        if !faults.list.is_empty() {
            return Err(faults);
        }
        let list = users.into_iter().map(|(name, (_, hash))| (name, hash));
        Ok(Self { list: list.collect() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether that is the password of that user. An unknown user costs a hash too: that of a user whom its name
    /// chooses, so that the time tells nothing even where users have hashes of several kinds.
    pub fn check(&self, name: &str, password: &[u8]) -> Verdict {
        let stand_in = self.stand_in(name);
        if let Some(hash) = self.hash(name) {
            return if hash.verify(password) {
                Verdict::Accepted
            } else {
                Verdict::WrongPassword
            };
        }
        if let Some(hash) = stand_in {
            black_box(hash.verify(password));
        }
        Verdict::UnknownUser
    }

    fn hash(&self, name: &str) -> Option<&PasswordHash> {
        let at = self
            .list
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(&self.list[at].1)
    }

    /// Always the same user for the same name; which one cannot be told without the file.
    fn stand_in(&self, name: &str) -> Option<&PasswordHash> {
        let (_, first) = self.list.first()?;
        let chosen = Sha512::new()
            .chain_update(first.digest())
            .chain_update(name)
            .finalize();
        let chosen = chosen.iter().fold(0_u64, |number, byte| {
            number.wrapping_mul(257).wrapping_add(u64::from(*byte))
        });
        let at = chosen % self.list.len() as u64;
        Some(&self.list[at as usize].1)
    }

    /// Users who are not in `next`, or have another hash there: whoever came in as one of them could not be sure to
    /// come in again.
    pub fn changed_in<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = &'a str> {
        self.list
            .iter()
            .filter(move |(name, hash)| next.hash(name) != Some(hash))
            .map(|(name, _)| &**name)
    }
}

/// The user of a line.
fn user(line: &[u8]) -> Result<Option<(&str, PasswordHash)>, LineError> {
    let Some(parts) = parts(line)? else {
        return Ok(None);
    };
    Ok(Some((parts.name, parts.hash()?)))
}

impl Faults {
    fn add(&mut self, line: usize, error: LineError) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(Fault { line, error });
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Scheme;

    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", hash(password))
    }

    fn hash(password: &str) -> PasswordHash {
        PasswordHash::new(Scheme::Sha512, password.as_bytes(), b"saltsaltsalt")
    }

    fn read(text: &str) -> Users {
        Users::read(text.as_bytes()).unwrap()
    }

    /// The first fault of a file.
    fn fault(text: impl AsRef<[u8]>) -> String {
        Users::read(text.as_ref()).unwrap_err().list[0].to_string()
    }

    #[test]
    fn users_comments_and_empty_lines() {
        let text = format!(
            "\u{feff}# our users\n\n{}  \t\r\n bob \t: {}\r\n#carol:secret\n",
            line("alice", "one"),
            hash("two")
        );
        let users = read(&text);
        assert_eq!(users.len(), 2);
        assert_eq!(users.check("alice", b"one"), Verdict::Accepted);
        assert_eq!(users.check("alice", b"two"), Verdict::WrongPassword);
        assert_eq!(users.check("bob", b"two"), Verdict::Accepted);
        assert_eq!(users.check("Bob", b"two"), Verdict::UnknownUser);
        assert_eq!(users.check("carol", b"secret"), Verdict::UnknownUser);
        assert_eq!(users.check("", b""), Verdict::UnknownUser);
    }

    #[test]
    fn a_file_without_users_lets_nobody_in() {
        for text in ["", "\n", "# nobody\n"] {
            let users = read(text);
            assert!(users.is_empty());
            assert_eq!(users.check("alice", b""), Verdict::UnknownUser);
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_and_lets_nobody_in() {
        let good = line("alice", "one");
        let table = [
            (
                format!("{good}bob"),
                "line 2: a line is NAME:HASH, and this one has no colon",
            ),
            (
                format!("{good}bob:"),
                "line 2: user 'bob' has no password behind the colon",
            ),
            (
                format!("{good}bob: \t"),
                "line 2: user 'bob' has no password behind the colon",
            ),
            (
                format!("{good}:{}", hash("x")),
                "line 2: the name of the user is empty",
            ),
            (
                format!("bob:secret\n{good}"),
                "line 1: the password of user 'bob' is plain text",
            ),
            (
                "bob:$5$abc$def".into(),
                "line 1: the hash of user 'bob' cannot be read: its method is not known; $6$, $7$ and $argon2id$ are",
            ),
            (
                format!("bob:{}:more", hash("x")),
                "line 1: the hash of user 'bob' cannot be read: its hash is not base64",
            ),
            (
                format!("{good}\n{good}"),
                "line 3: user 'alice' has a line already, line 1",
            ),
            (
                format!("a\u{1}b:{}", hash("x")),
                "line 1: the name of a user cannot have control characters in it",
            ),
            (
                format!("{}:{}", "x".repeat(65_536), hash("x")),
                "line 1: the name of the user has more than 65535 bytes",
            ),
            (
                "x".repeat(200_000),
                "line 1: the line has 200000 bytes; at most 131072 are read",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(fault(&text), expected);
        }
        assert_eq!(fault(b"bob\xff:x"), "line 1: the line is not UTF-8");
    }

    #[test]
    fn all_faults_are_told_up_to_a_limit() {
        let faults = Users::read("x\n".repeat(FAULTS_MAX + 3).as_bytes()).unwrap_err();
        assert_eq!((faults.list.len(), faults.more), (FAULTS_MAX, 3));
    }

    #[test]
    fn who_changed() {
        let old = read(&(line("alice", "one") + &line("bob", "two") + &line("carol", "three")));
        let new = read(&(line("alice", "one") + &line("bob", "other") + &line("dave", "four")));
        assert_eq!(old.changed_in(&new).collect::<Vec<_>>(), ["bob", "carol"]);
        assert_eq!(new.changed_in(&old).collect::<Vec<_>>(), ["bob", "dave"]);
        assert_eq!(old.changed_in(&old).count(), 0);
    }

    #[test]
    fn a_stand_in_is_steady_and_not_always_the_same() {
        let users = read(
            &(0..50)
                .map(|n| line(&format!("u{n}"), &n.to_string()))
                .collect::<String>(),
        );
        let chosen: Vec<_> = (0..100)
            .map(|n| users.stand_in(&format!("x{n}")).unwrap().to_string())
            .collect();
        let distinct: std::collections::BTreeSet<_> = chosen.iter().collect();
        assert!(distinct.len() > 20, "{}", distinct.len());
        assert_eq!(chosen[7], users.stand_in("x7").unwrap().to_string());
    }

    proptest! {
        #[test]
        fn any_bytes_are_users_or_faults(bytes in proptest::collection::vec(prop_oneof![Just(b':'), Just(b'\n'), Just(b'$'), any::<u8>()], 0..200)) {
            match Users::read(&bytes) {
                // Nothing that short holds a hash.
                Ok(users) => prop_assert!(users.is_empty()),
                Err(faults) => prop_assert!(!faults.list.is_empty()),
            }
        }
    }
}
