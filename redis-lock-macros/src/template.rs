//! Keys with holes, `"order:<id>"`: split into text and places. Pure: knows nothing of the function below it.
//!
//! | written | stands for |
//! | --- | --- |
//! | `<id>`, `<order.id>`, `<pair.0>`, `<self.name>` | the value of an argument, or of a field of it |
//! | `<<`, `>>` | the characters `<` and `>` |
//! | all else, braces too | itself |

use proc_macro2::{Ident, Span};
use syn::{Error, Index, LitStr, Member, Result};

/// A key's parts in order; two texts never stand side by side.
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
    pub(crate) span: Span,
}

pub(crate) enum Part {
    Text(String),
    Place(Place),
}

/// What stands between `<` and `>`.
pub(crate) struct Place {
    /// As it is written, for messages.
    pub(crate) written: String,
    /// The argument, without `r#`.
    pub(crate) root: String,
    pub(crate) fields: Vec<Member>,
}

impl Template {
    /// Stops at the first mistake: what follows a bracket too many is guesswork.
    pub(crate) fn parse(literal: &LitStr) -> Result<Self> {
        let span = literal.span();
        let text = literal.value();
        let error = |message: String| Err(Error::new(span, message));
        if text.is_empty() {
            return error(
                "the key is empty: name what is locked, as in `key = \"order:<id>\"`".into(),
            );
        }

        let mut template = Self {
            parts: Vec::new(),
            span,
        };
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['<', '>']) {
            let (before, bracket) = rest.split_at(at);
            template.push_text(before);
            if let Some(after) = bracket.strip_prefix("<<") {
                template.push_text("<");
                rest = after;
            } else if let Some(after) = bracket.strip_prefix(">>") {
                template.push_text(">");
                rest = after;
            } else if let Some(place) = bracket.strip_prefix('<') {
                let Some((inside, after)) = place
                    .split_once('>')
                    .filter(|(inside, _)| !inside.contains('<'))
                else {
                    return error(format!(
                        "`<` is never closed in \"{text}\": write `<id>` for the value of an argument, `<<` for the character"
                    ));
                };
                template
                    .parts
                    .push(Part::Place(Place::parse(inside, span)?));
                rest = after;
            } else {
                return error(format!(
                    "`>` closes nothing in \"{text}\": write `>>` for the character"
                ));
            }
        }
        template.push_text(rest);
        Ok(template)
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Text(_) => None,
        })
    }

    /// The insides of literal `{…}`, which are kept as they are.
    pub(crate) fn in_braces(&self) -> impl Iterator<Item = &str> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Place(_) => None,
        });
        texts
            .flat_map(|text| text.split('{').skip(1))
            .filter_map(|open| open.split_once('}').map(|(inside, _)| inside))
    }

    fn push_text(&mut self, more: &str) {
        match self.parts.last_mut() {
            _ if more.is_empty() => {}
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.parts.push(Part::Text(more.to_owned())),
        }
    }
}

impl Place {
    fn parse(written: &str, span: Span) -> Result<Self> {
        if written.is_empty() {
            return Err(Error::new(
                span,
                "`<>` names nothing: write `<id>` for the value of the argument `id`",
            ));
        }
        if written == "_" {
            return Err(Error::new(
                span,
                "`<_>` has no value, as `_` binds none: give the argument a name and write that",
            ));
        }
        let mut names = written.split('.');
        let root = names
            .next()
            .map(|name| name.strip_prefix("r#").unwrap_or(name));
        let fields: Option<Vec<_>> = names.map(|name| field(name, span)).collect();
        match (root, fields) {
            (Some(root), Some(fields)) if is_identifier(root) => Ok(Self {
                written: written.to_owned(),
                root: root.to_owned(),
                fields,
            }),
            _ => Err(Error::new(
                span,
                format!(
                    "`<{written}>` is more than an argument and its fields: give `key` an expression instead, \
                     such as `key = format!(\"…{{}}\", {written})`"
                ),
            )),
        }
    }
}

