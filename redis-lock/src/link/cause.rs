//! Why a command failed, in words for people. The words of redis-rs are for users of redis-rs: `An error was signalled by the
//! server - ResponseError: …`, `Connection refused (os error 111)`.

use std::{error::Error, fmt, io, sync::Arc};

use redis::{ErrorKind, RedisError};

use crate::{
    link::code::{advice, is_foreign},
    values::{
        key::Key,
        text::{Quoted, Shown},
    },
};

/// Why a command failed. Every text in a cause is escaped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No answer came.
    Unreachable(String),
    /// The server answered with an error: its code and text.
    Refused(String),
    /// The client could not make use of the user's settings or of the server's answer.
    Other(String),
}

impl Cause {
    pub(crate) fn of(error: &RedisError) -> Self {
        if let Some(io) = io_error(error) {
            return Cause::Unreachable(broken(io));
        }
        if let Some(refusal) = refusal(error) {
            return Cause::Refused(refusal);
        }
        match error.kind() {
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => Cause::Unreachable(plain(error)),
            ErrorKind::AuthenticationFailed
            | ErrorKind::RESP3NotSupported
            | ErrorKind::Server(_) => Cause::Refused(plain(error)),
            _ => Cause::Other(plain(error)),
        }
    }
}

/// For a field of a log event. The event's message says what was tried.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Cause::Unreachable(text) | Cause::Refused(text) | Cause::Other(text)) = self;
        f.write_str(text)
    }
}

/// The text for a failed command of a lock, in an error and in a log event.
pub(crate) fn failed_for(key: &Key, server: Option<&str>, error: &RedisError) -> String {
    if is_foreign(error) {
        foreign(key, error)
    } else {
        failed(Some(key), server, error)
    }
}

/// A foreign value is at one of the lock's names.
pub(crate) fn foreign(key: &Key, error: &RedisError) -> String {
    format!(
        "lock {}: one of its names in Redis holds a value that is not a lock's ({}); remove that value, or choose another `namespace`",
        Quoted(key),
        Cause::of(error)
    )
}

/// Redis could not be reached, or has refused.
pub(crate) fn failed(key: Option<&Key>, server: Option<&str>, error: &RedisError) -> String {
    let server = at(server);
    let lock = key.map_or_else(String::new, |key| format!(" for lock {}", Quoted(key)));
    let advice = advice(error).map_or_else(String::new, |advice| format!("; {advice}"));
    match Cause::of(error) {
        Cause::Unreachable(why) => format!("cannot reach Redis{server}{lock}: {why}{advice}"),
        Cause::Refused(said) => format!("Redis{server} refused a command{lock}: {said}{advice}"),
        Cause::Other(why) => format!("cannot use Redis{server}{lock}: {why}{advice}"),
    }
}

pub(crate) fn at(server: Option<&str>) -> String {
    server.map_or_else(String::new, |server| format!(" at {}", Shown(server)))
}

fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    // redis-rs wraps its causes for them to be cloned.
    let source = match source.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        Some(shared) => &**shared,
        None => source,
    };
    source.downcast_ref()
}

/// The words for an error of the system or of a link.
pub(crate) fn broken(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let text = error.to_string();
    match error.kind() {
        Kind::BrokenPipe | Kind::UnexpectedEof | Kind::ConnectionAborted | Kind::NotConnected => {
            "connection closed".to_owned()
        }
        // A text made for this error by this crate, redis-rs, the resolver, or a TLS library.
        _ if error.get_ref().is_some() => Shown(&text).to_string(),
        Kind::NotFound => "there is no such socket".to_owned(),
        // For a thread that cannot be started Rust says "operation would block".
        Kind::WouldBlock => without_number(&text),
        kind => match kind.to_string() {
            name if name == "uncategorized error" => without_number(&text),
            name => name,
        },
    }
}

/// The system's text, without the error number.
fn without_number(text: &str) -> String {
    let text = text
        .split_once(" (os error ")
        .map_or(text, |(text, _)| text);
    Shown(text).to_string()
}

