use std::collections::BTreeMap;

use crate::host::HostError;
use crate::wire::{each, Read, Writer};

/// The codes of denials and errors.
#[allow(missing_docs)]
pub mod code {
    pub const INVALID_CREDENTIALS: &str = "INVALID_CREDENTIALS";
    pub const EMAIL_NOT_VERIFIED: &str = "EMAIL_NOT_VERIFIED";
    pub const EMAIL_EXISTS: &str = "EMAIL_ALREADY_EXISTS";
    pub const INVALID_EMAIL: &str = "INVALID_EMAIL_FORMAT";
    pub const WEAK_PASSWORD: &str = "WEAK_PASSWORD";
    pub const VALIDATION: &str = "VALIDATION_ERROR";
    pub const MISSING_FIELD: &str = "MISSING_REQUIRED_FIELD";
    pub const INVALID_TOKEN: &str = "INVALID_TOKEN";
    pub const USER_NOT_FOUND: &str = "USER_NOT_FOUND";
    pub const PROVIDER_ERROR: &str = "OAUTH_PROVIDER_ERROR";
    pub const UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";
    pub const INTERNAL: &str = "INTERNAL_ERROR";
}

/// What a provider is.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// Reverse domain name or short name.
    pub id: String,
    /// Semantic version of the provider.
    pub version: String,
    /// A name of yours, such as "pin".
    pub kind: String,
    /// What a person can begin, in order of preference.
    pub forms: Vec<Form>,
    /// What it needs of the host: "kv", "password", "log", "http", "jwt", "secret".
    pub capabilities: Vec<String>,
    /// JSON Schema of its settings, or nothing.
    pub config_schema: String,
}

/// What one flow asks of a person at its beginning.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// "login", "register", "verify", "recover", "change", "link", "logout" or "forget".
    pub flow: String,
    /// Tells two forms of one flow apart.
    pub name: String,
    /// For people.
    pub label: String,
    /// Its inputs.
    pub fields: Vec<Field>,
}

/// One input of a form or of a prompt.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Its key in [`Request::fields`].
    pub name: String,
    /// For people.
    pub label: String,
    /// "text", "email" or "password".
    pub kind: String,
    /// Whether the form is useless without it.
    pub required: bool,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// Like "limits.attempts".
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// One attempt to prove who one is. The gateway made all of it: it can be relied on.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Its name.
    pub id: String,
    /// Its purpose, as in [`Form::flow`].
    pub kind: String,
    /// Name of the form that began it.
    pub form: String,
    /// Where another site sends the person back to.
    pub callback_url: String,
    /// Single use, bound to the browser.
    pub state: String,
    /// Single use.
    pub nonce: String,
    /// RFC 7636.
    pub pkce_verifier: String,
    /// S256 of the verifier.
    pub pkce_challenge: String,
    /// Change, link, logout: who is signed in.
    pub subject: String,
    /// What the step before saved.
    pub saved: Vec<u8>,
    /// Nanoseconds since 1970.
    pub started_at: i64,
}

/// What a person sent. Nothing in it but `now` is to be relied on.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Form fields, JSON members or query parameters.
    pub fields: BTreeMap<String, String>,
    /// Those that the operator names for the provider.
    pub headers: BTreeMap<String, String>,
    /// Serve: the rest of the path.
    pub path: String,
    /// Where it came from.
    pub ip: String,
    /// What the browser says of itself.
    pub user_agent: String,
    /// The person's language.
    pub locale: String,
    /// Nanoseconds since 1970.
    pub now: i64,
}

impl Request {
    /// The value of a field, or "" where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The value of a header, or "" where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn decode(&mut self, message: &[u8]) -> Read<()> {
        each(message, |f| {
            match f.num {
                1 => f.entry(&mut self.fields)?,
                2 => self.path = f.text()?,
                3 => self.ip = f.text()?,
                4 => self.user_agent = f.text()?,
                5 => self.locale = f.text()?,
                6 => self.now = f.int()?,
                7 => f.entry(&mut self.headers)?,
                _ => {}
            }
            Ok(())
        })
    }
}

impl Flow {
    pub(crate) fn decode(&mut self, message: &[u8]) -> Read<()> {
        each(message, |f| {
            match f.num {
                1 => self.id = f.text()?,
                2 => self.kind = f.text()?,
                3 => self.form = f.text()?,
                4 => self.callback_url = f.text()?,
                5 => self.state = f.text()?,
                6 => self.nonce = f.text()?,
                7 => self.pkce_verifier = f.text()?,
                8 => self.pkce_challenge = f.text()?,
                9 => self.subject = f.text()?,
                10 => self.saved = f.bytes()?,
                11 => self.started_at = f.int()?,
                _ => {}
            }
            Ok(())
        })
    }
}

/// What a provider asserts about a person. Issuer and subject name the person at this
/// provider and never change.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Who says so, if it is another site.
    pub issuer: String,
    /// Who it is. Needed.
    pub subject: String,
    /// An address, if there is one.
    pub email: String,
    /// Whether the provider has checked that it is the person's.
    pub email_verified: bool,
    /// For people.
    pub name: String,
    /// https.
    pub avatar_url: String,
    /// For the operator's rules.
    pub groups: Vec<String>,
    /// How it was proven, RFC 8176.
    pub amr: Vec<String>,
    /// How well.
    pub acr: String,
    /// More, under names that the gateway does not use itself.
    pub attributes: BTreeMap<String, String>,
}

