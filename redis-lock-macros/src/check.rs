//! Whether options and function fit each other: the places of the keys name arguments, the function is `async` and
//! returns something. What is checked is handed on in a form that has no such mistakes left.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::{Expr, Lit, ReturnType, Type};

use crate::args::{self, Args, Keys, ModeOrExpr, Options, Time, Wait};
use crate::function::{AsyncBlock, Function, mentions};
use crate::mistakes::{Mistakes, did_you_mean, list};
use crate::returns;
use crate::template::{Part, Step, Template};
use crate::values;

/// A function and the lock to run it under.
pub(crate) struct Locked {
    pub(crate) function: Function,
    /// The block to run under the lock, where it is not the whole body of an `async fn`.
    pub(crate) block: Option<AsyncBlock>,
    /// What the function, or the future that it returns, gives in the end.
    pub(crate) returns: Type,
    pub(crate) keys: Keys<Key>,
    pub(crate) options: Options,
}

pub(crate) enum Key {
    /// Pieces to be joined, and where the template stands.
    Pieces(Vec<Piece>, Span),
    Expr(Expr),
}

pub(crate) enum Piece {
    Text(String),
    Value {
        name: Ident,
        steps: Vec<Step>,
        spec: String,
    },
}

impl Locked {
    /// What the user wrote as code in the options.
    pub(crate) fn expressions(&self) -> Vec<TokenStream> {
        let keys = self.keys.iter().filter_map(|key| match key {
            Key::Expr(expr) => Some(expr),
            Key::Pieces(..) => None,
        });
        let options = &self.options;
        let wait = match &options.wait {
            Some(Wait::For(time)) => Some(time),
            _ => None,
        };
        let times = [
            wait,
            options.ttl.as_ref(),
            options.max_hold.as_ref(),
            options.min_hold.as_ref(),
            options.command_timeout.as_ref(),
        ];
        let times = times.into_iter().flatten().filter_map(|time| match time {
            Time::Expr(expr) => Some(expr),
            Time::Fixed(..) => None,
        });
        let mode = match &options.mode {
            ModeOrExpr::Expr(expr) => Some(expr),
            ModeOrExpr::Fixed(_) => None,
        };
        let others = [
            &options.namespace,
            &options.on_contended,
            &options.map_err,
            &options.locker,
        ];
        keys.chain(mode)
            .chain(times)
            .chain(others.into_iter().flatten())
            .map(Expr::to_token_stream)
            .collect()
    }

    /// What the templates name.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Ident> {
        let pieces = self.keys.iter().filter_map(|key| match key {
            Key::Pieces(pieces, _) => Some(pieces),
            Key::Expr(_) => None,
        });
        pieces.flatten().filter_map(|piece| match piece {
            Piece::Value { name, .. } => Some(name),
            Piece::Text(_) => None,
        })
    }
}

/// `None` after at least one mistake.
pub(crate) fn check(args: Args, function: Function, mistakes: &mut Mistakes) -> Option<Locked> {
    let checked = check_signature(&function, mistakes);
    if !args.is_given("key") {
        mistakes.add(
            Span::call_site(),
            "missing `key`, which says what is locked: write `#[redis_lock(key = \"order:<id>\")]`",
        );
    }
    check_guard(&args.options, &function, mistakes);
    if let Some(namespace) = &args.options.namespace {
        check_namespace(namespace, &function, mistakes);
    }
    let keys = args.keys?.map(|key| match key {
        args::Key::Template(template) => resolve(template, &function, mistakes),
        args::Key::Expr(expr) => {
            check_key_expr(&expr, &function, mistakes);
            Key::Expr(expr)
        }
    });
    let (returns, block) = checked?;
    Some(Locked {
        function,
        block,
        returns,
        keys,
        options: args.options,
    })
}

