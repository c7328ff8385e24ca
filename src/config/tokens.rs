//! `[[http.tokens]]` and its shorthand `http.token`: who may call the HTTP API and the console, and what each may do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use config::{Value, ValueKind};
use serde::Serialize;

use super::error::SettingsError;
use super::reader::Reader;
use super::secret::Secret;
use crate::domain::id::{IdError, check_id, clip};

/// The name of the token of `http.token`.
pub const DEFAULT_TOKEN: &str = "default";
/// The shortest token of `[[http.tokens]]`, in characters.
const SHORTEST: usize = 16;
/// The most tokens: a request is compared with each.
const MOST: usize = 256;
const VISIBLE: &str = "visible ASCII characters without spaces";
const KEYS: [&str; 5] = ["name", "token", "token_file", "scopes", "partners"];

/// What a token allows. No scope includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Queries and access decisions.
    Read,
    /// Sending events.
    Publish,
    /// What operators do: sweeps, policies, dead letters, closings.
    Operate,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Publish, Self::Operate];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

/// The partners that a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partners {
    All,
    /// At least one.
    Only(Arc<BTreeSet<String>>),
}

impl Partners {
    #[must_use]
    pub fn allow(&self, partner: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(partners) => partners.contains(partner),
        }
    }
}

/// A token, and what it allows.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Unique. It appears in the audit log.
    pub name: Arc<str>,
    pub secret: Secret,
    pub scopes: Scopes,
    pub partners: Partners,
}