/// A mail; the gateway mints its link and has its words.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// "verify", "reset", "magic_link" or "account_exists".
    pub template: String,
    /// One address.
    pub to: String,
    /// For the words.
    pub vars: BTreeMap<String, String>,
    /// Whom the mail is about.
    pub identity: Option<Identity>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, Default)]
pub struct FieldError {
    /// Its name.
    pub field: String,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A provider's answer.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it is.
    pub kind: Kind,
    /// At most 16 KiB that the gateway keeps, encrypted, for the next step.
    pub save: Vec<u8>,
}

/// The kinds of answers.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Sends the browser to another site.
    Redirect(String),
    /// Sends the browser to another site with a form that submits itself.
    Post(String, BTreeMap<String, String>),
    /// Asks for more fields.
    Prompt(Vec<Field>),
    /// Sends a mail.
    Mail(Mail),
    /// Says who the person is. It ends the flow.
    Done(Identity),
    /// Says that the credentials of a subject changed; the gateway ends the sessions.
    Changed(String),
    /// Says no, with one of [`code`]. Nothing that was written in the call is kept.
    Denied(String, Vec<FieldError>),
}

impl From<Kind> for Step {
    fn from(kind: Kind) -> Step {
        Step { kind, save: Vec::new() }
    }
}

impl Step {
    /// [`Kind::Done`].
    pub fn done(identity: Identity) -> Step {
        Kind::Done(identity).into()
    }

    /// [`Kind::Denied`] without errors of fields.
    pub fn denied(code: &str) -> Step {
        Kind::Denied(code.into(), Vec::new()).into()
    }
}

/// A provider's failure: it cannot tell.
#[derive(Clone, Debug, Default)]
pub struct Error {
    /// One of [`code`].
    pub code: String,
    /// Shown to the person.
    pub public: String,
    /// For the log alone.
    pub private: String,
}

impl Error {
    /// An internal error.
    pub fn internal(private: impl Into<String>) -> Error {
        Error { code: code::INTERNAL.into(), public: String::new(), private: private.into() }
    }
}

impl From<HostError> for Error {
    fn from(e: HostError) -> Error {
        Error::internal(format!("the host answered {}", e.code()))
    }
}

/// A plain document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// 200, for instance.
    pub status: u32,
    /// Its media type.
    pub content_type: String,
    /// What it says.
    pub body: Vec<u8>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.text(1, &self.id);
        w.text(2, &self.version);
        w.uint(3, crate::ABI as u64);
        w.text(4, &self.kind);
        for form in &self.forms {
            let mut inner = Writer::default();
            inner.text(1, &form.flow);
            inner.text(2, &form.name);
            inner.text(3, &form.label);
            fields(&mut inner, 4, &form.fields);
            w.message(5, inner);
        }
        w.texts(6, &self.capabilities);
        w.text(7, &self.config_schema);
        w
    }
}

fn fields(w: &mut Writer, num: u64, list: &[Field]) {
    for field in list {
        let mut inner = Writer::default();
        inner.text(1, &field.name);
        inner.text(2, &field.label);
        inner.text(3, &field.kind);
        inner.uint(4, field.required.into());
        w.message(num, inner);
    }
}

impl Identity {
    fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.text(1, &self.issuer);
        w.text(2, &self.subject);
        w.text(3, &self.email);
        w.uint(4, self.email_verified.into());
        w.text(5, &self.name);
        w.text(6, &self.avatar_url);
        w.texts(7, &self.groups);
        w.texts(8, &self.amr);
        w.text(9, &self.acr);
        w.map(10, &self.attributes);
        w
    }
}

impl Step {
    pub(crate) fn encode(&self) -> Writer {
        let mut inner = Writer::default();
        let num = self.kind.encode(&mut inner);
        let mut w = Writer::default();
        w.bytes(1, &self.save);
        w.message(num, inner);
        w
    }
}

impl Kind {
    /// Writes the message and returns its field of the message Step.
    fn encode(&self, w: &mut Writer) -> u64 {
        match self {
            Kind::Redirect(url) => {
                w.text(1, url);
                2
            }
            Kind::Post(url, form) => {
                w.text(1, url);
                w.map(2, form);
                3
            }
            Kind::Prompt(list) => {
                fields(w, 1, list);
                4
            }
            Kind::Mail(mail) => {
                w.text(1, &mail.template);
                w.text(2, &mail.to);
                w.map(3, &mail.vars);
                if let Some(identity) = &mail.identity {
                    w.message(4, identity.encode());
                }
                5
            }
            Kind::Done(identity) => {
                w.message(1, identity.encode());
                6
            }
            Kind::Changed(subject) => {
                w.text(1, subject);
                7
            }
            Kind::Denied(code, errors) => {
                w.text(1, code);
                for e in errors {
                    let mut inner = Writer::default();
                    inner.text(1, &e.field);
                    inner.text(2, &e.code);
                    inner.text(3, &e.message);
                    w.message(2, inner);
                }
                8
            }
        }
    }
}

impl Error {
    pub(crate) fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.text(1, &self.code);
        w.text(2, &self.public);
        w.text(3, &self.private);
        w
    }
}
