//! The function that runs under its lock. Everything the user wrote stays where it was; only the body moves into a
//! block that `run` polls while it holds the lock.
//!
//! Names of ours are `mixed_site`: the body cannot see them, nor can a name of the user's shadow them. Paths start
//! at `::redis_lock::__private` or `::core`, as any other may mean something else where the function stands.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{Attribute, FnArg, Type, parse_quote_spanned};

use crate::args::{Mode, Time, Wait};
use crate::check::{Key, Locked, Piece};
use crate::function::{Argument, Function, mentions};

pub(crate) fn expand(mut locked: Locked) -> TokenStream {
    let captures = captures(&mut locked);
    let Function {
        attrs,
        vis,
        sig,
        brace,
        inner_attrs,
        body,
    } = &locked.function;
    let site = Span::mixed_site();
    let key = key(&locked.key);
    let options = options(&locked);

    // At the return type, where a type that is no `Result` is to be reported.
    let returns = named(&locked.returns);
    let returned = site.located_at(returns.span());
    let fake_return = fake_return(&returns, returned);
    let on_error = quote_spanned! {returned=>
        |error| <#returns as ::redis_lock::__private::LockOutput>::from_lock(error)
    };

    let mut body = Group::new(Delimiter::Brace, body.clone());
    body.set_span(site.located_at(brace.span.join()));

    // Key and options are made before the wait, so that nothing borrowed for them is held across it.
    let runs = quote_spanned! {site=>
        let key = #key;
        let options = #options;
        ::redis_lock::__private::run::<#returns, _, _>(
            options,
            [key],
            async move {
                #fake_return
                #captures
                #body
            },
            #on_error,
        ).await
    };

    let mut item = quote!(#(#attrs)* #vis #sig);
    brace.surround(&mut item, |block| {
        block.extend(quote!(#(#inner_attrs)* #runs));
    });
    item
}

fn key(key: &Key) -> TokenStream {
    let (value, span) = match key {
        Key::Expr(expr) => (expr.to_token_stream(), expr.span()),
        Key::Pieces(pieces, span) => (join(pieces, *span), *span),
    };
    quote_spanned! {Span::mixed_site().located_at(span)=>
        ::core::convert::Into::<::redis_lock::__private::Key>::into(#value)
    }
}

fn join(pieces: &[Piece], span: Span) -> TokenStream {
    let string = |text: &str| {
        let mut literal = Literal::string(text);
        literal.set_span(Span::mixed_site().located_at(span));
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
            Piece::Value { name, fields } => {
                format.push_str("{}");
                values.push(quote_spanned!(span=> #name #(.#fields)*));
            }
        }
    }
    let format = string(&format);
    quote_spanned! {Span::mixed_site().located_at(span)=>
        ::redis_lock::__private::format!(#format, #(#values),*)
    }
}

fn options(locked: &Locked) -> TokenStream {
    let site = Span::mixed_site();
    let mode = match locked.mode {
        Mode::Read => quote_spanned!(site=> Read),
        Mode::Write => quote_spanned!(site=> Write),
    };
    let wait = locked.wait.as_ref().map(|wait| {
        let wait = match wait {
            Wait::For(limit) => time(limit),
            Wait::Forever(span) => {
                quote_spanned!(site.located_at(*span)=> ::redis_lock::__private::Wait::Forever)
            }
        };
        quote_spanned!(site=> .wait(#wait))
    });
    let ttl = locked.ttl.as_ref().map(|ttl| {
        let ttl = time(ttl);
        quote_spanned!(site=> .ttl(#ttl))
    });
    quote_spanned! {site=>
        ::redis_lock::__private::Opts::new(::redis_lock::__private::Mode::#mode) #wait #ttl
    }
}

fn time(time: &Time) -> TokenStream {
    match time {
        Time::Expr(expr) => expr.to_token_stream(),
        Time::Fixed(time, span) => {
            let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
            quote_spanned! {Span::mixed_site().located_at(*span)=>
                ::redis_lock::__private::Duration::new(#seconds, #nanos)
            }
        }
    }
}

/// Tells the compiler what the block returns before it sees the body: without this, `return Ok(Box::new(x))` does not
/// become a `Box<dyn Trait>`, and a wrong type is reported at the attribute instead of the value.
fn fake_return(returns: &Type, span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(unreachable_code)]
        if false {
            let returned: #returns = loop {};
            return returned;
        }
    }
}

/// Uses every argument in the block, the last one first. The block then owns them all, as a whole, and drops them in
/// the order of a plain `async fn`, still under the lock. An argument that nobody uses is bound once more instead, or
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
        let conditions = attrs.iter().filter(|attr| is(attr, &["cfg"]));
        captures.push(if ident.to_string().starts_with('_') {
            quote_spanned!(site=> #(#conditions)* #[allow(clippy::used_underscore_binding)] let _ = &#ident;)
        } else if is_used(locked, &ident) {
            quote_spanned!(site=> #(#conditions)* let _ = &#ident;)
        } else {
            rebound.push(position);
            let lints = attrs.iter().filter(|attr| is(attr, &["allow", "expect", "warn", "deny", "forbid"]));
            quote_spanned!(site=> #(#conditions)* #(#lints)* let #ident = #ident;)
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

/// Whether the compiler would call the argument used if the attribute were not there, or the attribute itself uses it.
fn is_used(locked: &Locked, ident: &Ident) -> bool {
    let function = &locked.function;
    let in_key = match &locked.key {
        Key::Expr(expr) => mentions(&expr.to_token_stream(), ident),
        Key::Pieces(pieces, _) => pieces.iter().any(|piece| match piece {
            Piece::Value { name, .. } => name == ident,
            Piece::Text(_) => false,
        }),
    };
    let wait = match &locked.wait {
        Some(Wait::For(time)) => Some(time),
        _ => None,
    };
    let mut times = wait.into_iter().chain(&locked.ttl);
    ident == "self"
        || in_key
        || times.any(
            |time| matches!(time, Time::Expr(expr) if mentions(&expr.to_token_stream(), ident)),
        )
        || function
            .attrs
            .iter()
            .any(|attr| mentions(&attr.to_token_stream(), ident))
        || mentions(&function.body, ident)
}

fn is(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}

/// The return type as it can be named in a body: with `_` for each `impl Trait`.
fn named(returns: &Type) -> Type {
    struct Infer;

    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(_) = ty {
                *ty = parse_quote_spanned!(ty.span()=> _);
            } else {
                visit_type_mut(self, ty);
            }
        }
    }

    let mut returns = returns.clone();
    Infer.visit_type_mut(&mut returns);
    returns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares what both look like once formatted.
    #[track_caller]
    fn assert_expands(args: TokenStream, item: TokenStream, expected: &str) {
        let expansion = syn::parse2(crate::lock(args, item)).expect("an item");
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
                let key = ::core::convert::Into::<::redis_lock::__private::Key>::into(
                    ::redis_lock::__private::format!("order:{}:{{a}}", id)
                );
                let options = ::redis_lock::__private::Opts::new(::redis_lock::__private::Mode::Read)
                    .wait(::redis_lock::__private::Duration::new(90u64, 0u32))
                    .ttl(::redis_lock::__private::Duration::new(0u64, 500000000u32));
                ::redis_lock::__private::run::<Result<_, Error>, _, _>(
                    options,
                    [key],
                    async move {
                        #[allow(unreachable_code)]
                        if false {
                            let returned: Result<_, Error> = loop {};
                            return returned;
                        }
                        let _ = &rest;
                        #[allow(clippy::used_underscore_binding)]
                        let _ = &_all;
                        let _ = &id;
                        { rest.next() }
                    },
                    |error| <Result<_, Error> as ::redis_lock::__private::LockOutput>::from_lock(error),
                ).await
            }
            "#,
        );
    }

    #[test]
    fn of_a_method_with_an_unused_argument() {
        assert_expands(
            quote!(key = self.key(), wait = "forever", ttl = self.lease),
            quote! {
                async fn ship(&self, #[cfg(unix)] #[expect(unused_variables)] #[doc(hidden)] id: u64) -> Alias {
                    Ok(())
                }
            },
            "
            async fn ship(&self, #[cfg(unix)] #[doc(hidden)] id: u64) -> Alias {
                let key = ::core::convert::Into::<::redis_lock::__private::Key>::into(self.key());
                let options = ::redis_lock::__private::Opts::new(::redis_lock::__private::Mode::Write)
                    .wait(::redis_lock::__private::Wait::Forever)
                    .ttl(self.lease);
                ::redis_lock::__private::run::<Alias, _, _>(
                    options,
                    [key],
                    async move {
                        #[allow(unreachable_code)]
                        if false {
                            let returned: Alias = loop {};
                            return returned;
                        }
                        #[cfg(unix)]
                        #[expect(unused_variables)]
                        let id = id;
                        let _ = &self;
                        { Ok(()) }
                    },
                    |error| <Alias as ::redis_lock::__private::LockOutput>::from_lock(error),
                ).await
            }
            ",
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
            async fn ship() -> Alias { Ok(()) }
            "#,
        );
    }
}
