//! Every option: name, unit, default, range, meaning.
