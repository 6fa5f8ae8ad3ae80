//! The known name that is closest to a misspelt one.

/// Names longer than this are no slips of the finger.
const NAME_CHARS_MAX: usize = 64;

/// The first of `names` with the fewest changed letters, if that is few enough to be meant.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().replace('-', "_").chars().collect();
    if word.len() > NAME_CHARS_MAX {
        return None;
    }
    let near = names
        .map(|name| (distance(&word, name), name))
        .min_by_key(|(d, _)| *d)?;
    let allowed = (word.len().min(near.1.len()) / 3).clamp(1, 4);
    (near.0 <= allowed).then_some(near.1)
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(word: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut rows = vec![vec![0; name.len() + 1]; word.len() + 1];
    for i in 0..=word.len() {
        for j in 0..=name.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let change = usize::from(word[i - 1] != name[j - 1]);
                    let mut best = (rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1)
                        .min(rows[i - 1][j - 1] + change);
                    if i > 1 && j > 1 && word[i - 1] == name[j - 2] && word[i - 2] == name[j - 1] {
                        best = best.min(rows[i - 2][j - 2] + 1);
                    }
                    best
                }
            };
        }
    }
    rows[word.len()][name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["allow_anonymous", "listener", "port", "max_qos"];
        let near = |word| nearest(word, names.into_iter());
        assert_eq!(near("allow_anonymus"), Some("allow_anonymous"));
        assert_eq!(near("Listener"), Some("listener"));
        assert_eq!(near("prot"), Some("port"));
        assert_eq!(near("max-qos"), Some("max_qos"));
        assert_eq!(near("elephant"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(100_000)), None);
    }
}
