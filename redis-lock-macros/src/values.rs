//! What each option may be, and what is said when it is something else.

use std::fmt::Debug;
use std::time::Duration;

use proc_macro2::{Ident, Span, TokenTree};
use quote::ToTokens as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Lit, LitBool, LitStr, Path, Result, Token};

use crate::args::{Key, Keys, Mode, ModeOrExpr, Time, Wait};
use crate::bounds::{self, LONGEST, LONGEST_COMMAND, SHORTEST_COMMAND, SHORTEST_LEASE};
use crate::duration;
use crate::mistakes::Mistakes;
use crate::template::Template;

/// Those of a list that are right, also beside others that are not.
pub(crate) fn keys(value: Expr, mistakes: &mut Mistakes) -> Option<Keys<Key>> {
    let array = match value {
        Expr::Array(array) if array.attrs.is_empty() => array,
        Expr::Repeat(_) => {
            mistakes.push(Error::new_spanned(
                value,
                "a list of keys names each of them: write `key = [\"account:<from>\", \"account:<to>\"]`",
            ));
            return None;
        }
        value => return mistakes.ok(only_key(value)).map(Keys::One),
    };
    if array.elems.is_empty() {
        mistakes.push(Error::new_spanned(
            array,
            "the list of keys is empty: name what is locked, as in `key = [\"account:<from>\", \"account:<to>\"]`",
        ));
        return None;
    }
    let keys = array.elems.into_iter();
    let keys = keys.filter_map(|value| {
        let (mode, value) = marked(ungroup(value));
        mistakes.ok(key(value)).map(|key| (key, mode))
    });
    Some(Keys::All(keys.collect()))
}

/// The mode and the key of `r(KEY)`, `read(KEY)`, `w(KEY)` and `write(KEY)`; anything else is a key.
fn marked(value: Expr) -> (Option<Mode>, Expr) {
    let Expr::Call(call) = &value else {
        return (None, value);
    };
    let mode = match &*call.func {
        Expr::Path(word) => word.path.get_ident().map(Ident::to_string),
        _ => None,
    };
    match (mode.as_deref().and_then(mode_named), call.args.first()) {
        (Some(mode), Some(key)) if call.args.len() == 1 && call.attrs.is_empty() => {
            (Some(mode), ungroup(key.clone()))
        }
        _ => (None, value),
    }
}

/// A key beside which there is no other: what is marked there is meant for a list, if it is not a call of a function.
fn only_key(value: Expr) -> Result<Key> {
    if let (Some(mode), inside) = marked(value.clone())
        && text(&inside).is_some()
    {
        let (key, mode) = (inside.to_token_stream(), mode.letter());
        return Err(Error::new_spanned(
            value,
            format!(
                "only in a list does a key have a mode of its own: write `key = {key}, mode = \"{mode}\"`"
            ),
        ));
    }
    key(value)
}

fn key(value: Expr) -> Result<Key> {
    match literal(&value) {
        Some(Lit::Str(text)) => Template::parse(text).map(Key::Template),
        Some(Lit::Int(number)) => Err(Error::new(
            number.span(),
            format!("a key is a string: write `\"{number}\"`"),
        )),
        Some(other) => Err(Error::new(
            other.span(),
            "a key is a string, or an expression that is `Into<redis_lock::Key>`: write `key = \"order:<id>\"`",
        )),
        None if matches!(value, Expr::Array(_) | Expr::Repeat(_)) => Err(Error::new_spanned(
            value,
            "a list stands inside of the list of keys: write all keys in one",
        )),
        None => Ok(Key::Expr(value)),
    }
}

pub(crate) fn mode(value: Expr) -> Result<ModeOrExpr> {
    const MODES: &str = "\"r\" (or \"read\") shares the lock with other readers, \"w\" (or \"write\") takes it alone";

    let message = match (literal(&value), &value) {
        (Some(Lit::Str(text)), _) => {
            let text = text.value();
            match mode_named(&text) {
                Some(mode) => return Ok(ModeOrExpr::Fixed(mode)),
                None => format!("unknown mode \"{text}\"; {MODES}"),
            }
        }
        (Some(_), _) => format!("a mode is a string: {MODES}"),
        (None, Expr::Path(word))
            if word
                .path
                .get_ident()
                .is_some_and(|word| mode_named(&word.to_string()).is_some()) =>
        {
            format!(
                "a mode is a string: write `mode = \"{}\"`",
                word.to_token_stream()
            )
        }
        (None, _) => return Ok(ModeOrExpr::Expr(value)),
    };
    Err(Error::new_spanned(value, message))
}

