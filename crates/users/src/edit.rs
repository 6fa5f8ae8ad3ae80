//! Changes to a password file that leave all other lines as they are, comments and broken ones too.

use std::borrow::Cow;

use crate::hash::{HashError, PasswordHash};
use crate::line::{Fault, LineError, Parts, parts, without_mark};

/// A file after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// The lines that were changed or taken out; 0: none was there.
    pub lines: usize,
}

/// Gives a user that hash: in its line, else in a new one at the end. If it has several lines, one is left.
pub fn set(file: &[u8], name: &str, hash: &PasswordHash) -> Edited {
    let line = format!("{name}:{hash}");
    let mut lines = 0;
    let mut bytes = rewritten(file, |old| {
        if !is_of(old, name) {
            return Some(old.into());
        }
        lines += 1;
        (lines == 1).then(|| line.clone().into_bytes().into())
    });
    if lines == 0 {
        if bytes.last().is_some_and(|last| *last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    Edited { bytes, lines }
}

/// Takes out every line of a user.
pub fn remove(file: &[u8], name: &str) -> Edited {
    let mut lines = 0;
    let bytes = rewritten(file, |old| {
        let is_it = is_of(old, name);
        lines += usize::from(is_it);
        (!is_it).then(|| old.into())
    });
    Edited { bytes, lines }
}

/// Why passwords were not hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unhashed<E> {
    /// A line makes no sense.
    Line(Fault),
    /// Hashing failed.
    Failed(E),
}

/// Hashes every password that is plain text, and leaves those alone that are hashed. A password that looks like a
/// hash and is none is a fault: what it was meant to be cannot be known.
pub fn hash_plain<E>(
    file: &[u8],
    mut hash: impl FnMut(&[u8]) -> Result<PasswordHash, E>,
) -> Result<Edited, Unhashed<E>> {
    let (mut lines, mut number) = (0, 0);
    let mut wrong = None;
    let bytes = rewritten(file, |old| {
        number += 1;
        if wrong.is_some() {
            return None;
        }
        let line = plain(old).map_err(|error| {
            let line = number;
            Unhashed::Line(Fault { line, error })
        });
        let line = line.and_then(|plain| match plain {
            None => Ok(Cow::from(old)),
            Some(Parts { name, value }) => {
                lines += 1;
                let hash = hash(value.as_bytes()).map_err(Unhashed::Failed)?;
                Ok(format!("{name}:{hash}").into_bytes().into())
            }
        });
        line.map_err(|error| wrong = Some(error)).ok()
    });
    match wrong {
        Some(error) => Err(error),
        None => Ok(Edited { bytes, lines }),
    }
}

/// A line whose password is plain text.
fn plain(line: &[u8]) -> Result<Option<Parts<'_>>, LineError> {
    let Some(parts) = parts(line)? else {
        return Ok(None);
    };
    match PasswordHash::parse(parts.value) {
        Ok(_) => Ok(None),
        Err(HashError::NotHashed) if !parts.value.is_empty() => Ok(Some(parts)),
        Err(_) => parts.hash().map(|_| None),
    }
}

fn is_of(line: &[u8], name: &str) -> bool {
    parts(line).is_ok_and(|parts| parts.is_some_and(|parts| parts.name == name))
}

