//! The function below the attribute: its signature as a tree, its body as the tokens that were written.
//!
//! The body is not parsed. That is faster, lets the compiler report what is wrong inside of it, and lets an editor
//! work with a body that is half typed.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::token::{Brace, Paren};
use syn::{
    Attribute, Error, FnArg, GenericParam, Pat, Path, Result, Signature, Token, Visibility, braced,
    parenthesized,
};

pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) brace: Brace,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) body: TokenStream,
}

/// A body that is nothing but an `async` block, or the call of one function with such a block: `Box::pin(async move {
/// … })`, which is what `#[async_trait]` makes of an `async fn`.
pub(crate) struct AsyncBlock {
    pub(crate) call: Option<(Path, Paren)>,
    pub(crate) asyncness: Token![async],
    pub(crate) capture: Option<Token![move]>,
    pub(crate) brace: Brace,
    pub(crate) body: TokenStream,
}

impl Parse for AsyncBlock {
    fn parse(input: ParseStream) -> Result<Self> {
        let content;
        let (call, input) = if input.peek(Token![async]) {
            (None, input)
        } else {
            let function = input.parse()?;
            let paren = parenthesized!(content in input);
            (Some((function, paren)), &content)
        };
        let asyncness = input.parse()?;
        let capture = input.parse()?;
        let body;
        let brace = braced!(body in input);
        if call.is_some() {
            input.parse::<Option<Token![,]>>()?;
        }
        if !input.is_empty() {
            return Err(input.error("expected the end of the body"));
        }
        Ok(Self {
            call,
            asyncness,
            capture,
            brace,
            body: body.parse()?,
        })
    }
}

/// A name that the signature binds to an argument, or to a part of one.
pub(crate) struct Argument<'a> {
    pub(crate) ident: Ident,
    /// Those of the parameter that binds it.
    pub(crate) attrs: &'a [Attribute],
    /// Which parameter that is.
    pub(crate) position: usize,
}

impl Function {
    /// In the order in which they are bound; a `_` binds nothing.
    pub(crate) fn arguments(&self) -> Vec<Argument<'_>> {
        let mut arguments = Vec::new();
        for (position, input) in self.sig.inputs.iter().enumerate() {
            let (idents, attrs) = match input {
                FnArg::Receiver(receiver) => (
                    vec![Ident::new("self", receiver.self_token.span)],
                    &receiver.attrs,
                ),
                FnArg::Typed(typed) => {
                    let mut idents = Vec::new();
                    collect_bindings(&typed.pat, &mut idents);
                    (idents, &typed.attrs)
                }
            };
            arguments.extend(idents.into_iter().map(|ident| Argument {
                ident,
                attrs,
                position,
            }));
        }
        arguments
    }

    /// What a key can name: the arguments and the const parameters.
    pub(crate) fn names(&self) -> Vec<Ident> {
        let consts = self
            .sig
            .generics
            .params
            .iter()
            .filter_map(|param| match param {
                GenericParam::Const(param) => Some(param.ident.clone()),
                _ => None,
            });
        let arguments = self.arguments().into_iter().map(|argument| argument.ident);
        arguments.chain(consts).collect()
    }
}

impl Parse for Function {
    fn parse(input: ParseStream) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = match other_item(input) {
            Some(error) => return Err(error),
            None => input.parse()?,
        };
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                "a method without a body has nothing to run under a lock: put `#[redis_lock]` on its implementations",
            ));
        }
        let content;
        let brace = braced!(content in input);
        let inner_attrs = content.call(Attribute::parse_inner)?;
        let body = content.parse()?;
        Ok(Self {
            attrs,
            vis,
            sig,
            brace,
            inner_attrs,
            body,
        })
    }
}

/// Whether the tokens name `ident`: as a word, or inside a string as `format!` and keys do, `"{ident}"`, `"<ident>"`.
pub(crate) fn mentions(tokens: &TokenStream, ident: &Ident) -> bool {
    let name = ident.unraw().to_string();
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(word) => word.unraw() == name,
        TokenTree::Group(group) => mentions(&group.stream(), ident),
        TokenTree::Literal(literal) => {
            let text = literal.to_string();
            ["{", "<"]
                .iter()
                .any(|open| text.contains(&format!("{open}{name}")))
                || text.contains(&format!("{name}$"))
        }
        TokenTree::Punct(_) => false,
    })
}

/// The mistake of an item that is no function, at the word that makes it something else.
fn other_item(input: ParseStream) -> Option<Error> {
    if input.fork().parse::<Signature>().is_ok() {
        return None;
    }
    let word = input.fork().call(Ident::parse_any).ok()?;
    let instead = match word.to_string().as_str() {
        "struct" | "enum" | "union" | "static" | "const" | "type" | "use" | "extern"
        | "macro_rules" => "",
        "impl" | "trait" | "unsafe" => ": put it on the methods that need the lock",
        "mod" => ": put it on the functions that need the lock",
        _ => return None,
    };
    Some(Error::new(
        word.span(),
        format!("`#[redis_lock]` goes on an `async fn`, not on `{word}`{instead}"),
    ))
}

fn collect_bindings(pat: &Pat, idents: &mut Vec<Ident>) {
    match pat {
        Pat::Ident(pat) => {
            idents.push(pat.ident.clone());
            if let Some((_, inner)) = &pat.subpat {
                collect_bindings(inner, idents);
            }
        }
        Pat::Struct(pat) => pat
            .fields
            .iter()
            .for_each(|field| collect_bindings(&field.pat, idents)),
        Pat::Tuple(pat) => pat
            .elems
            .iter()
            .for_each(|pat| collect_bindings(pat, idents)),
        Pat::TupleStruct(pat) => pat
            .elems
            .iter()
            .for_each(|pat| collect_bindings(pat, idents)),
        Pat::Slice(pat) => pat
            .elems
            .iter()
            .for_each(|pat| collect_bindings(pat, idents)),
        Pat::Reference(pat) => collect_bindings(&pat.pat, idents),
        Pat::Paren(pat) => collect_bindings(&pat.pat, idents),
        Pat::Type(pat) => collect_bindings(&pat.pat, idents),
        // Every case binds the same names.
        Pat::Or(pat) => pat
            .cases
            .iter()
            .take(1)
            .for_each(|pat| collect_bindings(pat, idents)),
        _ => {}
    }
}
