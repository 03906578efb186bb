//! Who may ask: API keys from a file, and no pages of other sites.

use super::problem::Problem;
use crate::error::{Error, Result};
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::path::Path;
use subtle::{Choice, ConstantTimeEq};

/// A file of keys that is longer is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// A key that is shorter can be guessed.
const MIN_KEY_BYTES: usize = 8;

/// The keys that are let in.
#[derive(Clone, Default)]
pub(super) struct ApiKeys(Vec<[u8; 32]>);

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

impl ApiKeys {
    /// Reads a file with one key a line; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::InvalidRequest`] where it holds no key, or a key that no
    /// client could send.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("read", path, error);
        let length = std::fs::metadata(path).map_err(failed)?.len();
        let wrong = |what: String| Error::request("api_keys_file", format!("{}: {what}", path.display()));
        if length > MAX_FILE_BYTES {
            return Err(wrong("it is longer than 1 MiB, which no file of keys is".into()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let mut keys = vec![];
        for (number, line) in (1..).zip(text.lines()) {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong(format!("line {number}: a key is ASCII without spaces")));
            }
            if key.len() < MIN_KEY_BYTES {
                return Err(wrong(format!("line {number}: a key has at least {MIN_KEY_BYTES} characters")));
            }
            keys.push(Sha256::digest(key).into());
        }
        match keys.is_empty() {
            true => Err(wrong("it holds no key".into())),
            false => Ok(Self(keys)),
        }
    }

    /// Whether everybody is let in.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a request in, or says why not. Digests are compared, all of them and each to its end, so that the time tells
    /// nothing about a key.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Err(Problem::key(false)) };
        let scheme = b"bearer ";
        let key = match given.as_bytes().split_at_checked(scheme.len()) {
            Some((first, key)) if first.eq_ignore_ascii_case(scheme) => key.trim_ascii(),
            _ => return Err(Problem::key(false)),
        };
        let digest: [u8; 32] = Sha256::digest(key).into();
        let found = self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
        match bool::from(found) {
            true => Ok(()),
            false => Err(Problem::key(true)),
        }
    }
}

/// Refuses what a page of another site sends through its visitor's browser: requests with a foreign `Origin`, and, where
/// the server listens on loopback only, requests under a name that somebody pointed there.
pub(super) fn check_site(headers: &HeaderMap, origins: &[String], loopback: bool) -> Result<(), Problem> {
    let host = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    if loopback
        && let Some(host) = &host
        && !is_loopback_name(host)
    {
        return Err(Problem::host(host));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let own = origin.split_once("://").is_some_and(|(_, site)| Some(site) == host.as_deref());
    match own || origins.iter().any(|allowed| allowed == "*" || *allowed == origin) {
        true => Ok(()),
        false => Err(Problem::origin(&origin)),
    }
}

/// Whether a `Host` header names this very machine.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn keys(text: &str) -> Result<ApiKeys> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ApiKeys::read(file.path())
    }

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_known_keys_are_let_in() {
        let keys = keys("# two keys\nfirst-key-1\n\n second-key-2 \n").unwrap();
        let check = |value| keys.check(&headers(header::AUTHORIZATION, value)).map_err(|p| p.message);
        assert_eq!(check("Bearer first-key-1"), Ok(()));
        assert_eq!(check("bearer second-key-2"), Ok(()));
        assert!(check("Bearer first-key-").unwrap_err().contains("not valid"));
        assert!(check("Bearer ").unwrap_err().contains("not valid"));
        assert!(check("Basic first-key-1").unwrap_err().contains("needed"));
        assert!(keys.check(&HeaderMap::new()).is_err());
        assert!(ApiKeys::default().check(&HeaderMap::new()).is_ok());
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
    }

    #[test]
    fn a_file_that_lets_nobody_or_everybody_in_is_refused() {
        for (text, what) in [("\n# none\n", "no key"), ("a b c d e f\n", "line 1"), ("\nshort\n", "line 2")] {
            let error = keys(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(matches!(ApiKeys::read(Path::new("/nowhere/keys")), Err(Error::Io { .. })));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let with = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = headers(header::HOST, host);
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            headers
        };
        let named = ["https://app.example".to_owned()];
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "inferno.localhost:1"] {
            assert!(check_site(&with(host, None), &[], true).is_ok(), "{host}");
        }
        assert!(check_site(&with("evil.example:8080", None), &[], true).is_err());
        assert!(check_site(&with("evil.example:8080", None), &[], false).is_ok());
        let own = Some("http://127.0.0.1:8080");
        assert!(check_site(&with("127.0.0.1:8080", own), &[], true).is_ok());
        assert!(check_site(&with("127.0.0.1:8081", own), &[], true).is_err());
        assert!(check_site(&with("127.0.0.1", Some("https://app.example")), &[], true).is_err());
        assert!(check_site(&with("127.0.0.1", Some("https://app.example")), &named, true).is_ok());
        assert!(check_site(&with("127.0.0.1", Some("null")), &named, true).is_err());
    }
}
