//! What a provider asks of the gateway.

use crate::border;
use crate::wire::{each, Malformed, Read, Writer, MAX_REPEATED};

/// Why a function of the host did not do its part. Each works only if the manifest asks for
/// its capability and the operator grants it. It becomes an [`Error`](crate::Error) by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The capability is not granted.
    NotGranted,
    /// The entry changed: return it, and the gateway makes the call anew.
    Conflict,
    /// A key or value is too large.
    TooLarge,
    /// The host cannot read the request. The call has failed.
    Malformed,
    /// The host failed. The call has failed, whatever the provider answers.
    Failed,
    /// An argument is not valid.
    Invalid,
    /// A destination that is not listed, a key that is not handed out.
    NotAllowed,
    /// The other server failed.
    Unreachable,
    /// Too often in one call.
    Exhausted,
    /// What was to be checked does not hold, and why in one word such as "expired".
    Refused(String),
}

impl HostError {
    /// Its number in the contract; that of `Refused` is the crate's own.
    pub fn code(&self) -> i32 {
        match self {
            HostError::NotGranted => -1,
            HostError::Conflict => -2,
            HostError::TooLarge => -3,
            HostError::Malformed => -4,
            HostError::Failed => -5,
            HostError::Invalid => -6,
            HostError::NotAllowed => -7,
            HostError::Unreachable => -8,
            HostError::Exhausted => -9,
            HostError::Refused(_) => -100,
        }
    }

    fn of(code: i32) -> HostError {
        match code {
            -1 => HostError::NotGranted,
            -2 => HostError::Conflict,
            -3 => HostError::TooLarge,
            -4 => HostError::Malformed,
            -6 => HostError::Invalid,
            -7 => HostError::NotAllowed,
            -8 => HostError::Unreachable,
            -9 => HostError::Exhausted,
            _ => HostError::Failed,
        }
    }
}

impl From<Malformed> for HostError {
    fn from(_: Malformed) -> HostError {
        HostError::Failed
    }
}

/// What comes of asking the host.
type Asked<T> = Result<T, HostError>;

fn ask(import: fn(&[u8]) -> i32, request: Writer) -> Asked<Vec<u8>> {
    let n = import(&request.0);
    if n < 0 {
        return Err(HostError::of(n));
    }
    Ok(border::pull(n))
}

/// A message of one text.
fn named(name: &str) -> Writer {
    let mut w = Writer::default();
    w.text(1, name);
    w
}

/// Reads a Result message. That it was refused counts, also without a reason.
fn result(reply: &[u8]) -> Asked<Vec<u8>> {
    let mut value = Vec::new();
    let mut refused = None;
    each(reply, |f| {
        match f.num {
            1 => value = f.bytes()?,
            2 => refused = Some(f.text()?),
            _ => {}
        }
        Ok(())
    })?;
    refused.map_or(Ok(value), |why| Err(HostError::Refused(why)))
}

/// An entry of the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub value: Vec<u8>,
    /// Changes with each write and is never 0.
    pub version: i64,
}

/// A map of the provider's own. Writes are staged: they commit with the answer of the call
/// or, after a denial or an error, not at all. A `ttl` is in nanoseconds, 0 for ever.
pub mod kv {
    use super::*;

    /// The entry, if there is one.
    pub fn get(key: &str) -> Asked<Option<Entry>> {
        let reply = ask(border::kv_get, named(key))?;
        let mut entry = Entry::default();
        let mut found = false;
        each(&reply, |f| {
            match f.num {
                1 => found = f.flag()?,
                2 => entry.value = f.bytes()?,
                3 => entry.version = f.int()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Some(entry).filter(|_| found))
    }

    fn put(key: &str, version: i64, value: &[u8], ttl: i64) -> Writer {
        let mut w = named(key);
        w.bytes(2, value);
        w.uint(3, ttl as u64);
        w.uint(4, version as u64);
        w
    }

    /// Writes a value.
    pub fn set(key: &str, value: &[u8], ttl: i64) -> Asked<()> {
        ask(border::kv_set, put(key, 0, value, ttl)).map(drop)
    }

    /// Writes a value if the entry still has that version, 0 meaning that there is none.
    pub fn compare_and_set(key: &str, version: i64, value: &[u8], ttl: i64) -> Asked<()> {
        ask(border::kv_compare_and_set, put(key, version, value, ttl)).map(drop)
    }

    /// Removes an entry, if there is one.
    pub fn delete(key: &str) -> Asked<()> {
        ask(border::kv_delete, named(key)).map(drop)
    }
}

/// What a check of a password comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It is the one.
    pub ok: bool,
    /// The hash should be made anew.
    pub stale: bool,
}

/// argon2id in the host.
pub mod passwords {
    use super::*;

    /// The hash of a password.
    pub fn hash(password: &str) -> Asked<String> {
        let reply = ask(border::password_hash, named(password))?;
        let mut hash = String::new();
        each(&reply, |f| {
            if f.num == 1 {
                hash = f.text()?;
            }
            Ok(())
        })?;
        Ok(hash)
    }

