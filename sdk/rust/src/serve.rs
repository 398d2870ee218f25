use crate::border;
use crate::model::{Document, Error, Fault, Flow, Manifest, Request, Step};
use crate::wire::{each, Read, Writer, MAX_MESSAGE};

const STATUS_OK: i32 = 0;
const STATUS_MALFORMED: i32 = 1;
const STATUS_UNKNOWN_METHOD: i32 = 2;

/// One way to prove who one is.
pub trait Provider {
    /// Says what the provider is. It is called before `configure` and may not use the host.
    fn describe(&self) -> Manifest;

    /// Takes the provider's section of the configuration, a JSON object, and returns every
    /// fault of it. With none the provider is ready. It may not use the host.
    fn configure(&mut self, settings: &str) -> Vec<Fault>;

    /// Starts a flow.
    fn begin(&mut self, flow: &Flow, request: &Request) -> Result<Step, Error>;

    /// Goes on with a flow after the person came back: from a mailed link, from another site,
    /// or with the fields of a prompt.
    fn resume(&mut self, flow: &Flow, request: &Request) -> Result<Step, Error>;

    /// Answers with a plain document, if there is one.
    fn document(&mut self, _request: &Request) -> Option<Document> {
        None
    }
}

/// Answers one call of the gateway. [`export!`](crate::export) calls it.
pub fn answer(provider: &mut dyn Provider, method: i32, size: i32) -> i32 {
    if usize::try_from(size).map_or(true, |n| n > MAX_MESSAGE) {
        return STATUS_MALFORMED;
    }
    let request = border::pull(size);
    let reply = match method {
        1 => Ok(Some(provider.describe().encode())),
        2 => configure(provider, &request).map(Some),
        3 | 4 => call(provider, method == 3, &request).map(Some),
        5 => document(provider, &request),
        _ => return STATUS_UNKNOWN_METHOD,
    };
    match reply {
        Ok(Some(w)) => {
            if !w.0.is_empty() {
                border::write(&w.0);
            }
            STATUS_OK
        }
        Ok(None) => STATUS_UNKNOWN_METHOD,
        Err(_) => STATUS_MALFORMED,
    }
}

/// Settings that are no UTF-8 are no JSON either: the provider gets an empty text, which is
/// no JSON object, and says so.
fn configure(provider: &mut dyn Provider, message: &[u8]) -> Read<Writer> {
    let mut settings = Vec::new();
    each(message, |f| {
        if f.num == 1 {
            settings = f.bytes()?;
        }
        Ok(())
    })?;
    let mut w = Writer::default();
    for fault in provider.configure(std::str::from_utf8(&settings).unwrap_or("")) {
        w.pair(1, &fault.path, &fault.message);
    }
    Ok(w)
}

fn call(provider: &mut dyn Provider, begins: bool, message: &[u8]) -> Read<Writer> {
    let mut flow = Flow::default();
    let mut request = Request::default();
    each(message, |f| match f.num {
        1 => flow.decode(f.slice()?),
        2 => request.decode(f.slice()?),
        _ => Ok(()),
    })?;
    let result = match begins {
        true => provider.begin(&flow, &request),
        false => provider.resume(&flow, &request),
    };
    let w = reply(&flow.id, result);
    if w.0.len() > MAX_MESSAGE {
        return Ok(reply(&flow.id, Err(Error::internal("the provider's answer is too large"))));
    }
    Ok(w)
}

fn reply(flow: &str, result: Result<Step, Error>) -> Writer {
    let mut w = Writer::default();
    w.text(1, flow);
    match result {
        Ok(step) => w.message(2, step.encode()),
        Err(e) => w.message(3, e.encode()),
    }
    w
}

fn document(provider: &mut dyn Provider, message: &[u8]) -> Read<Option<Writer>> {
    let mut request = Request::default();
    each(message, |f| match f.num {
        1 => request.decode(f.slice()?),
        _ => Ok(()),
    })?;
    Ok(provider.document(&request).map(|d| {
        let mut response = Writer::default();
        response.uint(1, d.status.into());
        response.text(2, &d.content_type);
        response.bytes(3, &d.body);
        let mut w = Writer::default();
        w.message(1, response);
        w
    }))
}
