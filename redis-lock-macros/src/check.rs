//! Whether options and function fit each other: the places of the key name arguments, the function is `async` and
//! returns something. What is checked is handed on in a form that has no such mistakes left.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::{Expr, Member, ReturnType, Type};

use crate::args::{self, Args, Mode, Time, Wait};
use crate::function::{Function, mentions};
use crate::mistakes::{Mistakes, did_you_mean, list};
use crate::template::{Part, Template};

/// A function and the lock to run it under.
pub(crate) struct Locked {
    pub(crate) function: Function,
    pub(crate) returns: Type,
    pub(crate) key: Key,
    pub(crate) mode: Mode,
    pub(crate) wait: Option<Wait>,
    pub(crate) ttl: Option<Time>,
}

pub(crate) enum Key {
    /// Pieces to be joined, and where the template stands.
    Pieces(Vec<Piece>, Span),
    Expr(Expr),
}

pub(crate) enum Piece {
    Text(String),
    Value { name: Ident, fields: Vec<Member> },
}

/// `None` after at least one mistake.
pub(crate) fn check(args: Args, function: Function, mistakes: &mut Mistakes) -> Option<Locked> {
    let returns = check_signature(&function, mistakes);
    if !args.is_given("key") {
        mistakes.add(
            Span::call_site(),
            "missing `key`, which says what is locked: write `#[redis_lock(key = \"order:<id>\")]`",
        );
    }
    let key = match args.key? {
        args::Key::Template(template) => resolve(template, &function, mistakes),
        args::Key::Expr(expr) => Key::Expr(expr),
    };
    Some(Locked {
        returns: returns?,
        function,
        key,
        mode: args.mode,
        wait: args.wait,
        ttl: args.ttl,
    })
}

/// The return type, if there is one.
fn check_signature(function: &Function, mistakes: &mut Mistakes) -> Option<Type> {
    let sig = &function.sig;
    let name = &sig.ident;
    if let Some(constness) = &sig.constness {
        mistakes.add(
            constness.span,
            format!("a `const fn` cannot wait for a lock: write `async fn {name}`"),
        );
    } else if sig.asyncness.is_none() {
        let block_on = Ident::new("block_on", Span::call_site());
        let instead = if mentions(&function.body, &block_on) {
            // What `#[tokio::main]` and `#[tokio::test]` leave behind when they come first.
            "attributes such as `#[tokio::main]` and `#[tokio::test]` turn the function into a plain one: \
             put `#[redis_lock]` above them"
                .to_owned()
        } else {
            format!("write `async fn {name}`")
        };
        mistakes.add(
            sig.fn_token.span,
            format!("`#[redis_lock]` goes on an `async fn`: {instead}"),
        );
    }
    match &sig.output {
        ReturnType::Type(_, returns) => Some(Type::clone(returns)),
        ReturnType::Default => {
            mistakes.add(
                name.span(),
                format!(
                    "`{name}` has no return type, and so no way to say that the lock was not had: \
                     write `-> Result<(), redis_lock::Error>`, or any `Result` whose error is `From<redis_lock::Error>`"
                ),
            );
            None
        }
    }
}

fn resolve(template: Template, function: &Function, mistakes: &mut Mistakes) -> Key {
    let span = template.span;
    let names = function.names();
    let find = |name: &str| names.iter().find(|ident| ident.unraw() == name);

    for inside in template.in_braces() {
        let name = inside.split(['.', ':']).next().unwrap_or(inside);
        if find(name).is_some() {
            mistakes.add(
                span,
                format!(
                    "`{{{inside}}}` is kept as it is, as braces mark the hash tag of a Redis Cluster: \
                     write `<{name}>` for the value of `{name}`, or `{{<{name}>}}` for a tag of it"
                ),
            );
        }
    }

    let mut unknown: Vec<&str> = Vec::new();
    for place in template.places() {
        if find(&place.root).is_none() && !unknown.contains(&place.root.as_str()) {
            mistakes.add(span, unknown_name(&place.written, &place.root, &names));
            unknown.push(&place.root);
        }
    }

    let pieces = template.parts.into_iter().filter_map(|part| match part {
        Part::Text(text) => Some(Piece::Text(text)),
        Part::Place(place) => {
            // The name is the parameter's, or a macro that wrote only one of the two would not find it;
            // what goes wrong with its value is shown in the key.
            let mut name = names
                .iter()
                .find(|ident| ident.unraw() == place.root)?
                .clone();
            name.set_span(span.resolved_at(name.span()));
            Some(Piece::Value {
                name,
                fields: place.fields,
            })
        }
    });
    Key::Pieces(pieces.collect(), span)
}

fn unknown_name(written: &str, root: &str, names: &[Ident]) -> String {
    if root == "self" {
        return format!("`<{written}>` stands in a function without `self`; only a method has one");
    }
    let names: Vec<String> = names.iter().map(|name| name.unraw().to_string()).collect();
    let names = || names.iter().map(String::as_str);
    let hint = did_you_mean(root, names()).unwrap_or_default();
    let known = match names().count() {
        0 => "the function has none".to_owned(),
        1 => format!("the only argument is {}", list(names())),
        _ => format!("the arguments are {}", list(names())),
    };
    format!("`<{written}>` names no argument{hint}; {known}")
}
