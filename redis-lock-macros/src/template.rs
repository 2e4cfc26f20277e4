//! Keys with holes, `"order:<id>"`: split into text and places. Pure: knows nothing of the function below it.
//!
//! | written | stands for |
//! | --- | --- |
//! | `<id>`, `<order.id>`, `<pair.0>`, `<self.name>` | the value of an argument, or of a field of it |
//! | `<order.lines.len()>` | what a method without arguments returns |
//! | `<id:04>`, `<id:?>` | the same as `format!` shows it with `{:04}`, `{:?}` |
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
    pub(crate) steps: Vec<Step>,
    /// How `format!` shall show it: what follows its `:`, or nothing.
    pub(crate) spec: String,
}

/// From a value to a part of it.
pub(crate) enum Step {
    Field(Member),
    Call(Ident),
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
                let Some((inside, after)) = place.split_once('>') else {
                    return error(unclosed(&text));
                };
                if let Some((outside, _)) = inside.split_once('<') {
                    return error(if outside.contains(':') {
                        unaligned(inside)
                    } else {
                        unclosed(&text)
                    });
                }
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
        let (path, spec) = match written.split_once(':') {
            // `Self::NAME` has no format.
            Some((_, spec)) if spec.starts_with(':') && !spec.starts_with(":^") => (written, None),
            Some((path, spec)) => (path, Some(spec)),
            None => (written, None),
        };
        let mut names = path.split('.');
        let root = names
            .next()
            .map(|name| name.strip_prefix("r#").unwrap_or(name));
        let steps: Option<Vec<_>> = names.map(|name| step(name, span)).collect();
        let (Some(root), Some(steps)) = (root.filter(|root| is_identifier(root)), steps) else {
            let instead = match spec {
                Some(spec) => format!("format!(\"…{{:{spec}}}\", {path})"),
                None => format!("format!(\"…{{}}\", {path})"),
            };
            return Err(Error::new(
                span,
                format!(
                    "`<{written}>` is more than an argument, its fields and methods without arguments: \
                     give `key` an expression instead, such as `key = {instead}`"
                ),
            ));
        };
        if let Some(spec) = spec {
            check_spec(written, path, spec).map_err(|message| Error::new(span, message))?;
        }
        Ok(Self {
            written: written.to_owned(),
            root: root.to_owned(),
            steps,
            spec: spec.unwrap_or_default().to_owned(),
        })
    }
}

fn unclosed(text: &str) -> String {
    format!(
        "`<` is never closed in \"{text}\": write `<id>` for the value of an argument, `<<` for the character"
    )
}

fn unaligned(inside: &str) -> String {
    let path = inside.split(':').next().unwrap_or(inside);
    format!(
        "`<{inside}>` cannot align with `<` or `>`, as these end a place: \
         give `key` an expression instead, such as `key = format!(\"…{{:>5}}\", {path})`"
    )
}

/// Always a raw identifier: which words are keywords depends on the edition.
fn step(name: &str, span: Span) -> Option<Step> {
    let (name, is_call) = match name.strip_suffix("()") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let word = name.strip_prefix("r#").unwrap_or(name);
    // As what a macro made: or the compiler would offer another field in place of the whole key.
    let span = Span::mixed_site().located_at(span);
    if is_identifier(word) && !matches!(word, "self" | "Self" | "super" | "crate") {
        let word = Ident::new_raw(word, span);
        return Some(if is_call {
            Step::Call(word)
        } else {
            Step::Field(Member::Named(word))
        });
    }
    let index: u32 = name.parse().ok()?;
    let is_index = !is_call && index.to_string() == name;
    is_index.then_some(Step::Field(Member::Unnamed(Index { index, span })))
}

