//! A Rust file as the checks see it: the paths it names, without comments, strings and test modules.

use proc_macro2::{Delimiter, LexError, Spacing, TokenStream, TokenTree};

/// What a Rust file says outside its tests.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Paths (`std::net::TcpStream`, a word alone is one too), macros (`dbg!`) and `#[ignore]`.
    pub(super) named: Vec<Named>,
    /// Lines, `#[cfg(test)]` items not counted.
    pub(super) lines: usize,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: String,
    pub(super) line: usize,
}

/// Whether all of the file is test code, by its place or name.
pub(super) fn is_test(path: &str) -> bool {
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    path.split('/')
        .any(|folder| matches!(folder, "tests" | "benches"))
        || stem == "tests"
        || stem.ends_with("_tests")
        || stem.ends_with("_test")
}

pub(super) fn parse(text: &str) -> Result<Source, LexError> {
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>()?.into_iter().collect();
    let mut source = Source {
        lines: text.lines().count(),
        ..Source::default()
    };
    source.walk(&tokens, "");
    Ok(source)
}

impl Source {
    /// Notes each path in `tokens`; `prefix` is what stands before the braces of `use std::{..}`.
    fn walk(&mut self, tokens: &[TokenTree], prefix: &str) {
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at] {
                TokenTree::Punct(mark) if mark.as_char() == '#' => self.attribute(&tokens[at..]),
                TokenTree::Ident(_) => self.path(&tokens[at..], prefix),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.walk(&inner, "");
                    1
                }
                TokenTree::Punct(mark) if mark.as_char() == '*' && !prefix.is_empty() => {
                    let line = mark.span().start().line;
                    self.named.push(Named {
                        path: format!("{prefix}*"),
                        line,
                    });
                    1
                }
                _ => 1,
            };
        }
    }

    /// An attribute; one of `#[cfg(test)]` takes the item behind it along. Returns the number of tokens.
    fn attribute(&mut self, tokens: &[TokenTree]) -> usize {
        let Some(TokenTree::Group(group)) = tokens.get(1) else {
            return 1;
        };
        let text: String = group.stream().to_string().split_whitespace().collect();
        if text == "ignore" {
            let line = group.span_open().start().line;
            self.named.push(Named {
                path: "#[ignore]".into(),
                line,
            });
        }
        if text != "cfg(test)" && !text.starts_with("cfg(all(test,") && !text.starts_with("cfg(any(test,") {
            return 2;
        }
        let ends = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(mark) => mark.as_char() == ';',
            _ => false,
        };
        let last = tokens.iter().position(ends).unwrap_or(tokens.len() - 1);
        let (first, last_line) = (group.span_open().start().line, tokens[last].span().end().line);
        self.lines -= (last_line + 1 - first).min(self.lines);
        last + 1
    }

    /// A path that starts at an identifier. Returns the number of tokens.
    fn path(&mut self, tokens: &[TokenTree], prefix: &str) -> usize {
        let line = tokens[0].span().start().line;
        let mut path = format!("{prefix}{}", tokens[0]);
        let mut at = 1;
        while is_separator(&tokens[at..]) {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(segment)) => path = format!("{path}::{segment}"),
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => path += "::*",
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.walk(&inner, &format!("{path}::"));
                    return at + 3;
                }
                _ => break,
            }
            at += 3;
        }
        if is_macro(&tokens[at..]) {
            path.push('!');
        }
        self.named.push(Named { path, line });
        at
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

/// Whether `!` and brackets follow: `dbg!(x)`, not `a != b`.
fn is_macro(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(mark), TokenTree::Group(_), ..] if mark.as_char() == '!')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        parse(text)
            .unwrap()
            .named
            .into_iter()
            .map(|named| named.path)
            .collect()
    }

    #[test]
    fn paths_are_whole_and_groups_are_spread() {
        let found = paths("use std::{fs, net::{TcpStream, *}}; fn f() { a::B::c(); x != (1) }");
        for path in ["std::fs", "std::net::TcpStream", "std::net::*", "a::B::c", "x"] {
            assert!(found.iter().any(|found| found == path), "{path} in {found:?}");
        }
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = "//! std::net\n/// std::fs\nconst A: &str = \"std::fs\"; // tokio::x\n\
            #[cfg(test)]\n#[allow(x)]\nmod tests {\n    use std::fs;\n}\nfn after() {}\n";
        let found = paths(text);
        assert!(
            !found
                .iter()
                .any(|path| path.starts_with("std") || path.starts_with("tokio")),
            "{found:?}"
        );
        assert!(found.iter().any(|path| path == "after"));
        assert_eq!(parse(text).unwrap().lines, 4);
    }

    #[test]
    fn macros_and_bare_ignores_are_marked() {
        let found = paths("#[ignore] fn a() { dbg!(1) } #[ignore = \"why\"] fn b() {}");
        assert_eq!(found.iter().filter(|path| *path == "#[ignore]").count(), 1);
        assert!(found.iter().any(|path| path == "dbg!"));
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        assert!(is_test("crates/codec/tests/bytes.rs") && is_test("crates/a/src/router/tests.rs"));
        assert!(!is_test("crates/a/src/router/tree.rs") && !is_test("xtask/src/contests.rs"));
    }
}
