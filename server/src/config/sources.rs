//! Where values come from, and which wins: flags, then the environment, then the file, then defaults.
//!
//! In: flags as parsed, environment variables, the text of the file. Out: one text and one origin for each
//! option. Never: judges a value; an unknown key is refused here because only here its place is known.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::options::{OPTIONS, Opt, nearest};

/// What was said on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The file named by `--config`.
    pub file: Option<PathBuf>,
    /// Option names with their text.
    pub values: Vec<(&'static str, String)>,
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Environment(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "flag --{name}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// Names the file when `--config` does not.
const FILE_VARIABLE: &str = "RINGMAIN_CONFIG";
const PREFIX: &str = "RINGMAIN_";

/// One text and its origin for each option, in the order of the table.
pub struct Values(BTreeMap<&'static str, (String, Origin)>);

impl Values {
    /// Every option's default.
    pub fn defaults() -> Values {
        let defaults =
            OPTIONS.iter().map(|option| (option.name, (option.default.to_string(), Origin::Default)));
        Values(defaults.collect())
    }

    /// Everything that was said, the strongest last.
    pub fn gather(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Values, ConfigError> {
        let mut values = Values::defaults();
        let (file, variables) = from_environment(environment)?;
        if let Some(path) = flags.file.clone().or(file) {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::File { path: path.clone(), source })?;
            values.add_file(&path, &text)?;
        }
        values.0.extend(variables);
        for (name, text) in &flags.values {
            let flag = name.replace('_', "-");
            values.0.insert(name, (text.clone(), Origin::Flag(flag)));
        }
        Ok(values)
    }

    /// Options with their text and origin, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Opt, &str, &Origin)> {
        OPTIONS.iter().filter_map(|option| {
            let (text, origin) = self.0.get(option.name)?;
            Some((option, text.as_str(), origin))
        })
    }

    /// Puts the values of the file's `text` over what is there.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |position: usize| 1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count();
        let origin = |position| Origin::File { path: path.to_path_buf(), line: line_of(position) };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            origin: origin(error.span().map_or(0, |span| span.start)),
            reason: error.message().to_string(),
        })?;
        for (key, value) in table.get_ref() {
            let origin = origin(key.span().start);
            let option = known(key.get_ref(), key.get_ref(), &origin)?;
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_string(),
                other => {
                    let reason =
                        format!("expected a text, a decimal number, true or false; not {}", other.type_str());
                    let text = text.get(value.span()).unwrap_or_default().to_string();
                    return Err(ConfigError::Value { name: option.name, text, origin, reason });
                }
            };
            self.0.insert(option.name, (text, origin));
        }
        Ok(())
    }
}

type Found = Vec<(&'static str, (String, Origin))>;

fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Option<PathBuf>, Found), ConfigError> {
    let mut file = None;
    let mut found = Vec::new();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str() else { continue };
        let Some(key) = variable.strip_prefix(PREFIX) else { continue };
        if variable == FILE_VARIABLE {
            file = Some(PathBuf::from(value));
            continue;
        }
        if is_from_kubernetes(key) {
            continue;
        }
        let origin = Origin::Environment(variable.to_string());
        let option = known(&key.to_ascii_lowercase(), variable, &origin)?;
        let text = value.into_string().map_err(|value| ConfigError::Value {
            name: option.name,
            text: value.to_string_lossy().into_owned(),
            origin: origin.clone(),
            reason: "not UTF-8".to_string(),
        })?;
        found.push((option.name, (text, origin)));
    }
    Ok((file, found))
}

/// Kubernetes describes a service called `ringmain` to every container beside it in variables of this form;
/// nobody meant us.
fn is_from_kubernetes(key: &str) -> bool {
    key == "PORT" || key.starts_with("PORT_") || key.starts_with("SERVICE_")
}

fn known(name: &str, written: &str, origin: &Origin) -> Result<&'static Opt, ConfigError> {
    Opt::named(name).ok_or_else(|| {
        let nearest = nearest(name).map(|nearest| match origin {
            Origin::Environment(_) => format!("{PREFIX}{}", nearest.to_ascii_uppercase()),
            _ => nearest.to_string(),
        });
        ConfigError::UnknownKey { key: written.to_string(), origin: origin.clone(), nearest }
    })
}
