//! Foreign text for people: keys, names of servers, answers of servers.
//!
//! A key may come from a request. Logged without escapes, the key could end the line and begin a new line, or command the
//! terminal that shows the log.

use std::fmt::{self, Write};

/// Escapes every character that does not print, as in a Rust string: control characters, separators of lines, marks that
/// change the direction of writing. Printed characters of every script stay as they are. A backslash becomes two, so that no two
/// texts look alike.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &['\'', '"'])
    }
}

/// The same between double quotes; a double quote in the text is escaped as well.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write(f, self.0, &['\''])?;
        f.write_char('"')
    }
}

/// `as_is`: characters that `escape_debug` would escape although they print.
fn write(f: &mut fmt::Formatter<'_>, text: &str, as_is: &[char]) -> fmt::Result {
    // By parts, not by characters: `str::escape_debug` keeps an accent or a vowel sign behind a letter, and escapes it alone.
    for part in text.split_inclusive(as_is) {
        let plain = part.strip_suffix(as_is);
        fmt::Display::fmt(&plain.unwrap_or(part).escape_debug(), f)?;
        if plain.is_some() {
            f.write_str(&part[part.len() - 1..])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        for (text, shown) in [
            ("a\nb\r\t\0", r"a\nb\r\t\0"),
            ("\x1b[2J\x7f\u{9b}", r"\u{1b}[2J\u{7f}\u{9b}"),
            (
                "\u{202e}\u{2066}\u{200b}\u{feff}",
                r"\u{202e}\u{2066}\u{200b}\u{feff}",
            ),
            ("\u{2028}\u{2029}\u{85}", r"\u{2028}\u{2029}\u{85}"),
            (r"a\nb", r"a\\nb"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
            assert_eq!(Quoted(text).to_string(), format!("\"{shown}\""));
        }
    }

    #[test]
    fn what_prints_stays_as_it_is() {
        for text in [
            "order:42",
            "it's {a} <b>",
            "Grüße",
            "e\u{301}",
            "สวัสดี",
            "東京",
            "🔒",
            "",
        ] {
            assert_eq!(Shown(text).to_string(), text);
            assert_eq!(Quoted(text).to_string(), format!("\"{text}\""));
        }
        assert_eq!(Shown("say \"a\"").to_string(), "say \"a\"");
        assert_eq!(Quoted("say \"a\"").to_string(), r#""say \"a\"""#);
    }

    #[test]
    fn no_text_is_shown_with_a_control_character() {
        for control in (char::MIN..=char::MAX).filter(|char| char.is_control()) {
            for text in [
                format!("{control}"),
                format!("e{control}'{control}\u{301}\""),
            ] {
                assert!(!Shown(&text).to_string().contains(char::is_control));
                assert!(!Quoted(&text).to_string().contains(char::is_control));
            }
        }
    }

    /// All short texts made of the characters of escapes, and how each text is shown.
    #[test]
    fn no_two_texts_look_alike() {
        let mut texts = vec![String::new()];
        let mut longest = 0..1;
        for _ in 0..4 {
            let from = texts.len();
            for place in longest {
                for char in "\\\nn\"'u{}1b\u{1b}".chars() {
                    texts.push(format!("{}{char}", texts[place]));
                }
            }
            longest = from..texts.len();
        }
        let shown: Vec<_> = texts.iter().map(|text| Shown(text).to_string()).collect();
        let texts: HashSet<_> = texts.into_iter().chain(shown).collect();
        let shown: HashSet<_> = texts.iter().map(|text| Shown(text).to_string()).collect();
        assert_eq!(shown.len(), texts.len());
        let quoted: HashSet<_> = texts.iter().map(|text| Quoted(text).to_string()).collect();
        assert_eq!(quoted.len(), texts.len());
    }
}
