//! The function that runs under its lock. Everything the user wrote stays where it was; only the body moves into a
//! block that `run` polls while it holds the lock.
//!
//! Names of ours are `mixed_site`: the body cannot see them, nor can a local of the user's shadow them. They begin with
//! `redis_lock_`, since a pattern would take a constant or a unit struct of the same name for a value. Paths start
//! at `::redis_lock::__private` or `::core`, as any other may mean something else where the function stands.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Expr, FnArg, Type, parse_quote_spanned};

use crate::args::{Keys, Mode, ModeOrExpr, Time, Wait};
use crate::check::{Key, Locked, Piece};
use crate::function::{Argument, mentions};
use crate::returns;
use crate::template::Step;

pub(crate) fn expand(mut locked: Locked) -> TokenStream {
    let captures = captures(&mut locked);
    let site = Span::mixed_site();
    let private = private(&locked, site);
    let keys = keys(&locked);
    let options = options(&locked);

    // At the return type, where a type that is no `Result` is to be reported.
    let returns = returns::named(&locked.returns);
    let returned = site.located_at(returns.span());
    let fake_return = fake_return(&returns, returned);
    let on_error = on_error(&locked, &returns, returned);
    let guard = guard(&locked);

    let function = &locked.function;
    let (brace, body) = match &locked.block {
        Some(block) => (&block.brace, &block.body),
        None => (&function.brace, &function.body),
    };
    let body = match &locked.block {
        Some(_) => use_rebound(&locked, body),
        None => body.clone(),
    };
    let mut body = Group::new(Delimiter::Brace, body);
    body.set_span(site.located_at(brace.span.join()));

    // Keys and options are made before the wait, so that nothing borrowed for them is held across it.
    let runs = quote_spanned! {site=>
        let redis_lock_keys = #keys;
        let redis_lock_options = #options;
        let (redis_lock_ours, redis_lock_of, redis_lock_run) = #private::run::<#returns, _>(
            redis_lock_options,
            redis_lock_keys,
            async move {
                #fake_return
                #captures
                #guard
                #body
            },
        );
        #private::finish::<#returns, _>(redis_lock_ours, redis_lock_of, redis_lock_run.await, #on_error)
    };
    put_in_place(&locked, &runs)
}