/// What it returns in the end, and the block that does, where that is not the whole body.
fn check_signature(
    function: &Function,
    mistakes: &mut Mistakes,
) -> Option<(Type, Option<AsyncBlock>)> {
    let sig = &function.sig;
    let name = &sig.ident;
    let mut future = None;
    if let Some(constness) = &sig.constness {
        mistakes.add(
            constness.span,
            format!("a `const fn` cannot wait for a lock: write `async fn {name}`"),
        );
    } else if sig.asyncness.is_none() {
        future = match &sig.output {
            ReturnType::Type(_, returns) => {
                returns::of_future(returns).or_else(|| returns::of_named_future(returns))
            }
            ReturnType::Default => None,
        };
        if future.is_none() {
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
    }
    if let Some(returns) = future {
        let Ok(block) = syn::parse2(function.body.clone()) else {
            let first = function.body.clone().into_iter().next();
            mistakes.add(
                first.map_or(name.span(), |token| token.span()),
                match &sig.output {
                    // As `tower::Service::call`, which cannot be an `async fn`, and clones `self` before its block.
                    ReturnType::Type(_, output) if returns::of_named_future(output).is_some() => format!(
                        "only an `async` block can run under a lock, and what stands around it would run without: \
                         put `#[redis_lock]` on an `async fn` of its own, and call that one in the future that `{name}` returns; \
                         or make the whole body one `Box::pin(async move {{ … }})`"
                    ),
                    _ => format!(
                        "only an `async` block can run under a lock, and what stands around it would run without: \
                         write `async fn {name}`, or make the whole body one `async move {{ … }}` or `Box::pin(async move {{ … }})`"
                    ),
                },
            );
            return None;
        };
        return Some((returns, Some(block)));
    }
    match &sig.output {
        ReturnType::Type(_, returns) => Some((Type::clone(returns), None)),
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

/// The body could not reach an argument of the same name.
fn check_guard(options: &Options, function: &Function, mistakes: &mut Mistakes) {
    let Some(guard) = &options.guard else { return };
    let arguments = function.arguments();
    if arguments
        .iter()
        .any(|argument| argument.ident.unraw() == guard.unraw())
    {
        mistakes.add(
            guard.span(),
            format!("`{guard}` is an argument already: give the guard a name of its own"),
        );
    }
}

/// Unlike in a key, a place in a namespace would stay as it is, and all tenants would meet under one name.
fn check_namespace(namespace: &Expr, function: &Function, mistakes: &mut Mistakes) {
    for (place, span) in places_in_texts(namespace.to_token_stream(), function) {
        mistakes.add(
            span,
            format!(
                "`<{place}>` has no value in a namespace, only in a key: \
                 give `namespace` an expression instead, such as `namespace = format!(\"…{{}}\", {place})`"
            ),
        );
    }
}

/// A place that is no place would make one lock of all.
fn check_key_expr(key: &Expr, function: &Function, mistakes: &mut Mistakes) {
    let called = match key {
        Expr::Call(call) if call.args.iter().all(|arg| values::text(arg).is_some()) => {
            match &*call.func {
                Expr::Path(path) => path.path.get_ident(),
                _ => None,
            }
        }
        _ => None,
    };
    for (place, span) in places_in_texts(key.to_token_stream(), function) {
        let message = match called {
            Some(word) => format!(
                "`{word}` is no mode of a key: write `r(…)` or `w(…)`. As a function that makes a key it is given `<{place}>` as \
                 text: write `{word}(&format!(\"…{{}}\", {place}))`"
            ),
            None => format!(
                "`<{place}>` has a value only where the string itself is the key; here it is text, the same for every call: \
                 write `format!(\"…{{}}\", {place})`, or `concat!` around a string that is meant as it is"
            ),
        };
        mistakes.add(span, message);
    }
}

/// What looks like the place of an argument in the strings of an expression, except in `concat!`.
fn places_in_texts(tokens: TokenStream, function: &Function) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    let mut is_concat = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                if !is_concat {
                    found.extend(places_in_texts(group.stream(), function));
                }
                is_concat = false;
            }
            TokenTree::Literal(literal) => {
                if let Lit::Str(text) = Lit::new(literal) {
                    let place = place_in(&text.value(), function);
                    found.extend(place.map(|place| (place, text.span())));
                }
            }
            TokenTree::Ident(word) => is_concat = word == "concat",
            TokenTree::Punct(_) => {}
        }
    }
    found
}

fn place_in(text: &str, function: &Function) -> Option<String> {
    let names = function.names();
    text.split('<').skip(1).find_map(|open| {
        let (inside, _) = open.split_once('>')?;
        let root = inside.split(['.', ':']).next()?;
        let is_name = names.iter().any(|name| name.unraw() == root);
        is_name.then(|| inside.to_owned())
    })
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
                     write `<{inside}>` for the value of `{name}`, or `{{<{inside}>}}` for a tag of it"
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
                steps: place.steps,
                spec: place.spec,
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
    let underscored = format!("_{root}");
    if names.contains(&underscored) {
        return format!(
            "`<{written}>` names no argument: it is called `{underscored}` here. Call it `{root}`, as the key uses it, \
             or write `<_{written}>`"
        );
    }
    let names = || names.iter().map(String::as_str);
    let hint = did_you_mean(root, names()).unwrap_or_default();
    let known = match names().count() {
        0 => "the function has none".to_owned(),
        1 => format!("the only argument is {}", list(names())),
        _ => format!("the arguments are {}", list(names())),
    };
    // `#[async_trait]` takes patterns apart in the body, and leaves such a name in the signature.
    let taken_apart = if names().any(|name| name.starts_with("__arg")) {
        "; under `#[async_trait]`, one that is a pattern has no name here: bind it to one, and take it apart in the body"
    } else {
        ""
    };
    format!("`<{written}>` names no argument{hint}; {known}{taken_apart}")
}
