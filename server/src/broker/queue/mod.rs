//! A queue: a log with a shared cursor and settlement per record.