/// What runs, where the body was.
fn put_in_place(locked: &Locked, runs: &TokenStream) -> TokenStream {
    let function = &locked.function;
    let (attrs, vis, sig) = (&function.attrs, &function.vis, &function.sig);
    let inner_attrs = &function.inner_attrs;
    let mut item = quote!(#(#attrs)* #vis #sig);
    function.brace.surround(&mut item, |content| {
        content.extend(quote!(#(#inner_attrs)*));
        let Some(block) = &locked.block else {
            content.extend(runs.clone());
            return;
        };
        let (asyncness, capture) = (&block.asyncness, &block.capture);
        let mut future = quote!(#asyncness #capture);
        block
            .brace
            .surround(&mut future, |content| content.extend(runs.clone()));
        match &block.call {
            Some((function, paren)) => {
                function.to_tokens(content);
                paren.surround(content, |content| content.extend(future));
            }
            None => content.extend(future),
        }
    });
    item
}

/// The path of everything of the runtime's.
fn private(locked: &Locked, span: Span) -> TokenStream {
    let ours = || parse_quote_spanned!(span=> ::redis_lock);
    let path = locked.options.krate.clone().unwrap_or_else(ours);
    quote_spanned!(span=> #path::__private)
}

fn keys(locked: &Locked) -> TokenStream {
    match &locked.keys {
        Keys::One(one) => {
            let one = key(locked, one, None);
            quote_spanned!(Span::mixed_site()=> [#one])
        }
        Keys::All(all) => {
            let all = all.iter().map(|(one, mode)| key(locked, one, *mode));
            quote_spanned!(Span::mixed_site()=> [#(#all),*])
        }
    }
}

fn key(locked: &Locked, key: &Key, mode: Option<Mode>) -> TokenStream {
    let (value, span) = match key {
        Key::Expr(expr) => (expr.to_token_stream(), expr.span()),
        Key::Pieces(pieces, span) => (join(locked, pieces, *span), *span),
    };
    let span = Span::mixed_site().located_at(span);
    let private = private(locked, span);
    let key = quote_spanned!(span=> ::core::convert::Into::<#private::Key>::into(#value));
    match mode {
        None => quote_spanned!(span=> #private::request(#key)),
        Some(mode) => {
            let mode = fixed_mode(locked, mode);
            quote_spanned!(span=> #private::request_in(#mode, #key))
        }
    }
}

fn join(locked: &Locked, pieces: &[Piece], span: Span) -> TokenStream {
    let site = Span::mixed_site().located_at(span);
    let string = |text: &str| {
        let mut literal = Literal::string(text);
        literal.set_span(site);
        literal
    };
    if let [Piece::Text(text)] = pieces {
        return string(text).into_token_stream();
    }
    let mut format = String::new();
    let mut values = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Value { name, steps, spec } => {
                let colon = if spec.is_empty() { "" } else { ":" };
                format.extend(["{", colon, spec, "}"]);
                let steps = steps.iter().map(|step| match step {
                    Step::Field(field) => quote_spanned!(span=> .#field),
                    Step::Call(method) => quote_spanned!(span=> .#method()),
                });
                values.push(quote_spanned!(span=> #name #(#steps)*));
            }
        }
    }
    let format = string(&format);
    let private = private(locked, site);
    quote_spanned!(site=> #private::format!(#format, #(#values),*))
}

fn options(locked: &Locked) -> TokenStream {
    let options = &locked.options;
    let site = Span::mixed_site();
    let private_at = |span| private(locked, site.located_at(span));
    let private = private(locked, site);

    let mode = match &options.mode {
        ModeOrExpr::Fixed(mode) => fixed_mode(locked, *mode),
        ModeOrExpr::Expr(expr) => expr.to_token_stream(),
    };
    let time = |time: &Time| match time {
        Time::Expr(expr) => expr.to_token_stream(),
        Time::Fixed(time, span) => {
            let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
            let private = private_at(*span);
            quote_spanned!(site.located_at(*span)=> #private::Duration::new(#seconds, #nanos))
        }
    };
    let wait = options.wait.as_ref().map(|wait| {
        let wait = match wait {
            Wait::For(limit) => time(limit),
            Wait::Forever(span) => {
                let private = private_at(*span);
                quote_spanned!(site.located_at(*span)=> #private::Wait::Forever)
            }
        };
        quote_spanned!(site=> .wait(#wait))
    });
    let ttl = options.ttl.as_ref().map(|ttl| {
        let ttl = time(ttl);
        quote_spanned!(site=> .ttl(#ttl))
    });
    let max_hold = options.max_hold.as_ref().map(|max_hold| {
        let max_hold = time(max_hold);
        quote_spanned!(site=> .max_hold(#max_hold))
    });
    let min_hold = options.min_hold.as_ref().map(|min_hold| {
        let min_hold = time(min_hold);
        quote_spanned!(site=> .min_hold(#min_hold))
    });
    let command_timeout = options.command_timeout.as_ref().map(|command_timeout| {
        let command_timeout = time(command_timeout);
        quote_spanned!(site=> .command_timeout(#command_timeout))
    });
    let auto_extend = options
        .auto_extend
        .as_ref()
        .map(|auto_extend| quote_spanned!(site=> .auto_extend(#auto_extend)));
    let namespace = options
        .namespace
        .as_ref()
        .map(|namespace| quote_spanned!(site=> .namespace(#namespace)));
    let locker = options.locker.as_ref().map(|locker| {
        // Borrowed, so that `self.locker` is not moved; a reference to one will do as well.
        let span = site.located_at(locker.span());
        let private = private_at(locker.span());
        quote_spanned!(span=> .locker(::core::borrow::Borrow::<#private::Locker>::borrow(&#locker)))
    });
    quote_spanned! {site=>
        #private::Opts::new(#mode) #wait #ttl #max_hold #min_hold #auto_extend #command_timeout #namespace #locker
    }
}

fn fixed_mode(locked: &Locked, mode: Mode) -> TokenStream {
    let site = Span::mixed_site();
    let private = private(locked, site);
    match mode {
        Mode::Read => quote_spanned!(site=> #private::Mode::Read),
        Mode::Write => quote_spanned!(site=> #private::Mode::Write),
    }
}

/// Tells the compiler what the block returns before it sees the body: without this, `return Ok(Box::new(x))` does not
/// become a `Box<dyn Trait>`, and a wrong type is reported at the attribute instead of the value.
fn fake_return(returns: &Type, span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(unreachable_code)]
        if false {
            let redis_lock_returned: #returns = loop {};
            return redis_lock_returned;
        }
    }
}

/// Binds the lock's handle, by a name that the body sees and that the compiler reports if the body does not use it.
fn guard(locked: &Locked) -> Option<TokenStream> {
    let name = locked.options.guard.as_ref()?;
    let span = Span::mixed_site().located_at(name.span());
    let private = private(locked, span);
    let held = match locked.keys {
        Keys::One(_) => quote_spanned!(span=> held),
        Keys::All(_) => quote_spanned!(span=> held_all),
    };
    Some(quote_spanned!(span=> let #name = #private::#held();))
}

/// What the function returns when there is no lock, or no longer. By then the body owns the arguments, so only copies
/// of them can be used.
fn on_error(locked: &Locked, returns: &Type, returned: Span) -> TokenStream {
    let located = |expr: &Expr| Span::mixed_site().located_at(expr.span());
    let private_at = |span| private(locked, span);
    let failed = if let Some(map_err) = &locked.options.map_err {
        // By way of a function that says what it takes, so that a closure's argument needs no type, and outside of
        // it, so that what comes out can be coerced.
        let span = located(map_err);
        let private = private_at(span);
        quote_spanned! {span=>
            ::core::result::Result::Err(::core::result::Result::unwrap_or_else(
                ::core::result::Result::Err::<_, #private::Error>(redis_lock_error),
                #map_err,
            ))
        }
    } else {
        let private = private_at(returned);
        quote_spanned!(returned=> <#returns as #private::LockOutput>::from_lock(redis_lock_error))
    };
    let Some(instead) = &locked.options.on_contended else {
        return quote_spanned!(returned=> move |redis_lock_error| #failed);
    };
    let span = located(instead);
    let private = private_at(span);
    quote_spanned! {span=>
        move |redis_lock_error| if #private::Error::is_contended(&redis_lock_error) { #instead } else { #failed }
    }
}

/// Uses every argument in the block, the last one first. The block then owns them all, as a whole, and drops them in
/// the order of a plain `async fn`, still under the lock. An argument that nobody uses is moved to another name instead, or
/// this very use would silence `unused_variables`.
fn captures(locked: &mut Locked) -> TokenStream {
    let site = Span::mixed_site();
    let mut captures = Vec::new();
    let mut rebound = Vec::new();
    for Argument {
        ident,
        attrs,
        position,
    } in locked.function.arguments()
    {
        let used = is_used(locked, &ident);
        // What the block of a function that returns a future does not use is none of its business.
        if locked.block.is_some() && !used {
            continue;
        }
        let conditions = attrs.iter().filter(|attr| is(attr, &["cfg", "cfg_attr"]));
        captures.push(if ident.to_string().starts_with('_') {
            quote_spanned!(site=> #(#conditions)* #[allow(clippy::used_underscore_binding)] let _ = &#ident;)
        } else if used {
            quote_spanned!(site=> #(#conditions)* let _ = &#ident;)
        } else {
            rebound.push(position);
            let lints = attrs.iter().filter(|attr| is(attr, &["allow", "expect", "warn", "deny", "forbid"]));
            // Never run: bound for good, it would be dropped before the others.
            quote_spanned! {site=>
                #(#conditions)* if false { #(#lints)* #[allow(clippy::shadow_same)] let #ident = #ident; }
            }
        });
    }
    for position in rebound {
        // The parameter itself is used now: an expectation would find nothing there.
        if let FnArg::Typed(parameter) = &mut locked.function.sig.inputs[position] {
            parameter.attrs.retain(|attr| !is(attr, &["expect"]));
        }
    }
    captures.into_iter().rev().collect()
}

/// A block that rebinds its arguments, as `#[async_trait]` writes `let id = id;`, makes an unused variable of one that
/// only the attribute uses. So the attribute uses that one as well.
fn use_rebound(locked: &Locked, body: &TokenStream) -> TokenStream {
    let arguments = locked.function.arguments();
    let mut tokens = Vec::new();
    for token in body.clone() {
        let ends = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';');
        tokens.push(token);
        if !ends {
            continue;
        }
        let Some(name) = rebound(&tokens) else {
            continue;
        };
        let argument = arguments.iter().find(|argument| argument.ident == name);
        if let Some(argument) = argument
            && names_argument(locked, &name)
        {
            let conditions = argument
                .attrs
                .iter()
                .filter(|attr| is(attr, &["cfg", "cfg_attr"]));
            let site = Span::mixed_site();
            tokens.extend(quote_spanned! {site=>
                #(#conditions)* #[allow(clippy::used_underscore_binding)] let _ = &#name;
            });
        }
    }
    tokens.into_iter().collect()
}

/// The name in `let name = name;` or `let mut name = name;`, if the tokens end so.
fn rebound(tokens: &[TokenTree]) -> Option<Ident> {
    let [
        rest @ ..,
        TokenTree::Ident(to),
        TokenTree::Punct(equals),
        TokenTree::Ident(from),
        _,
    ] = tokens
    else {
        return None;
    };
    let is_word = |token: Option<&TokenTree>, word: &str| matches!(token, Some(TokenTree::Ident(ident)) if ident == word);
    let rest = match rest {
        [rest @ .., last] if is_word(Some(last), "mut") => rest,
        rest => rest,
    };
    let is_rebound = is_word(rest.last(), "let") && equals.as_char() == '=' && to == from;
    is_rebound.then(|| to.clone())
}

/// Whether the compiler would call the argument used if the attribute were not there, or the attribute itself uses it.
fn is_used(locked: &Locked, ident: &Ident) -> bool {
    let function = &locked.function;
    (ident == "self" && locked.block.is_none())
        || names_argument(locked, ident)
        || function
            .attrs
            .iter()
            .any(|attr| records_arguments(attr) || mentions(&attr.to_token_stream(), ident))
        || mentions(&function.body, ident)
}

/// Whether a key or an option uses it.
fn names_argument(locked: &Locked, ident: &Ident) -> bool {
    locked.places().any(|name| name.unraw() == ident.unraw())
        || locked
            .expressions()
            .iter()
            .any(|code| mentions(code, ident))
}

/// `#[tracing::instrument]`, which has yet to be expanded, puts all of them into its span.
fn records_arguments(attr: &Attribute) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|segment| segment.ident == "instrument")
        && !attr.to_token_stream().to_string().contains("skip_all")
}

fn is(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares what both look like once formatted.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`quote!` makes values, and is easier to read without a `&`"
    )]
    fn assert_expands(args: TokenStream, item: TokenStream, expected: &str) {
        let expansion = syn::parse2(crate::lock(args, &item)).expect("an item");
        let expected = syn::parse_str(expected).expect("an item");
        let expansion = prettyplease::unparse(&expansion);
        assert_eq!(expansion, prettyplease::unparse(&expected), "\n{expansion}");
    }

    #[test]
    fn of_a_function() {
        assert_expands(
            quote!(
                key = "order:<id>:{a}",
                mode = "r",
                wait = "1m30s",
                ttl = "500ms"
            ),
            quote! {
                /// Ships.
                pub async fn ship(id: u64, (_all, mut rest): (A, B)) -> Result<impl Iterator, Error> {
                    #![allow(unused)]
                    rest.next()
                }
            },
            r#"
            /// Ships.
            pub async fn ship(id: u64, (_all, mut rest): (A, B)) -> Result<impl Iterator, Error> {
                #![allow(unused)]
                let redis_lock_keys = [
                    ::redis_lock::__private::request(
                        ::core::convert::Into::<::redis_lock::__private::Key>::into(
                            ::redis_lock::__private::format!("order:{}:{{a}}", id)
                        )
                    )
                ];
                let redis_lock_options = ::redis_lock::__private::Opts::new(::redis_lock::__private::Mode::Read)
                    .wait(::redis_lock::__private::Duration::new(90u64, 0u32))
                    .ttl(::redis_lock::__private::Duration::new(0u64, 500000000u32));
                let (redis_lock_ours, redis_lock_of, redis_lock_run) = ::redis_lock::__private::run::<Result<_, Error>, _>(
                    redis_lock_options,
                    redis_lock_keys,
                    async move {
                        #[allow(unreachable_code)]
                        if false {
                            let redis_lock_returned: Result<_, Error> = loop {};
                            return redis_lock_returned;
                        }
                        let _ = &rest;
                        #[allow(clippy::used_underscore_binding)]
                        let _ = &_all;
                        let _ = &id;
                        { rest.next() }
                    },
                );
                ::redis_lock::__private::finish::<Result<_, Error>, _>(
                    redis_lock_ours,
                    redis_lock_of,
                    redis_lock_run.await,
                    move |redis_lock_error| <Result<_, Error> as ::redis_lock::__private::LockOutput>::from_lock(redis_lock_error),
                )
            }
            "#,
        );
    }

    #[test]
    fn of_a_method_with_an_unused_argument() {
        assert_expands(
            quote!(
                key = self.key(),
                wait = "forever",
                max_hold = self.limit,
                guard = lock,
                crate = locks
            ),
            quote! {
                async fn ship(&self, #[cfg(unix)] #[expect(unused_variables)] #[doc(hidden)] id: u64) -> Alias {
                    Ok(())
                }
            },
            "
            async fn ship(&self, #[cfg(unix)] #[doc(hidden)] id: u64) -> Alias {
                let redis_lock_keys = [locks::__private::request(::core::convert::Into::<locks::__private::Key>::into(self.key()))];
                let redis_lock_options = locks::__private::Opts::new(locks::__private::Mode::Write)
                    .wait(locks::__private::Wait::Forever)
                    .max_hold(self.limit);
                let (redis_lock_ours, redis_lock_of, redis_lock_run) = locks::__private::run::<Alias, _>(
                    redis_lock_options,
                    redis_lock_keys,
                    async move {
                        #[allow(unreachable_code)]
                        if false {
                            let redis_lock_returned: Alias = loop {};
                            return redis_lock_returned;
                        }
                        #[cfg(unix)]
                        if false {
                            #[expect(unused_variables)]
                            #[allow(clippy::shadow_same)]
                            let id = id;
                        }
                        let _ = &self;
                        let lock = locks::__private::held();
                        { Ok(()) }
                    },
                );
                locks::__private::finish::<Alias, _>(
                    redis_lock_ours,
                    redis_lock_of,
                    redis_lock_run.await,
                    move |redis_lock_error| <Alias as locks::__private::LockOutput>::from_lock(redis_lock_error),
                )
            }
            ",
        );
    }

    #[test]
    fn of_what_async_trait_leaves_behind() {
        assert_expands(
            quote!(
                key = ["a:<a.id()>", r("b:<b:04>")],
                mode = self.mode,
                namespace = "shop",
                on_contended = Ok(()),
                map_err = Failed::Lock,
                guard = locks,
                auto_extend = false,
                locker = self.locker
            ),
            quote! {
                fn ship<'life0>(&'life0 self, a: A, b: u8) -> Pin<Box<dyn Future<Output = Result<(), E>> + 'life0>> {
                    Box::pin(async move {
                        let __self = self;
                        let a = a;
                        let b = b;
                        Ok(())
                    })
                }
            },
            r#"
            fn ship<'life0>(&'life0 self, a: A, b: u8) -> Pin<Box<dyn Future<Output = Result<(), E>> + 'life0>> {
                Box::pin(async move {
                    let redis_lock_keys = [
                        ::redis_lock::__private::request(
                            ::core::convert::Into::<::redis_lock::__private::Key>::into(
                                ::redis_lock::__private::format!("a:{}", a.r#id())
                            )
                        ),
                        ::redis_lock::__private::request_in(
                            ::redis_lock::__private::Mode::Read,
                            ::core::convert::Into::<::redis_lock::__private::Key>::into(
                                ::redis_lock::__private::format!("b:{:04}", b)
                            )
                        )
                    ];
                    let redis_lock_options = ::redis_lock::__private::Opts::new(self.mode)
                        .auto_extend(false)
                        .namespace("shop")
                        .locker(::core::borrow::Borrow::<::redis_lock::__private::Locker>::borrow(&self.locker));
                    let (redis_lock_ours, redis_lock_of, redis_lock_run) = ::redis_lock::__private::run::<Result<(), E>, _>(
                        redis_lock_options,
                        redis_lock_keys,
                        async move {
                            #[allow(unreachable_code)]
                            if false {
                                let redis_lock_returned: Result<(), E> = loop {};
                                return redis_lock_returned;
                            }
                            let _ = &b;
                            let _ = &a;
                            let _ = &self;
                            let locks = ::redis_lock::__private::held_all();
                            {
                                let __self = self;
                                let a = a;
                                #[allow(clippy::used_underscore_binding)]
                                let _ = &a;
                                let b = b;
                                #[allow(clippy::used_underscore_binding)]
                                let _ = &b;
                                Ok(())
                            }
                        },
                    );
                    ::redis_lock::__private::finish::<Result<(), E>, _>(
                        redis_lock_ours,
                        redis_lock_of,
                        redis_lock_run.await,
                        move |redis_lock_error| if ::redis_lock::__private::Error::is_contended(&redis_lock_error) {
                            Ok(())
                        } else {
                            ::core::result::Result::Err(
                                ::core::result::Result::unwrap_or_else(
                                    ::core::result::Result::Err::<_, ::redis_lock::__private::Error>(redis_lock_error),
                                    Failed::Lock,
                                )
                            )
                        },
                    )
                })
            }
            "#,
        );
    }

    #[test]
    fn of_a_mistake() {
        assert_expands(
            quote!(key = "order", ttl = "0s"),
            quote!(
                async fn ship() -> Alias {
                    Ok(())
                }
            ),
            r#"
            ::core::compile_error! { "a lease of no time holds nothing: write `ttl = \"30s\"`" }
            #[allow(unused_variables)]
            async fn ship() -> Alias { Ok(()) }
            "#,
        );
    }
}