/// The file with each line replaced or, where there is none, taken out. Marks and ends of lines stay.
fn rewritten<'a>(file: &'a [u8], mut replace: impl FnMut(&'a [u8]) -> Option<Cow<'a, [u8]>>) -> Vec<u8> {
    let text = without_mark(file);
    let mut bytes = file[..file.len() - text.len()].to_vec();
    for whole in text.split_inclusive(|byte| *byte == b'\n') {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(line_then) = replace(line) {
            bytes.extend_from_slice(&line_then);
            bytes.extend_from_slice(&whole[line.len()..]);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Scheme;
    use crate::{Users, Verdict, check_name};

    fn hash(password: &[u8]) -> PasswordHash {
        PasswordHash::new(Scheme::Sha512, password, b"saltsaltsalt")
    }

    fn text(edited: &Edited) -> &str {
        std::str::from_utf8(&edited.bytes).unwrap()
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let h = hash(b"new");
        let file = "# first\r\n\nbroken\nalice:old\r\n bob : x\n#alice:y\n";
        let edited = set(file.as_bytes(), "alice", &h);
        let expected = file.replace("alice:old", &format!("alice:{h}"));
        assert_eq!((text(&edited), edited.lines), (expected.as_str(), 1));
        let edited = set(file.as_bytes(), "carol", &h);
        assert_eq!(text(&edited), format!("{file}carol:{h}\n"));
        assert_eq!(edited.lines, 0);
        let edited = remove(file.as_bytes(), "bob");
        assert_eq!(
            (text(&edited), edited.lines),
            (file.replace(" bob : x\n", "").as_str(), 1)
        );
        assert_eq!(remove(file.as_bytes(), "dave").lines, 0);
    }

    #[test]
    fn a_last_line_without_its_end_gets_one() {
        let h = hash(b"new");
        assert_eq!(text(&set(b"a:b", "c", &h)), format!("a:b\nc:{h}\n"));
        assert_eq!(text(&set(b"", "c", &h)), format!("c:{h}\n"));
        assert_eq!(text(&set(b"c:x", "c", &h)), format!("c:{h}"));
    }

    #[test]
    fn a_user_with_several_lines_has_one_then() {
        let h = hash(b"new");
        let edited = set(b"a:1\nb:2\na:3\n", "a", &h);
        assert_eq!(
            (text(&edited), edited.lines),
            (format!("a:{h}\nb:2\n").as_str(), 2)
        );
        assert_eq!(text(&remove(b"a:1\nb:2\na:3\n", "a")), "b:2\n");
    }

    #[test]
    fn plain_text_is_hashed_once() {
        let file = format!("# users\nalice:pa:ss\nbob:{}\n\n", hash(b"two"));
        let hash = |password: &[u8]| Ok::<_, ()>(hash(password));
        let edited = hash_plain(file.as_bytes(), hash).unwrap();
        assert_eq!(edited.lines, 1);
        let users = Users::read(&edited.bytes).unwrap();
        assert_eq!(users.check("alice", b"pa:ss"), Verdict::Accepted);
        assert_eq!(users.check("bob", b"two"), Verdict::Accepted);
        let again = hash_plain(&edited.bytes, hash).unwrap();
        assert_eq!((again.lines, &again.bytes), (0, &edited.bytes));
        for (broken, line) in [("a:x\nb:$9$x\n", 2), ("b\n", 1), ("a:b\n\nc:\n", 3)] {
            let error = hash_plain(broken.as_bytes(), hash).unwrap_err();
            assert!(
                matches!(&error, Unhashed::Line(fault) if fault.line == line),
                "{error:?}"
            );
        }
        assert_eq!(
            hash_plain(b"a:x\n", |_| Err("no salt")),
            Err(Unhashed::Failed("no salt"))
        );
    }

    proptest! {
        #[test]
        fn who_is_set_can_log_in(names in proptest::collection::vec("[a-z #é]{1,3}", 1..10), password: Vec<u8>) {
            let mut file = Vec::new();
            for name in names.iter().filter(|name| check_name(name).is_ok()) {
                file = set(&file, name, &hash(&password)).bytes;
                let users = Users::read(&file).unwrap();
                prop_assert_eq!(users.check(name, &password), Verdict::Accepted);
            }
            for name in names.iter().filter(|name| check_name(name).is_ok()) {
                file = remove(&file, name).bytes;
                prop_assert_eq!(Users::read(&file).unwrap().check(name, &password), Verdict::UnknownUser);
            }
            prop_assert!(file.is_empty());
        }
    }
}