fn mode_named(name: &str) -> Option<Mode> {
    match name {
        "r" | "read" => Some(Mode::Read),
        "w" | "write" => Some(Mode::Write),
        _ => None,
    }
}

pub(crate) fn wait(value: Expr) -> Result<Wait> {
    match forever(&value) {
        Some(span) => Ok(Wait::Forever(span)),
        None => match time("wait", value)? {
            Time::Fixed(time, span) if time > LONGEST => Err(Error::new(
                span,
                refused("wait", time, bounds::WAIT_TOO_LONG),
            )),
            time => Ok(Wait::For(time)),
        },
    }
}

pub(crate) fn ttl(value: Expr) -> Result<Time> {
    if let Some(span) = forever(&value) {
        return Err(Error::new(
            span,
            "a lease has to end, so that a holder that died does not block the others for ever: write `ttl = \"30s\"`; \
             it is extended for as long as the function runs",
        ));
    }
    match time("ttl", value)? {
        Time::Fixed(Duration::ZERO, span) => Err(Error::new(
            span,
            "a lease of no time holds nothing: write `ttl = \"30s\"`",
        )),
        Time::Fixed(time, span) if time < SHORTEST_LEASE => Err(Error::new(
            span,
            refused("ttl", time, bounds::TTL_TOO_SHORT),
        )),
        Time::Fixed(time, span) if time > LONGEST => {
            Err(Error::new(span, refused("ttl", time, bounds::TTL_TOO_LONG)))
        }
        time => Ok(time),
    }
}

pub(crate) fn max_hold(value: Expr) -> Result<Time> {
    if let Some(span) = forever(&value) {
        return Err(Error::new(
            span,
            "a hold without a bound is what there is without `max_hold`: leave it out, or write `max_hold = \"5m\"`",
        ));
    }
    match time("max_hold", value)? {
        Time::Fixed(Duration::ZERO, span) => Err(Error::new(
            span,
            "a hold of no time leaves none for the function: write `max_hold = \"5m\"`",
        )),
        Time::Fixed(time, span) if !(SHORTEST_LEASE..=LONGEST).contains(&time) => Err(Error::new(
            span,
            refused("max_hold", time, bounds::MAX_HOLD_OUT_OF_BOUNDS),
        )),
        time => Ok(time),
    }
}

pub(crate) fn min_hold(value: Expr) -> Result<Time> {
    if let Some(span) = forever(&value) {
        return Err(Error::new(
            span,
            "a lock that is never given back keeps all others out for ever: write `min_hold = \"30s\"`",
        ));
    }
    match time("min_hold", value)? {
        Time::Fixed(time, span) if time > LONGEST => Err(Error::new(
            span,
            refused("min_hold", time, bounds::MIN_HOLD_TOO_LONG),
        )),
        time => Ok(time),
    }
}

pub(crate) fn command_timeout(value: Expr) -> Result<Time> {
    if let Some(span) = forever(&value) {
        return Err(Error::new(
            span,
            "a command that is never answered would be waited for for ever: write `command_timeout = \"500ms\"`",
        ));
    }
    match time("command_timeout", value)? {
        Time::Fixed(Duration::ZERO, span) => Err(Error::new(
            span,
            "no command is answered in no time: write `command_timeout = \"500ms\"`",
        )),
        Time::Fixed(time, span) if !(SHORTEST_COMMAND..=LONGEST_COMMAND).contains(&time) => {
            Err(Error::new(
                span,
                refused(
                    "command_timeout",
                    time,
                    bounds::COMMAND_TIMEOUT_OUT_OF_BOUNDS,
                ),
            ))
        }
        time => Ok(time),
    }
}

/// A string that no namespace can be is refused; whatever else there is must be `AsRef<str>`.
pub(crate) fn namespace(value: Expr) -> Result<Expr> {
    let Some(literal) = literal(&value) else {
        return Ok(value);
    };
    let Lit::Str(text) = literal else {
        return Err(Error::new(
            literal.span(),
            "a namespace is a string, or an expression that is `AsRef<str>`: write `namespace = \"shop\"`",
        ));
    };
    let namespace = text.value();
    let reason = if namespace.is_empty() || namespace.len() > bounds::LONGEST_NAMESPACE {
        bounds::NAMESPACE_LENGTH
    } else if namespace.contains(bounds::NOT_IN_NAMESPACE) {
        bounds::NAMESPACE_CHARACTERS
    } else {
        return Ok(value);
    };
    let message = refused("namespace", format!("{namespace:.32}"), reason);
    Err(Error::new(text.span(), message))
}

