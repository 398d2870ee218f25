//! The mirror of mirror.c in Rust.

use std::collections::BTreeMap;

use shield::json::{self, Value};
use shield::*;

fn line(name: &str, value: &str) -> String {
    format!("{}={}\n", name, value)
}

fn pairs<'a>(name: &str, list: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    list.map(|(n, v)| format!("{}:", name) + &line("", n) + &line("", v)).collect()
}

fn subject(text: impl Into<String>) -> Result<Step, Error> {
    Ok(Step::done(Identity { subject: text.into(), ..Identity::default() }))
}

fn show(flow: &Flow, request: &Request) -> Result<Step, Error> {
    let said = [
        line("id", &flow.id),
        line("kind", &flow.kind),
        line("callback_url", &flow.callback_url),
        line("state", &flow.state),
        line("nonce", &flow.nonce),
        line("pkce_verifier", &flow.pkce_verifier),
        line("pkce_challenge", &flow.pkce_challenge),
        line("subject", &flow.subject),
        line("saved", &hex(&flow.saved)),
        line("started_at", &flow.started_at.to_string()),
        pairs("field", request.fields.iter()),
        line("path", &request.path),
        line("ip", &request.ip),
        line("user_agent", &request.user_agent),
        line("locale", &request.locale),
        line("now", &request.now.to_string()),
        pairs("header", request.headers.iter()),
    ];
    subject(said.concat())
}

fn fields() -> Vec<Field> {
    let email = Field { name: "email".into(), label: "E-mail".into(), kind: "email".into(), required: true };
    vec![email, Field::default()]
}

fn identity() -> Identity {
    let attributes = [("", "nameless"), ("empty", ""), ("k", "v")];
    Identity {
        issuer: "https://id.example".into(),
        subject: "s-1".into(),
        email: "a@example.test".into(),
        email_verified: true,
        name: "Ä".into(),
        avatar_url: "https://x/y.png".into(),
        groups: vec!["a".into(), "".into(), "b".into()],
        amr: vec!["pwd".into()],
        acr: "1".into(),
        attributes: attributes.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
    }
}

fn dump(v: &Value) -> String {
    match v {
        Value::Null => "n ".into(),
        Value::Bool(b) => (if *b { "t " } else { "f " }).into(),
        Value::Number(n) => format!("#{} ", n),
        Value::String(s) => format!("\"{} ", hex(s.as_bytes())),
        Value::Array(list) => format!("[{}] ", list.iter().map(dump).collect::<String>()),
        Value::Object(list) => {
            let members: String = list.iter().map(|(n, v)| hex(n.as_bytes()) + ":" + &dump(v)).collect();
            format!("{{{}] ", members)
        }
    }
}

fn read(text: &str) -> Result<Step, Error> {
    match json::parse(text) {
        None => subject("invalid"),
        Some(v) => subject(dump(&v) + &v.integer().map_or(String::new(), |n| n.to_string())),
    }
}

