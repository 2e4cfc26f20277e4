//! What the tests stand on: real servers.
