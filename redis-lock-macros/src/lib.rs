//! The attribute `#[redis_lock]`; an implementation detail of the `redis_lock` crate, which exports it.

mod args;
mod check;
mod duration;
mod expand;
mod function;
mod mistakes;
mod template;

use proc_macro2::TokenStream;

use crate::args::Args;
use crate::mistakes::Mistakes;

/// Runs an `async fn` under a lock.
#[proc_macro_attribute]
pub fn redis_lock(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    lock(args.into(), item.into()).into()
}

/// Parse, check, expand. With a mistake in it the function is left as it is, below the mistakes: if it were gone,
/// everything that calls it would be reported as well.
fn lock(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let args = Args::parse(args, &mut mistakes);
    let function = mistakes.ok(syn::parse2(item.clone()));
    let locked = function.and_then(|function| check::check(args, function, &mut mistakes));
    match (mistakes.into_result(), locked) {
        (Ok(()), Some(locked)) => expand::expand(locked),
        (Ok(()), None) => item,
        (Err(error), _) => {
            let mut output = error.into_compile_error();
            output.extend(item);
            output
        }
    }
}
