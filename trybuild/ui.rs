//! What the attribute accepts, and what it says when it does not.
