//! Programs that really run.
