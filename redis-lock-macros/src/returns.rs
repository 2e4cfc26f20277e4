//! What a function returns, as the expansion has to name it.

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{GenericArgument, PathArguments, PathSegment, Type, TypeParamBound, parse_quote_spanned};

/// The `R` of `impl Future<Output = R>` and `Pin<Box<dyn Future<Output = R>>>`.
pub(crate) fn of_future(returns: &Type) -> Option<Type> {
    let bounds = match peel(returns) {
        Type::ImplTrait(opaque) => &opaque.bounds,
        pin => match only_argument(only_argument(pin, "Pin")?, "Box")? {
            Type::TraitObject(object) => &object.bounds,
            _ => return None,
        },
    };
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => output(bound.path.segments.last()?),
        _ => None,
    })
}

/// What a future gives whose type has a name: `Self::Future`, as in `tower::Service`, or `BoxFuture<'_, R>`. By
/// convention such names end in `Future`.
pub(crate) fn of_named_future(returns: &Type) -> Option<Type> {
    let Type::Path(path) = peel(returns) else {
        return None;
    };
    let is_future = path
        .path
        .segments
        .last()?
        .ident
        .to_string()
        .ends_with("Future");
    is_future.then(|| {
        let site = Span::mixed_site().located_at(returns.span());
        parse_quote_spanned!(site=> <#returns as ::core::future::Future>::Output)
    })
}

/// The `R` of `Future<Output = R>`.
fn output(future: &PathSegment) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = &future.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(output.ty.clone()),
        _ => None,
    })
}

/// The `T` of `Name<T>`, by whatever path.
fn only_argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = peel(ty) else {
        return None;
    };
    let segment = path.path.segments.last()?;
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) if segment.ident == name => {
            match arguments.args.first()? {
                GenericArgument::Type(ty) => Some(peel(ty)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `$returns:ty` of a `macro_rules!` macro comes in a group.
fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        ty => ty,
    }
}

/// The type as it can be named in a body: with `_` for each `impl Trait`.
pub(crate) fn named(returns: &Type) -> Type {
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
    use quote::ToTokens as _;

    use super::*;

    fn of(returns: &str) -> Option<String> {
        let returns = of_future(&syn::parse_str(returns).expect("a type"))?;
        Some(returns.to_token_stream().to_string())
    }

    #[test]
    fn futures_are_known_by_their_output() {
        for future in [
            "impl Future<Output = R>",
            "impl Send + ::core::future::Future<Output = R> + 'a",
            "Pin<Box<dyn Future<Output = R>>>",
            "::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = R> + Send + 'a>>",
        ] {
            assert_eq!(of(future).as_deref(), Some("R"), "{future}");
        }
    }

    #[test]
    fn futures_are_known_by_a_name_that_says_so() {
        let of = |returns: &str| {
            let returns = of_named_future(&syn::parse_str(returns).expect("a type"))?;
            Some(returns.to_token_stream().to_string())
        };
        for (future, output) in [
            (
                "Self::Future",
                "< Self :: Future as :: core :: future :: Future > :: Output",
            ),
            (
                "BoxFuture<'a, R>",
                "< BoxFuture < 'a , R > as :: core :: future :: Future > :: Output",
            ),
        ] {
            assert_eq!(of(future).as_deref(), Some(output), "{future}");
        }
        for other in ["Result<R, E>", "Future<R>::Other", "Futures", "&Future"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for other in [
            "R",
            "impl Iterator<Item = R>",
            "impl Future",
            "Box<dyn Future<Output = R>>",
            "Pin<Box<R>>",
            "Result<impl Future<Output = R>, E>",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
