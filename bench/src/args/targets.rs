//! The command line of `targets`.
//!
//! In: arguments. Out: which targets are measured and how long. Never: starts anything.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{dir, json, path_of, quick};
use crate::targets::TARGETS;

/// What `targets` measures.
pub struct Targets {
    /// Only these, if there are any.
    pub only: Vec<String>,
    pub quick: bool,
    pub without_peers: bool,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
}

pub fn command() -> Command {
    Command::new("targets")
        .about("Every speed target of the project: figure, goal, ratio, met or not, and the floor under it")
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAME[,NAME]")
                .value_delimiter(',')
                .value_parser(TARGETS.map(|target| target.name))
                .help("Measure only these"),
        )
        .arg(quick().help("Three short rounds: about five minutes for all"))
        .arg(
            Arg::new("without-peers")
                .long("without-peers")
                .action(ArgAction::SetTrue)
                .help("Install and start no other broker; what needs one is not measured"),
        )
        .arg(dir())
        .arg(json())
}

impl From<&ArgMatches> for Targets {
    fn from(found: &ArgMatches) -> Targets {
        Targets {
            only: found.get_many::<String>("only").into_iter().flatten().cloned().collect(),
            quick: found.get_flag("quick"),
            without_peers: found.get_flag("without-peers"),
            dir: path_of(found, "dir").unwrap_or_default(),
            json: path_of(found, "json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_listed_and_unknown_ones_are_refused() {
        let found = command().try_get_matches_from(["targets", "--only", "cost,growth", "--quick"]).unwrap();
        let args = Targets::from(&found);
        assert_eq!((args.only, args.quick), (vec!["cost".to_owned(), "growth".to_owned()], true));
        assert!(command().try_get_matches_from(["targets", "--only", "cost,speed"]).is_err());
    }
}