/// As `redis_lock::Error::InvalidOptions` says it.
fn refused(option: &str, value: impl Debug, reason: &str) -> String {
    format!("invalid option {option} = {value:?}: {reason}")
}

fn forever(value: &Expr) -> Option<Span> {
    match literal(value) {
        Some(Lit::Str(text)) if text.value() == "forever" => Some(text.span()),
        _ => None,
    }
}

fn time(option: &str, value: Expr) -> Result<Time> {
    let Some(literal) = literal(&value) else {
        return Ok(Time::Expr(value));
    };
    let span = literal.span();
    let message = match literal {
        Lit::Str(text) => match duration::parse(&text.value()) {
            Ok(time) => return Ok(Time::Fixed(time, span)),
            Err(message) => message,
        },
        Lit::Int(number) if number.suffix().is_empty() => {
            // A command takes a minute at most.
            let (unit, name) = match option {
                "command_timeout" => ("ms", "milliseconds"),
                _ => ("s", "seconds"),
            };
            format!("`{number}` needs a unit: write `{option} = \"{number}{unit}\"` for {name}")
        }
        Lit::Int(number) => {
            format!("a length of time is a string: write `{option} = \"{number}\"`")
        }
        _ => format!(
            "a length of time is a string with a unit, or a `Duration`: write `{option} = \"30s\"`"
        ),
    };
    Err(Error::new(span, message))
}

pub(crate) fn auto_extend(value: &Expr) -> Result<LitBool> {
    match literal(value) {
        Some(Lit::Bool(value)) => Ok(value.clone()),
        Some(Lit::Str(text)) if matches!(text.value().as_str(), "true" | "false") => {
            Err(Error::new(
                text.span(),
                format!(
                    "`auto_extend` is no string: write `auto_extend = {}`",
                    text.value()
                ),
            ))
        }
        _ => Err(Error::new_spanned(
            value,
            "`auto_extend` is `true`, the lease is extended for as long as the function runs, or `false`, it ends after `ttl`",
        )),
    }
}

pub(crate) fn guard(input: ParseStream) -> Result<Ident> {
    let value = input.fork();
    if let (Ok(name), true) = (input.parse::<Ident>(), at_end(input)) {
        return Ok(name);
    }
    let message = match value.fork().parse::<LitStr>() {
        Ok(name) if syn::parse_str::<Ident>(&name.value()).is_ok() => {
            format!(
                "the name of the guard is no string: write `guard = {}`",
                name.value()
            )
        }
        _ => {
            "`guard` is the name by which the body knows its lock: write `guard = lock`".to_owned()
        }
    };
    Err(rest_of_value(&value, message))
}

pub(crate) fn krate(input: ParseStream) -> Result<Path> {
    let value = input.fork();
    let path = match input.parse::<Option<LitStr>>()? {
        Some(text) => text.parse_with(Path::parse_mod_style),
        None => input.call(Path::parse_mod_style),
    };
    match path {
        Ok(path) if at_end(input) => Ok(path),
        _ => Err(rest_of_value(
            &value,
            "`crate` is the path by which this crate is reached from here: write `crate = ::redis_lock`",
        )),
    }
}

fn at_end(input: ParseStream) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// A mistake about all that stands up to the next comma.
fn rest_of_value(value: ParseStream, message: impl std::fmt::Display) -> Error {
    let mut tokens = proc_macro2::TokenStream::new();
    while !at_end(value) {
        match value.parse::<TokenTree>() {
            Ok(token) => tokens.extend([token]),
            Err(error) => return error,
        }
    }
    Error::new_spanned(tokens, message)
}

/// What a `macro_rules!` macro hands on as `$key:expr` or `$key:literal` comes in groups without delimiters.
pub(crate) fn ungroup(value: Expr) -> Expr {
    match value {
        Expr::Group(group) if group.attrs.is_empty() => ungroup(*group.expr),
        value => value,
    }
}

/// A string, and no expression of another kind.
pub(crate) fn text(value: &Expr) -> Option<&LitStr> {
    match literal(value) {
        Some(Lit::Str(text)) => Some(text),
        _ => None,
    }
}

fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(ExprLit { attrs, lit, .. }) if attrs.is_empty() => Some(lit),
        _ => None,
    }
}