/// `[[fill]align][sign]['#']['0'][width]['.' precision][type]`, as `format!` has it, but without what would refer to
/// further arguments.
fn check_spec(written: &str, path: &str, spec: &str) -> std::result::Result<(), String> {
    if spec.is_empty() {
        return Err(format!(
            "`<{written}>` has nothing after its `:`: write `<{path}>`, or a format such as `<{path}:04>` or `<{path}:?>`"
        ));
    }
    if spec.contains('$') || spec.contains(".*") {
        return Err(format!(
            "`<{written}>` takes its format from another argument: \
             give `key` an expression instead, such as `key = format!(\"…{{:{spec}}}\", {path})`"
        ));
    }
    let digits = |text: &mut &str| {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &text[..text.len() - rest.len()];
        *text = rest;
        // What `format!` can count to.
        number.is_empty() || number.parse::<u16>().is_ok()
    };
    let mut rest = spec;
    let mut chars = spec.chars();
    match (chars.next(), chars.next()) {
        (Some(fill), Some('^')) if !matches!(fill, '{' | '}') => rest = chars.as_str(),
        (Some('^'), _) => rest = &spec[1..],
        _ => {}
    }
    rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest = rest.strip_prefix('#').unwrap_or(rest);
    // A leading `0` of the width is the flag that fills it with zeros.
    let mut is_fine = digits(&mut rest);
    if let Some(precision) = rest.strip_prefix('.') {
        is_fine &= precision.starts_with(|c: char| c.is_ascii_digit());
        rest = precision;
        is_fine &= digits(&mut rest);
    }
    is_fine &= matches!(
        rest,
        "" | "?" | "x?" | "X?" | "x" | "X" | "o" | "b" | "e" | "E"
    );
    if is_fine {
        Ok(())
    } else {
        Err(format!(
            "`:{spec}` in `<{written}>` is no format: write one as for `format!`, such as `<{path}:04>`, `<{path}:.2>`, \
             `<{path}:x>` or `<{path}:?>`"
        ))
    }
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
    use quote::{ToTokens as _, quote};
    use syn::Expr;

    use super::*;

    /// Mostly of what means something in a template.
    const ANYTHING: &str = "(\\PC|[<>{}._0-9a-z :#?$*^+()-]|<[a-z]{1,2}[.:]|>){0,16}";

    fn parse(text: &str) -> Result<Template> {
        Template::parse(&LitStr::new(text, Span::call_site()))
    }

    /// One string for each part: texts in quotes, places as root and fields.
    fn parts(text: &str) -> Vec<String> {
        let template = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let show = |part: &Part| match part {
            Part::Text(text) => format!("{text:?}"),
            Part::Place(place) => {
                let steps = place.steps.iter().map(|step| match step {
                    Step::Field(field) => format!(".{}", field.to_token_stream()),
                    Step::Call(method) => format!(".{method}()"),
                });
                let spec = Some(format!(":{}", place.spec)).filter(|spec| spec != ":");
                std::iter::once(place.root.clone())
                    .chain(steps)
                    .chain(spec)
                    .collect()
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
    fn places_are_methods_without_arguments() {
        assert_eq!(parts("<id.len()>"), ["id.r#len()"]);
        assert_eq!(parts("<self.a.0.b().c>"), ["self.r#a.0.r#b().r#c"]);
        assert_eq!(parts("<a.r#type()>"), ["a.r#type()"]);
    }

    #[test]
    fn places_have_a_format() {
        for spec in [
            "04",
            "?",
            "#?",
            "x",
            "#010x",
            "+.3e",
            "^9",
            "*^9",
            ":^9",
            "-^+#09.9E",
            "x?",
            "6.2",
            "X?",
            "b",
            "o",
        ] {
            assert_eq!(parts(&format!("<n.0:{spec}>")), [format!("n.0:{spec}")]);
        }
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
            ("<id.len(1)>", "more than an argument"),
            ("<id()>", "more than an argument"),
            ("<id.0()>", "more than an argument"),
            ("<id.()>", "more than an argument"),
            ("<id.self()>", "more than an argument"),
            ("<:04>", "more than an argument"),
            ("<Self::ID>", "`key = format!(\"…{}\", Self::ID)`"),
            ("<id + 1:04>", "`key = format!(\"…{:04}\", id + 1)`"),
            ("<id:>", "nothing after its `:`"),
            ("<id:>5>", "nothing after its `:`"),
            ("<id:<5>", "cannot align with `<`"),
            ("<id:0<5>", "`key = format!(\"…{:>5}\", id)`"),
            ("<id:0>5>", "`>` closes nothing"),
            ("<id:width$>", "takes its format from another argument"),
            ("<id:.*>", "takes its format from another argument"),
            ("<id:y>", "`:y` in `<id:y>` is no format"),
            ("<id:.>", "is no format"),
            ("<id:04 >", "is no format"),
            ("<id:p>", "is no format"),
            ("<id:{^5>", "is no format"),
            ("<id:99999>", "is no format"),
            ("<id:ä>", "is no format"),
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
        fn any_string_is_a_template_or_one_mistake(text in ANYTHING) {
            if let Err(error) = parse(&text) {
                prop_assert_eq!(error.into_iter().count(), 1);
            }
        }

        /// What comes out is what the compiler can read, or the error would be the compiler's.
        #[test]
        fn any_template_is_code(text in ANYTHING) {
            for place in parse(&text).iter().flat_map(Template::places) {
                let steps = place.steps.iter().map(|step| match step {
                    Step::Field(field) => quote!(.#field),
                    Step::Call(method) => quote!(.#method()),
                });
                let value = quote!(value #(#steps)*);
                prop_assert!(syn::parse2::<Expr>(value).is_ok(), "{}", place.written);
            }
        }

        #[test]
        fn any_path_with_any_format_is_a_place(
            root in "[a-z_][a-z0-9_]{1,5}",
            steps in "(\\.([a-z][a-z0-9_]{1,5}(\\(\\))?|[0-9]|[1-9][0-9]{1,2})){0,4}",
            spec in "|:(.?\\^)?[+-]?#?0?[1-9]?[0-9](\\.[0-9]{1,2})?(|[xX]?\\?|[xXobeE])",
        ) {
            prop_assume!(!spec.contains(['<', '>', '{', '}', '$', '*']));
            prop_assume!(!steps.contains(".self") && !steps.contains(".super") && !steps.contains(".crate"));
            let spelled = parts(&format!("<{root}{steps}{spec}>")).concat();
            prop_assert_eq!(spelled.replace("r#", ""), format!("{root}{steps}{spec}"));
        }

        #[test]
        fn any_text_can_be_written(text in "(\\PC|[<>]){1,12}") {
            let doubled = text.replace('<', "<<").replace('>', ">>");
            prop_assert_eq!(parts(&doubled), [format!("{text:?}")]);
        }
    }
}