/// The server's answer: code and text.
fn refusal(error: &RedisError) -> Option<String> {
    let all = error.clone().into_server_errors()?;
    let (_, first) = all.first()?;
    let mut said = first.code().to_owned();
    if let Some(text) = first.details() {
        said.push(' ');
        said.push_str(without_script(without_arguments(text)));
    }
    Some(Shown(&said).to_string())
}

/// A server quotes an unknown command with its arguments, which for `AUTH` and `HELLO` are the password.
fn without_arguments(text: &str) -> &str {
    text.split_once(", with args beginning with")
        .map_or(text, |(said, _)| said)
}

/// A server names the script and the line of a failed command, which is of no use to our users.
fn without_script(text: &str) -> &str {
    let said = text.split_once(" script: ").map_or(text, |(said, _)| said);
    said.trim_end_matches('.')
}

/// The text of redis-rs without the kind of the error.
fn plain(error: &RedisError) -> String {
    let kind = format!(" - {:?}", error.kind());
    let text = error.to_string().replacen(&kind, "", 1);
    Shown(without_arguments(&text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::{ServerErrorKind, make_extension_error};

    #[track_caller]
    fn unreachable(error: impl Into<RedisError>, text: &str) {
        assert_eq!(
            Cause::of(&error.into()),
            Cause::Unreachable(text.to_owned())
        );
    }

    #[track_caller]
    fn refused(error: impl Into<RedisError>, text: &str) {
        assert_eq!(Cause::of(&error.into()), Cause::Refused(text.to_owned()));
    }

    #[test]
    fn a_broken_link_is_told_without_the_numbers_of_the_system() {
        let system = io::Error::from_raw_os_error;
        unreachable(system(111), "connection refused");
        unreachable(system(104), "connection reset");
        unreachable(system(110), "timed out");
        unreachable(system(113), "host unreachable");
        unreachable(system(32), "connection closed");
        unreachable(system(2), "there is no such socket");
        unreachable(system(24), "Too many open files");
        unreachable(
            io::Error::from(io::ErrorKind::UnexpectedEof),
            "connection closed",
        );
        unreachable(crate::link::code::no_reply(), "no reply in time");
        let resolver = "failed to lookup address information: Name or service not known";
        unreachable(io::Error::other(resolver), resolver);
        let kind = ErrorKind::ClusterConnectionNotFound;
        unreachable((kind, "no node", "a\nb".to_owned()), r"no node: a\nb");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        let said = |code: &str, text: &str| make_extension_error(code.into(), Some(text.into()));
        refused(said("NOPERM", "no permissions"), "NOPERM no permissions");
        refused(said("WRONGPASS", "a\n\x1b[2J"), r"WRONGPASS a\n\u{1b}[2J");
        refused(make_extension_error("CODE\n".into(), None), r"CODE\n");
        let full = "command not allowed. script: a426cbbc, on @user_script:277.";
        refused(said("OOM", full), "OOM command not allowed");
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        refused(
            (kind, "no such database", "99".to_owned()),
            "no such database: 99",
        );
        let kind = ErrorKind::AuthenticationFailed;
        refused(
            (kind, "Password authentication failed"),
            "Password authentication failed",
        );
    }

    /// `rename-command AUTH ""`, and servers that do not know `HELLO`.
    #[test]
    fn a_password_that_a_server_repeats_is_left_out() {
        let text = "unknown command 'AUTH', with args beginning with: 'secret' ";
        let error = make_extension_error("ERR".into(), Some(text.into()));
        refused(error, "ERR unknown command 'AUTH'");
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        refused(
            (kind, "failed", text.to_owned()),
            "failed: unknown command 'AUTH'",
        );
    }

    #[test]
    fn what_the_client_makes_of_it_is_told_without_the_name_of_its_kind() {
        let error = (ErrorKind::InvalidClientConfig, "Redis URL did not parse");
        let told = Cause::Other("Redis URL did not parse".to_owned());
        assert_eq!(Cause::of(&error.into()), told);
    }
}
