//! The known name that a mistyped one was meant to be.

/// The name that is at most two slips away, and fewer than half the letters.
pub(crate) fn nearest(typed: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let near = names.into_iter().map(|name| (distance(typed, &name), name));
    let (slips, name) = near.min()?;
    (slips <= 2 && slips * 2 < typed.chars().count()).then_some(name)
}

/// How many letters must be added, dropped or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        let names = || ["--topic", "--host", "--qos"].map(str::to_owned);
        assert_eq!(nearest("--tpoic", names()).as_deref(), Some("--topic"));
        assert_eq!(nearest("--hosts", names()).as_deref(), Some("--host"));
        assert_eq!(nearest("--something", names()), None);
        assert_eq!(nearest("-z", names()), None);
    }
}