/// Always a raw identifier: which words are keywords depends on the edition.
fn field(name: &str, span: Span) -> Option<Member> {
    let name = name.strip_prefix("r#").unwrap_or(name);
    if is_identifier(name) && !matches!(name, "self" | "Self" | "super" | "crate") {
        return Some(Member::Named(Ident::new_raw(name, span)));
    }
    let index: u32 = name.parse().ok()?;
    (index.to_string() == name).then_some(Member::Unnamed(Index { index, span }))
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let starts = chars
        .next()
        .is_some_and(|first| first == '_' || unicode_ident::is_xid_start(first));
    starts && name != "_" && chars.all(unicode_ident::is_xid_continue)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quote::ToTokens;

    use super::*;

    fn parse(text: &str) -> Result<Template> {
        Template::parse(&LitStr::new(text, Span::call_site()))
    }

    /// One string for each part: texts in quotes, places as root and fields.
    fn parts(text: &str) -> Vec<String> {
        let template = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let show = |part: &Part| match part {
            Part::Text(text) => format!("{text:?}"),
            Part::Place(place) => {
                let fields = place
                    .fields
                    .iter()
                    .map(|field| format!(".{}", field.to_token_stream()));
                std::iter::once(place.root.clone()).chain(fields).collect()
            }
        };
        template.parts.iter().map(show).collect()
    }

    #[test]
    fn places_are_arguments_and_their_fields() {
        assert_eq!(parts("order"), ["\"order\""]);
        assert_eq!(parts("order:<id>"), ["\"order:\"", "id"]);
        assert_eq!(parts("<a><b>:x"), ["a", "b", "\":x\""]);
        assert_eq!(parts("<self.map.0.1>"), ["self.r#map.0.1"]);
        assert_eq!(parts("<r#type.r#fn.in>"), ["type.r#fn.r#in"]);
        assert_eq!(parts("<größe>"), ["größe"]);
    }

    #[test]
    fn doubled_brackets_and_braces_are_text() {
        assert_eq!(parts("a<<b>>c"), ["\"a<b>c\""]);
        assert_eq!(parts("<<<id>>>"), ["\"<\"", "id", "\">\""]);
        assert_eq!(parts("{<id>}:{}"), ["\"{\"", "id", "\"}:{}\""]);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("", "the key is empty"),
            ("order:<id", "`<` is never closed"),
            ("<a<b>", "`<` is never closed"),
            ("<id>>", "`>` closes nothing in \"<id>>\": write `>>`"),
            ("order>", "`>` closes nothing"),
            ("<>", "`<>` names nothing"),
            ("<_>", "give the argument a name"),
            ("<0>", "more than an argument"),
            ("< id >", "more than an argument"),
            ("<id + 1>", "`key = format!(\"…{}\", id + 1)`"),
            ("<id.>", "more than an argument"),
            ("<id.01>", "more than an argument"),
            ("<id.self>", "more than an argument"),
            ("<id.len()>", "more than an argument"),
        ] {
            let message = parse(text).err().map(|error| error.to_string());
            assert!(
                message
                    .as_ref()
                    .is_some_and(|message| message.contains(part)),
                "{text}: {message:?}"
            );
        }
    }

    #[test]
    fn braces_are_found_in_text_only() {
        let template = parse("{a}:{<b>}:{c.d}{").expect("a template");
        assert_eq!(template.in_braces().collect::<Vec<_>>(), ["a", "c.d"]);
    }

    proptest! {
        #[test]
        fn any_string_is_a_template_or_one_mistake(text in "(\\PC|[<>{}._0-9a-z ]){0,12}") {
            if let Err(error) = parse(&text) {
                prop_assert_eq!(error.into_iter().count(), 1);
            }
        }

        #[test]
        fn any_text_can_be_written(text in "(\\PC|[<>]){1,12}") {
            let doubled = text.replace('<', "<<").replace('>', ">>");
            prop_assert_eq!(parts(&doubled), [format!("{text:?}")]);
        }
    }
}