fn ask(call: &str) -> Result<String, HostError> {
    let minute = 60_000_000_000;
    Ok(match call {
        "kv.get" => {
            let e = kv::get("addr/a@example.test")?;
            let found = e.is_some();
            let e = e.unwrap_or_default();
            format!("{} {} {}", found, hex(&e.value), e.version)
        }
        "kv.set" => kv::set("k", b"v", minute).map(|_| String::new())?,
        "kv.compare_and_set" => kv::compare_and_set("k", -3, b"v", minute).map(|_| String::new())?,
        "kv.delete" => kv::delete("addr/a@example.test").map(|_| String::new())?,
        "password.hash" => passwords::hash("pässword")?,
        "password.verify" => passwords::verify("h", "p").map(|v| format!("{} {} ", v.ok, v.stale))?,
        "password.common" => passwords::common("pässword").map(|c| format!("{} ", c))?,
        "log.write" => {
            log(Level::Debug, "m", &[("k", ""), ("v", "w")]);
            String::new()
        }
        "http.fetch" => {
            let r = http::fetch(&HttpRequest {
                method: "POST".into(),
                url: "https://x/y".into(),
                header: vec![("Accept".into(), "application/json".into()), ("".into(), "".into())],
                body: b"b".to_vec(),
            })?;
            let body = String::from_utf8_lossy(&r.body).into_owned();
            r.status.to_string() + &line(" url", &r.url) + &line("body", &body) + &pairs("header", r.header.iter().map(|(n, v)| (n, v)))
        }
        "jwt.verify" => hex(&jwt::verify(&JwtCheck {
            token: "t".into(),
            issuer: "i".into(),
            audience: "a".into(),
            nonce: "n".into(),
            algorithms: vec!["RS256".into(), "ES256".into()],
            keys: "{}".into(),
            keys_url: "https://x/k".into(),
            access_token: "at".into(),
            max_age: 60 * minute,
        })?),
        "secret.get" => secrets::get("client_secret").map(|s| format!("{} {}", s.is_some(), s.unwrap_or_default()))?,
        "secret.mac" => hex(&secrets::mac("key", b"m")?),
        _ => return Err(HostError::NotGranted),
    })
}

fn host(call: &str) -> Result<Step, Error> {
    match ask(call) {
        Ok(said) => subject(said),
        Err(HostError::Refused(why)) => subject(line("refused", &why)),
        Err(e) => subject(format!("error {}", e.code())),
    }
}

struct Mirror;

impl Provider for Mirror {
    fn describe(&self) -> Manifest {
        let form = Form { flow: "login".into(), name: "password".into(), label: "Log in".into(), fields: fields() };
        Manifest {
            id: "mirror".into(),
            version: "1.2.3".into(),
            kind: "mirror".into(),
            forms: vec![form, Form::default()],
            capabilities: ["kv", "password", "log", "http", "jwt", "secret"].map(String::from).to_vec(),
            config_schema: "{}".into(),
        }
    }

    fn configure(&mut self, settings: &str) -> Vec<Fault> {
        vec![Fault { path: "a.b".into(), message: settings.into() }, Fault::default()]
    }

    fn begin(&mut self, flow: &Flow, request: &Request) -> Result<Step, Error> {
        match flow.form.as_str() {
            "json" => read(request.field("text")),
            "host" => host(request.field("call")),
            "redirect" => Ok(Step { kind: Kind::Redirect("https://x".into()), save: b"kept".to_vec() }),
            "post" => {
                let saml = BTreeMap::from([("SAMLRequest".into(), "b64".into())]);
                Ok(Kind::Post("https://x".into(), saml).into())
            }
            "prompt" => Ok(Kind::Prompt(fields()).into()),
            "mail" => Ok(Kind::Mail(Mail {
                template: "verify".into(),
                to: "a@example.test".into(),
                vars: BTreeMap::from([("name".into(), "A".into())]),
                identity: Some(identity()),
            })
            .into()),
            "done" => Ok(Step::done(identity())),
            "done_empty" => subject(""),
            "changed" => Ok(Kind::Changed("s-1".into()).into()),
            "denied" => {
                let error = FieldError { field: "password".into(), code: "TOO_SHORT".into(), message: "m".into() };
                Ok(Kind::Denied(code::WEAK_PASSWORD.into(), vec![error, FieldError::default()]).into())
            }
            "error" => Err(Error { code: "C".into(), public: "p".into(), private: "q".into() }),
            "nothing" => Err(Error::internal("the language has no such step")),
            "large" => subject("x".repeat(2 << 20)),
            _ => show(flow, request),
        }
    }

    fn resume(&mut self, flow: &Flow, _request: &Request) -> Result<Step, Error> {
        subject(hex(&flow.saved))
    }

    fn document(&mut self, request: &Request) -> Option<Document> {
        Some(Document { status: 200, content_type: "text/xml".into(), body: request.path.clone().into_bytes() })
    }
}

shield::export!(Mirror);
