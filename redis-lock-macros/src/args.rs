//! What stands between the parentheses of `#[redis_lock(…)]`, as values.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, ExprLit, Lit, Result, Token};

use crate::duration;
use crate::mistakes::{Mistakes, did_you_mean, list};
use crate::template::Template;

/// The options that exist, in the order in which they are listed to people.
const OPTIONS: [&str; 4] = ["key", "mode", "wait", "ttl"];

#[derive(Default)]
pub(crate) struct Args {
    /// `None` also where a key was given, but a wrong one; see [`Args::is_given`].
    pub(crate) key: Option<Key>,
    pub(crate) mode: Mode,
    pub(crate) wait: Option<Wait>,
    pub(crate) ttl: Option<Time>,
    given: Vec<String>,
}

pub(crate) enum Key {
    Template(Template),
    Expr(Expr),
}

#[derive(Clone, Copy, Default)]
pub(crate) enum Mode {
    Read,
    /// Exclusive is what is safe if nothing was said.
    #[default]
    Write,
}

pub(crate) enum Wait {
    Forever(Span),
    For(Time),
}

pub(crate) enum Time {
    Fixed(Duration, Span),
    Expr(Expr),
}

impl Args {
    /// Reads on after a mistake, from the next comma.
    pub(crate) fn parse(tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut args = Self::default();
        let options = |input: ParseStream| {
            while !input.is_empty() {
                let mut option = args.parse_option(input);
                if option.is_ok() && !input.is_empty() && !input.peek(Token![,]) {
                    option = Err(input.error("expected `,` between the options"));
                }
                if mistakes.ok(option).is_none() {
                    skip_to_comma(input)?;
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        };
        let read = options.parse2(tokens);
        mistakes.ok(read);
        args
    }

    /// Whether the option is there at all, right or wrong.
    pub(crate) fn is_given(&self, option: &str) -> bool {
        self.given.iter().any(|given| given == option)
    }

    fn parse_option(&mut self, input: ParseStream) -> Result<()> {
        if input.peek(Lit) {
            self.given.push("key".to_owned());
            return Err(without_name(&input.parse()?));
        }
        let name = Ident::parse_any(input)?;
        let option = name.unraw().to_string();
        if !OPTIONS.contains(&option.as_str()) {
            return Err(unknown_option(&name, &option));
        }
        if self.is_given(&option) {
            return Err(Error::new(
                name.span(),
                format!("`{option}` is given twice"),
            ));
        }
        self.given.push(option.clone());

        let equals: Option<Token![=]> = input.parse()?;
        if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
            let example = example(&option);
            return Err(Error::new(
                name.span(),
                format!("`{option}` has no value: write `{example}`"),
            ));
        }
        let value = ungroup(input.parse()?);
        match option.as_str() {
            "key" => self.key = Some(key(value)?),
            "mode" => self.mode = mode(&value)?,
            "wait" => self.wait = Some(wait(value)?),
            _ => self.ttl = Some(ttl(value)?),
        }
        Ok(())
    }
}

fn key(value: Expr) -> Result<Key> {
    match literal(&value) {
        Some(Lit::Str(text)) => Template::parse(text).map(Key::Template),
        Some(Lit::Int(number)) => Err(Error::new(
            number.span(),
            format!("a key is a string: write `key = \"{number}\"`"),
        )),
        Some(other) => Err(Error::new(
            other.span(),
            "a key is a string, or an expression that is `Into<redis_lock::Key>`: write `key = \"order:<id>\"`",
        )),
        None => Ok(Key::Expr(value)),
    }
}

fn mode(value: &Expr) -> Result<Mode> {
    const MODES: &str = "\"r\" (or \"read\") shares the lock with other readers, \"w\" (or \"write\") takes it alone";

    if let Some(Lit::Str(text)) = literal(value) {
        let text = text.value();
        return mode_named(&text)
            .ok_or_else(|| Error::new_spanned(value, format!("unknown mode \"{text}\"; {MODES}")));
    }
    let message = match value {
        Expr::Path(word)
            if word
                .path
                .get_ident()
                .is_some_and(|word| mode_named(&word.to_string()).is_some()) =>
        {
            format!(
                "a mode is a string: write `mode = \"{}\"`",
                quote::quote!(#word)
            )
        }
        _ => format!("a mode is a string: {MODES}"),
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

fn wait(value: Expr) -> Result<Wait> {
    match forever(&value) {
        Some(span) => Ok(Wait::Forever(span)),
        None => time("wait", value).map(Wait::For),
    }
}

fn ttl(value: Expr) -> Result<Time> {
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
        time => Ok(time),
    }
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
            format!("`{number}` needs a unit: write `{option} = \"{number}s\"` for seconds")
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

fn without_name(value: &Lit) -> Error {
    let span = value.span();
    let value = match value {
        Lit::Str(text) => text.token().to_string(),
        _ => "\"order:<id>\"".to_owned(),
    };
    Error::new(
        span,
        format!("the key goes by its name: write `key = {value}`"),
    )
}

fn unknown_option(name: &Ident, option: &str) -> Error {
    let hint = did_you_mean(option, OPTIONS).unwrap_or_default();
    let options = list(OPTIONS);
    Error::new(
        name.span(),
        format!("unknown option `{option}`{hint}; the options are {options}"),
    )
}

fn example(option: &str) -> &'static str {
    match option {
        "key" => "key = \"order:<id>\"",
        "mode" => "mode = \"r\"",
        "wait" => "wait = \"5s\"",
        _ => "ttl = \"30s\"",
    }
}

fn skip_to_comma(input: ParseStream) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// What a `macro_rules!` macro hands on as `$key:expr` or `$key:literal` comes in groups without delimiters.
fn ungroup(value: Expr) -> Expr {
    match value {
        Expr::Group(group) if group.attrs.is_empty() => ungroup(*group.expr),
        value => value,
    }
}

fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(ExprLit { attrs, lit, .. }) if attrs.is_empty() => Some(lit),
        _ => None,
    }
}