/// What a token should have been.
#[derive(Debug, thiserror::Error)]
enum ExpectedToken {
    #[error("at most {MOST} tokens")]
    Fewer,
    #[error("names that occur once (`{0}` occurs twice; `http.token` has the name `{DEFAULT_TOKEN}`)")]
    OtherName(Arc<str>),
    #[error("tokens that are all different (`{0}` and `{1}` have the same)")]
    OtherSecret(Arc<str>, Arc<str>),
    #[error("the keys {known} (`{0}` is unknown)", known = KEYS.join(", "))]
    KnownKeys(String),
    #[error("a name ({0})")]
    Name(#[source] IdError),
    #[error("a string as `{0}`")]
    Text(&'static str),
    #[error("a list of strings as `{0}`")]
    Texts(&'static str),
    #[error("either `token` or `token_file`, not both,")]
    OneSecret,
    #[error("`token` or `token_file`")]
    Secret,
    #[error("a token of at least {SHORTEST} {VISIBLE}")]
    LongerSecret,
    #[error("the path of a file that contains {VISIBLE}")]
    VisibleFile,
    #[error("the path of a readable file ({0})")]
    ReadableFile(#[from] io::Error),
    #[error("a list of at least one of {} as `scopes`", Scope::ALL.map(|scope| format!("\"{scope}\"")).join(", "))]
    Scopes,
    #[error("at least one partner as `partners`, or no `partners` for all,")]
    Partner,
    #[error("ids as `partners` ({0})")]
    PartnerIds(#[source] IdError),
}

/// All tokens, that of `http.token` first. Empty: no authentication.
pub(super) fn read(from: &Reader) -> Result<Vec<AccessToken>, SettingsError> {
    let mut tokens = Vec::new();
    if let Some(secret) = default_token(from, "http.token", "http.token_file")? {
        tokens.push(AccessToken {
            name: DEFAULT_TOKEN.into(),
            secret,
            scopes: Scopes::all(),
            partners: Partners::All,
        });
    }
    let key = "http.tokens";
    let expected = || {
        from.invalid(
            key,
            "a list of tables, each with name, token or token_file, and scopes",
        )
    };
    let tables = from.tables(key).ok_or_else(expected)?;
    for (number, table) in (1..).zip(&tables) {
        let read = token(table).map_err(|expected| {
            let name = text(table, "name")
                .ok()
                .flatten()
                .map(|name| format!(" `{}`", clip(&name)));
            let name = name.unwrap_or_default();
            from.invalid(key, &format!("{expected} in token {number}{name}"))
        })?;
        tokens.push(read);
    }
    check_all(&tokens).map_err(|expected| from.invalid(key, &expected.to_string()))?;
    Ok(tokens)
}

fn check_all(tokens: &[AccessToken]) -> Result<(), ExpectedToken> {
    if tokens.len() > MOST {
        return Err(ExpectedToken::Fewer);
    }
    let mut names = BTreeSet::new();
    let mut secrets = BTreeMap::new();
    for token in tokens {
        if !names.insert(token.name.as_ref()) {
            return Err(ExpectedToken::OtherName(token.name.clone()));
        }
        if let Some(first) = secrets.insert(token.secret.reveal(), &token.name) {
            return Err(ExpectedToken::OtherSecret(first.clone(), token.name.clone()));
        }
    }
    Ok(())
}

type Table = config::Map<String, Value>;

fn token(table: &Table) -> Result<AccessToken, ExpectedToken> {
    if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(ExpectedToken::KnownKeys(clip(unknown)));
    }
    let name = text(table, "name")?.unwrap_or_default();
    check_id("name", &name).map_err(ExpectedToken::Name)?;
    Ok(AccessToken {
        name: name.into(),
        secret: secret(table)?,
        scopes: scopes(table)?,
        partners: partners(table)?,
    })
}

fn text(table: &Table, key: &'static str) -> Result<Option<String>, ExpectedToken> {
    match table.get(key).map(|value| &value.kind) {
        None => Ok(None),
        Some(ValueKind::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ExpectedToken::Text(key)),
    }
}

/// A list of strings. None: there is no such key.
fn texts(table: &Table, key: &'static str) -> Result<Option<Vec<String>>, ExpectedToken> {
    match table.get(key).map(|value| &value.kind) {
        None => Ok(None),
        Some(ValueKind::Array(values)) => values
            .iter()
            .map(|value| match &value.kind {
                ValueKind::String(text) => Ok(text.clone()),
                _ => Err(ExpectedToken::Texts(key)),
            })
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(ExpectedToken::Texts(key)),
    }
}

fn secret(table: &Table) -> Result<Secret, ExpectedToken> {
    let token = text(table, "token")?.filter(|token| !token.is_empty());
    let path = text(table, "token_file")?.filter(|path| !path.is_empty());
    let token = match (token, path) {
        (Some(token), None) => token,
        (None, Some(path)) => read_file(Path::new(&path))?,
        (Some(_), Some(_)) => return Err(ExpectedToken::OneSecret),
        (None, None) => return Err(ExpectedToken::Secret),
    };
    if token.len() < SHORTEST || !is_visible(&token) {
        return Err(ExpectedToken::LongerSecret);
    }
    Ok(Secret::new(token))
}

fn scopes(table: &Table) -> Result<Scopes, ExpectedToken> {
    let names = texts(table, "scopes")?.ok_or(ExpectedToken::Scopes)?;
    let scope = |name: &String| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
    let scopes: Option<Vec<Scope>> = names.iter().map(scope).collect();
    let scopes = scopes
        .filter(|scopes| !scopes.is_empty())
        .ok_or(ExpectedToken::Scopes)?;
    Ok(scopes.into_iter().collect())
}

/// An empty list is rejected: it could be read as all partners or as none.
fn partners(table: &Table) -> Result<Partners, ExpectedToken> {
    let Some(partners) = texts(table, "partners")? else {
        return Ok(Partners::All);
    };
    if partners.is_empty() {
        return Err(ExpectedToken::Partner);
    }
    for partner in &partners {
        check_id("partner", partner).map_err(ExpectedToken::PartnerIds)?;
    }
    Ok(Partners::Only(Arc::new(partners.into_iter().collect())))
}

/// Reads the token from the setting or from its file.
fn default_token(from: &Reader, key: &str, file_key: &str) -> Result<Option<Secret>, SettingsError> {
    let token = from.text(key)?;
    let path = from.text(file_key)?;
    if path.is_empty() {
        return match token.as_str() {
            "" => Ok(None),
            token if is_visible(token) => Ok(Some(Secret::new(token))),
            _ => Err(from.invalid(key, VISIBLE)),
        };
    }
    if !token.is_empty() {
        let expected = format!("an empty value, because `{key}` is set by {}", from.origin(key));
        return Err(from.invalid(file_key, &expected));
    }
    match read_file(Path::new(&path)) {
        Ok(token) => Ok(Some(Secret::new(token))),
        Err(expected) => Err(from.invalid(file_key, &expected.to_string())),
    }
}

/// The token in a file, without the white space around it.
fn read_file(path: &Path) -> Result<String, ExpectedToken> {
    let text = std::fs::read_to_string(path)?;
    match text.trim() {
        token if is_visible(token) => Ok(token.to_owned()),
        _ => Err(ExpectedToken::VisibleFile),
    }
}

/// Whether an HTTP header can carry the token.
fn is_visible(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