    /// Checks a password. An empty hash takes the time of a real check and is false.
    pub fn verify(hash: &str, password: &str) -> Asked<Verdict> {
        let mut w = named(hash);
        w.text(2, password);
        let reply = ask(border::password_verify, w)?;
        let mut verdict = Verdict::default();
        each(&reply, |f| {
            match f.num {
                1 => verdict.ok = f.flag()?,
                2 => verdict.stale = f.flag()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(verdict)
    }

    /// Whether it is one of the 100,000 most common.
    pub fn common(password: &str) -> Asked<bool> {
        let reply = ask(border::password_common, named(password))?;
        let mut common = false;
        each(&reply, |f| {
            if f.num == 1 {
                common = f.flag()?;
            }
            Ok(())
        })?;
        Ok(common)
    }
}

/// The weight of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For developers.
    Debug = -4,
    /// As expected.
    Info = 0,
    /// Somebody should look.
    Warn = 4,
    /// Something broke.
    Error = 8,
}

/// Writes a log record with pairs of name and value. One that the host does not take is
/// dropped; the call goes on.
pub fn log(level: Level, message: &str, args: &[(&str, &str)]) {
    let mut w = Writer::default();
    w.uint(1, level as i64 as u64);
    w.text(2, message);
    for (name, value) in args {
        w.element(3, name.as_bytes());
        w.element(3, value.as_bytes());
    }
    border::log_write(&w.0);
}

/// A request to a server that the operator lists.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// GET if empty.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Names with values.
    pub header: Vec<(String, String)>,
    /// What is sent.
    pub body: Vec<u8>,
}

/// What the server answered, of any status.
#[derive(Clone, Debug, Default)]
pub struct HttpResponse {
    /// 200, for instance.
    pub status: u32,
    /// In the order of the names, without cookies.
    pub header: Vec<(String, String)>,
    /// What it says.
    pub body: Vec<u8>,
    /// That answered, after redirects.
    pub url: String,
}

/// Requests to other servers.
pub mod http {
    use super::*;

    /// Makes one request.
    pub fn fetch(request: &HttpRequest) -> Asked<HttpResponse> {
        let mut w = Writer::default();
        w.text(1, &request.method);
        w.text(2, &request.url);
        for (name, value) in &request.header {
            w.pair(3, name, value);
        }
        w.bytes(4, &request.body);
        let reply = ask(border::http_fetch, w)?;
        let mut response = HttpResponse::default();
        each(&reply, |f| {
            match f.num {
                1 => response.status = f.uint()? as u32,
                2 => header(&mut response.header, f.pair()?)?,
                3 => response.body = f.bytes()?,
                4 => response.url = f.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }

    fn header(list: &mut Vec<(String, String)>, field: (String, String)) -> Read<()> {
        if list.len() >= MAX_REPEATED {
            return Err(Malformed);
        }
        list.push(field);
        Ok(())
    }
}

/// An id_token with what it must say. `issuer`, `audience`, `nonce`, `algorithms` and one of
/// `keys` and `keys_url` are needed.
#[derive(Clone, Debug, Default)]
pub struct JwtCheck {
    /// The token.
    pub token: String,
    /// Its iss claim, compared exactly.
    pub issuer: String,
    /// What its aud claim must hold.
    pub audience: String,
    /// Its nonce claim: that of the flow.
    pub nonce: String,
    /// "RS256", "ES256", ...; the token has no say.
    pub algorithms: Vec<String>,
    /// A JWK Set.
    pub keys: String,
    /// Where there is one.
    pub keys_url: String,
    /// If set, at_hash must be its hash.
    pub access_token: String,
    /// Since auth_time, in nanoseconds; 0: any.
    pub max_age: i64,
}

/// Tokens of other issuers.
pub mod jwt {
    use super::*;

    /// Checks an id_token and returns its claims, a JSON object: see [`crate::json`].
    pub fn verify(check: &JwtCheck) -> Asked<Vec<u8>> {
        let mut w = named(&check.token);
        w.text(2, &check.issuer);
        w.text(3, &check.audience);
        w.text(4, &check.nonce);
        w.texts(5, &check.algorithms);
        w.text(6, &check.keys);
        w.text(7, &check.keys_url);
        w.text(8, &check.access_token);
        w.uint(9, check.max_age as u64);
        result(&ask(border::jwt_verify, w)?)
    }
}

/// The secrets of the provider's section of the configuration.
pub mod secrets {
    use super::*;

    /// The secret, if there is one. Private keys are not handed out.
    pub fn get(name: &str) -> Asked<Option<String>> {
        let reply = ask(border::secret_get, named(name))?;
        let mut value = String::new();
        let mut found = false;
        each(&reply, |f| {
            match f.num {
                1 => found = f.flag()?,
                2 => value = f.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Some(value).filter(|_| found))
    }

    /// HMAC-SHA-256 of the message under the secret, 32 bytes.
    pub fn mac(name: &str, message: &[u8]) -> Asked<Vec<u8>> {
        let mut w = named(name);
        w.bytes(2, message);
        result(&ask(border::secret_mac, w)?)
    }
}
