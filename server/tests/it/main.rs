//! The one integration binary of the server: rules a machine can check about the repository itself.
//!
//! In: the text of every tracked file. Out: a list of what breaks a rule, each with file, line and what to do.
//! Never: builds or starts anything; what needs a running broker is in `scripts/tests`.

mod layers;
mod source;
mod tidy;
