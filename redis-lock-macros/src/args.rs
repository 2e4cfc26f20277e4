//! What stands between the parentheses of `#[redis_lock(…)]`, as values.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, Lit, LitBool, Path, Result, Token};

use crate::mistakes::{Mistakes, did_you_mean, list};
use crate::template::Template;
use crate::values;

/// The options that exist, in the order in which they are listed to people, each as it may be written.
const OPTIONS: [(&str, &str); 14] = [
    ("key", "key = \"order:<id>\""),
    ("mode", "mode = \"r\""),
    ("wait", "wait = \"5s\""),
    ("ttl", "ttl = \"30s\""),
    ("max_hold", "max_hold = \"5m\""),
    ("min_hold", "min_hold = \"30s\""),
    ("auto_extend", "auto_extend = false"),
    ("command_timeout", "command_timeout = \"500ms\""),
    ("namespace", "namespace = \"shop\""),
    ("on_contended", "on_contended = Ok(())"),
    ("map_err", "map_err = MyError::Lock"),
    ("guard", "guard = lock"),
    ("locker", "locker = self.locker"),
    ("crate", "crate = ::redis_lock"),
];

#[derive(Default)]
pub(crate) struct Args {
    /// `None` also where a key was given, but a wrong one; see [`Args::is_given`].
    pub(crate) keys: Option<Keys<Key>>,
    pub(crate) options: Options,
    given: Vec<String>,
}

/// One key, or a list of them, in which each may have a mode of its own.
pub(crate) enum Keys<K> {
    One(K),
    All(Vec<(K, Option<Mode>)>),
}

impl<K> Keys<K> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        let (one, all) = match self {
            Keys::One(key) => (Some(key), None),
            Keys::All(keys) => (None, Some(keys)),
        };
        one.into_iter()
            .chain(all.into_iter().flatten().map(|(key, _)| key))
    }

    pub(crate) fn map<L>(self, mut f: impl FnMut(K) -> L) -> Keys<L> {
        match self {
            Keys::One(key) => Keys::One(f(key)),
            Keys::All(keys) => {
                Keys::All(keys.into_iter().map(|(key, mode)| (f(key), mode)).collect())
            }
        }
    }
}

pub(crate) enum Key {
    Template(Template),
    Expr(Expr),
}

/// All but the key. What is not given is `None`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) mode: ModeOrExpr,
    pub(crate) wait: Option<Wait>,
    pub(crate) ttl: Option<Time>,
    pub(crate) max_hold: Option<Time>,
    pub(crate) min_hold: Option<Time>,
    pub(crate) auto_extend: Option<LitBool>,
    pub(crate) command_timeout: Option<Time>,
    pub(crate) namespace: Option<Expr>,
    pub(crate) on_contended: Option<Expr>,
    pub(crate) map_err: Option<Expr>,
    pub(crate) guard: Option<Ident>,
    pub(crate) locker: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Read,
    Write,
}

impl Mode {
    /// As it is written in the attribute.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Mode::Read => "r",
            Mode::Write => "w",
        }
    }
}

pub(crate) enum ModeOrExpr {
    Fixed(Mode),
    Expr(Expr),
}

impl Default for ModeOrExpr {
    /// Exclusive is what is safe if nothing was said.
    fn default() -> Self {
        ModeOrExpr::Fixed(Mode::Write)
    }
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
                let mut option = args.parse_option(input, mistakes);
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

    fn parse_option(&mut self, input: ParseStream, mistakes: &mut Mistakes) -> Result<()> {
        if input.peek(Lit) {
            self.given.push("key".to_owned());
            return Err(without_name(&input.parse()?));
        }
        let name = Ident::parse_any(input)?;
        let option = name.unraw().to_string();
        let Some((_, example)) = OPTIONS.iter().find(|(known, _)| *known == option) else {
            return Err(unknown_option(&name, &option));
        };
        if self.is_given(&option) {
            return Err(Error::new(
                name.span(),
                format!("`{option}` is given twice"),
            ));
        }
        self.given.push(option.clone());

        let equals: Option<Token![=]> = input.parse()?;
        if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
            return Err(Error::new(
                name.span(),
                format!("`{option}` has no value: write `{example}`"),
            ));
        }
        let options = &mut self.options;
        match option.as_str() {
            // These two need not be expressions: `_`, `$crate`.
            "guard" => options.guard = Some(values::guard(input)?),
            "crate" => options.krate = Some(values::krate(input)?),
            _ => {
                let value = values::ungroup(input.parse()?);
                match option.as_str() {
                    "key" => self.keys = values::keys(value, mistakes),
                    "mode" => options.mode = values::mode(value)?,
                    "wait" => options.wait = Some(values::wait(value)?),
                    "ttl" => options.ttl = Some(values::ttl(value)?),
                    "max_hold" => options.max_hold = Some(values::max_hold(value)?),
                    "min_hold" => options.min_hold = Some(values::min_hold(value)?),
                    "auto_extend" => options.auto_extend = Some(values::auto_extend(&value)?),
                    "command_timeout" => {
                        options.command_timeout = Some(values::command_timeout(value)?);
                    }
                    "namespace" => options.namespace = Some(values::namespace(value)?),
                    "on_contended" => options.on_contended = Some(value),
                    "map_err" => options.map_err = Some(value),
                    _ => options.locker = Some(value),
                }
            }
        }
        Ok(())
    }
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
    let names = OPTIONS.map(|(name, _)| name);
    let hint = did_you_mean(option, names).unwrap_or_default();
    let options = list(names);
    Error::new(
        name.span(),
        format!("unknown option `{option}`{hint}; the options are {options}"),
    )
}

fn skip_to_comma(input: ParseStream) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
