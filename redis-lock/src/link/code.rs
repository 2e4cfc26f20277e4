//! What to do about a failed command: one table of Redis' and Valkey's error codes.
//!
//! A `RedisError` is either a code from the server, or a failure of the link or of the client. The words for people are in
//! `cause.rs`.

use std::io;

use redis::{ErrorKind, RedisError};

/// What to do about a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// "Not now": the same command may succeed in a moment. Waiters stay in the queue, holders go on renewing, releases are
    /// sent again.
    NotNow,
    /// The login is refused. As `NotNow`, since a server refuses logins for a moment while its users are loaded again. But a
    /// request without a hold gives up soon: mostly a password is wrong.
    Login,
    /// The server has to be given more memory, or another setting.
    Setting,
    /// The user lacks a permission.
    Permission,
    /// The command, or the kind of server, is wrong.
    Misuse,
    /// A value that is not a lock's is at one of the lock's names.
    Foreign,
    /// The server does not know the script (any more).
    UnknownScript,
}

use Class::{Foreign, Login, Misuse, NotNow, Permission, Setting, UnknownScript};

/// Code, class, and what people should know or do.
const CODES: &[(&str, Class, &str)] = &[
    ("LOADING", NotNow, "the server still loads its data"),
    (
        "BUSY",
        NotNow,
        "a script of another client keeps the server busy",
    ),
    (
        "MASTERDOWN",
        NotNow,
        "the replica has lost its master, and serves no old data",
    ),
    (
        "CLUSTERDOWN",
        NotNow,
        "the cluster is not complete; look at `CLUSTER INFO`",
    ),
    (
        "TRYAGAIN",
        NotNow,
        "the slot is being moved to another node",
    ),
    ("ASK", NotNow, "the slot is being moved to another node"),
    (
        "READONLY",
        NotNow,
        "the server is a replica; connect to the master, or wait for the failover to end",
    ),
    (
        "REDIRECT",
        NotNow,
        "the server is a replica; connect to the master, or wait for the failover to end",
    ),
    (
        "NOREPLICAS",
        NotNow,
        "fewer replicas are connected than `min-replicas-to-write` asks for",
    ),
    (
        "NOGOODSLAVE",
        NotNow,
        "the sentinel has no good replica to promote",
    ),
    ("NOQUORUM", NotNow, "too few sentinels agree"),
    ("INPROG", NotNow, "a failover is in progress"),
    ("UNBLOCKED", NotNow, "the server changed its role"),
    (
        "MISCONF",
        NotNow,
        "the server cannot save to its disk, and refuses writes until it can; look at its log",
    ),
    ("IOERR", NotNow, "the server lost its link to another one"),
    ("NOMASTERLINK", NotNow, "the replica has lost its master"),
    (
        "NOAUTH",
        Login,
        "put the password into the URL: redis://:password@host:port",
    ),
    ("WRONGPASS", Login, "check user and password in the URL"),
    (
        "OOM",
        Setting,
        "the server's memory is full: raise `maxmemory`, or remove data",
    ),
    (
        "NOPERM",
        Permission,
        "check the ACL of this user; the README lists what a lock needs",
    ),
    (
        "DENIED",
        Permission,
        "the server is in protected mode: set a password, or bind it to an address",
    ),
    (
        "MOVED",
        Misuse,
        "the server is one node of a cluster: give `Locker::new` a cluster connection",
    ),
    ("CROSSSLOT", Misuse, ""),
    ("EXECABORT", Misuse, ""),
    (
        "NOPROTO",
        Misuse,
        "the server does not speak this version of the protocol",
    ),
    ("UNKILLABLE", Misuse, ""),
    ("NOTBUSY", Misuse, ""),
    ("INVALIDOBJ", Misuse, ""),
    ("BUSYKEY", Misuse, ""),
    ("BUSYGROUP", Misuse, ""),
    ("NOGROUP", Misuse, ""),
    ("UNKNOWNVERSION", Misuse, ""),
    ("WRONGTYPE", Foreign, ""),
    ("FOREIGN", Foreign, ""),
    ("NOSCRIPT", UnknownScript, ""),
];

pub(crate) fn class(error: &RedisError) -> Class {
    if let Some((_, class, _)) = entry(error) {
        return *class;
    }
    if error.code().is_some() {
        return if is_busy_in_plain_words(error) {
            NotNow
        } else {
            Misuse
        };
    }
    match error.kind() {
        // Over a link that breaks, garbage may come in.
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => NotNow,
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
            NotNow
        }
        ErrorKind::AuthenticationFailed => Login,
        _ => Misuse,
    }
}

fn entry(error: &RedisError) -> Option<&'static (&'static str, Class, &'static str)> {
    let code = error.code()?;
    let find = |code: &str| CODES.iter().find(|(known, ..)| *known == code);
    // Without a login, a command with many arguments is refused for the arguments first.
    let is_not_logged_in = |detail: &&str| detail.contains("unauthenticated");
    find(code)
        .or_else(|| inner_code(error.detail()?).and_then(find))
        .or_else(|| find(error.detail().filter(is_not_logged_in).map(|_| "NOAUTH")?))
}

/// Before version 7 the code of an error in a script stands in a longer text, behind the script's name and line.
fn inner_code(detail: &str) -> Option<&str> {
    let (_, inner) = detail.split_once("user_script")?;
    let is_code =
        |word: &&str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    inner
        .split_ascii_whitespace()
        .map(|word| word.trim_start_matches('-'))
        .find(is_code)
}

/// Servers and proxies give some errors the code ERR only.
fn is_busy_in_plain_words(error: &RedisError) -> bool {
    let text = error.detail().unwrap_or_default();
    ["max number of clients", "upstream", "timeout", "timed out"]
        .iter()
        .any(|words| text.contains(words))
}

/// Whether the same command may succeed in a moment.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    matches!(class(error), NotNow | Login)
}

/// Whether a value that is not a lock's is at one of the lock's names.
pub(crate) fn is_foreign(error: &RedisError) -> bool {
    class(error) == Foreign
}

/// Whether the server does not know the script (any more).
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    class(error) == UnknownScript
}

/// Whether commands that were to go out together concern different slots of a cluster. Nothing was sent.
pub(crate) fn is_cross_slot(error: &RedisError) -> bool {
    error.code() == Some("CROSSSLOT")
}

/// Whether the command certainly did nothing: the command never left this process, or the server said no. (A script is refused
/// as a whole, before the script has written anything.)
pub(crate) fn did_nothing(error: &RedisError) -> bool {
    error.is_connection_refusal() || error.code().is_some()
}

/// The error for a command that was not answered in time.
pub(crate) fn no_reply() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no reply in time").into()
}

/// What people should know or do, where there is anything to say.
pub(crate) fn advice(error: &RedisError) -> Option<&'static str> {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Some("check user and password in the URL");
    }
    let (_, _, advice) = entry(error)?;
    (!advice.is_empty()).then_some(*advice)
}

#[cfg(test)]
mod tests {
    use redis::{ServerError, parse_redis_value};

    use super::*;

    fn said(text: &str) -> RedisError {
        let reply =
            parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error is a value");
        match reply {
            redis::Value::ServerError(error) => RedisError::from(ServerError::clone(&error)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn not_now_is_not_no() {
        for text in [
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script",
            "MASTERDOWN Link with MASTER is down",
            "CLUSTERDOWN The cluster is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "READONLY You can't write against a read only replica.",
            "REDIRECT 10.0.0.5:6379",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            "INPROG Failover already in progress",
            "IOERR error or timeout writing to target instance",
            "ERR max number of clients reached",
            "ERR no healthy upstream",
            // Redis 6
            "ERR Error running script (call to f_0): @user_script:7: @user_script: 7: -READONLY You can't write against a read only replica.",
        ] {
            assert_eq!(class(&said(text)), NotNow, "{text}");
            assert!(
                is_transient(&said(text)) && did_nothing(&said(text)),
                "{text}"
            );
        }
    }

    #[test]
    fn each_other_code_has_its_class() {
        for (text, expected) in [
            ("NOAUTH Authentication required.", Login),
            (
                "ERR Protocol error: unauthenticated multibulk length",
                Login,
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Login,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Setting,
            ),
            (
                "NOPERM this user has no permissions to run the 'zrange' command",
                Permission,
            ),
            ("MOVED 866 127.0.0.1:7001", Misuse),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                Misuse,
            ),
            (
                "EXECABORT Transaction discarded because of previous errors.",
                Misuse,
            ),
            ("NOPROTO unsupported protocol version", Misuse),
            ("ERR unknown command 'EVALSHA'", Misuse),
            ("SOMETHINGNEW that no table knows", Misuse),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Foreign,
            ),
            ("FOREIGN the value at x is not a lock", Foreign),
            (
                "NOSCRIPT No matching script. Please use EVAL.",
                UnknownScript,
            ),
            (
                "ERR Error running script (call to f_0): @user_script:3: @user_script: 3: -WRONGTYPE Operation against a key",
                Foreign,
            ),
        ] {
            assert_eq!(class(&said(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_link_that_fails_is_not_now_and_a_client_that_fails_is_misuse() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::TimedOut,
            io::ErrorKind::InvalidData,
        ] {
            assert_eq!(class(&io::Error::from(kind).into()), NotNow, "{kind}");
        }
        let of = |kind| RedisError::from((kind, "test"));
        assert_eq!(class(&of(ErrorKind::Parse)), NotNow);
        assert_eq!(class(&of(ErrorKind::ClusterConnectionNotFound)), NotNow);
        assert_eq!(class(&of(ErrorKind::AuthenticationFailed)), Login);
        assert_eq!(class(&of(ErrorKind::Client)), Misuse);
        assert_eq!(class(&of(ErrorKind::UnexpectedReturnType)), Misuse);
    }
}
