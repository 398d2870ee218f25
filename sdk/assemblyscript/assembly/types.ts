import { Reader, Writer } from "./wire";

/** Version of the contract. */
export const ABI: i32 = 2;

/** The codes of denials and errors. */
export namespace Code {
  export const INVALID_CREDENTIALS = "INVALID_CREDENTIALS";
  export const EMAIL_NOT_VERIFIED = "EMAIL_NOT_VERIFIED";
  export const EMAIL_EXISTS = "EMAIL_ALREADY_EXISTS";
  export const INVALID_EMAIL = "INVALID_EMAIL_FORMAT";
  export const WEAK_PASSWORD = "WEAK_PASSWORD";
  export const VALIDATION = "VALIDATION_ERROR";
  export const MISSING_FIELD = "MISSING_REQUIRED_FIELD";
  export const INVALID_TOKEN = "INVALID_TOKEN";
  export const USER_NOT_FOUND = "USER_NOT_FOUND";
  export const PROVIDER_ERROR = "OAUTH_PROVIDER_ERROR";
  export const UNAVAILABLE = "SERVICE_UNAVAILABLE";
  export const INTERNAL = "INTERNAL_ERROR";
}

/** One input of a form or of a prompt. The type is "text", "email" or "password". */
export class Field {
  constructor(
    public name: string,
    public label: string,
    public type: string,
    public required: bool = false,
  ) {}

  encode(): Writer {
    const w = new Writer();
    w.text(1, this.name);
    w.text(2, this.label);
    w.text(3, this.type);
    w.uint(4, this.required ? 1 : 0);
    return w;
  }
}

function putFields(w: Writer, num: u32, fields: Field[]): void {
  for (let i = 0; i < fields.length; i++) w.message(num, fields[i].encode());
}

/** What one flow asks of a person at its beginning. The flow is "login", "register",
 * "verify", "recover", "change", "link", "logout" or "forget"; the name tells two forms of one flow
 * apart. */
export class Form {
  constructor(
    public flow: string,
    public name: string,
    public label: string,
    public fields: Field[],
  ) {}
}

/** What a provider is. */
export class Manifest {
  /** Reverse domain name or short name. */
  id: string = "";
  /** Semantic version of the provider. */
  version: string = "";
  /** A name of yours, such as "invitation". */
  kind: string = "";
  forms: Form[] = [];
  /** What it needs of the host: "kv", "password", "log", "http", "jwt", "secret". */
  capabilities: string[] = [];
  /** JSON Schema of its settings, or nothing. */
  configSchema: string = "";

  encode(): Writer {
    const w = new Writer();
    w.text(1, this.id);
    w.text(2, this.version);
    w.uint(3, ABI);
    w.text(4, this.kind);
    for (let i = 0; i < this.forms.length; i++) {
      const form = new Writer();
      form.text(1, this.forms[i].flow);
      form.text(2, this.forms[i].name);
      form.text(3, this.forms[i].label);
      putFields(form, 4, this.forms[i].fields);
      w.message(5, form);
    }
    w.texts(6, this.capabilities);
    w.text(7, this.configSchema);
    return w;
  }
}

/** One thing that is wrong with the settings: where, and what would be right. */
export class Fault {
  constructor(
    public path: string,
    public message: string,
  ) {}
}

/** One attempt to prove who one is. The gateway made all of it: it can be relied on. */
export class Flow {
  id: string = "";
  kind: string = "";
  /** Name of the form that began it. */
  form: string = "";
  /** Where another site sends the person back to. */
  callbackURL: string = "";
  /** Single use, as nonce is. */
  state: string = "";
  nonce: string = "";
  /** RFC 7636; the challenge is S256 of it. */
  pkceVerifier: string = "";
  pkceChallenge: string = "";
  /** change, link, logout: who is signed in. */
  subject: string = "";
  /** What the step before saved. */
  saved: Uint8Array = new Uint8Array(0);
  /** Nanoseconds since 1970. */
  startedAt: i64 = 0;

  /** False if these bytes are no flow. */
  decode(r: Reader): bool {
    while (r.next()) {
      if (r.num == 1) this.id = r.text();
      else if (r.num == 2) this.kind = r.text();
      else if (r.num == 3) this.form = r.text();
      else if (r.num == 4) this.callbackURL = r.text();
      else if (r.num == 5) this.state = r.text();
      else if (r.num == 6) this.nonce = r.text();
      else if (r.num == 7) this.pkceVerifier = r.text();
      else if (r.num == 8) this.pkceChallenge = r.text();
      else if (r.num == 9) this.subject = r.text();
      else if (r.num == 10) this.saved = r.bytes();
      else if (r.num == 11) this.startedAt = r.int();
    }
    return !r.broken;
  }
}

/** What a person sent. Nothing in it but now is to be relied on. */
export class Request {
  fields: Map<string, string> = new Map<string, string>();
  /** Those that the operator names for the provider. */
  headers: Map<string, string> = new Map<string, string>();
  /** Document: the rest of the path. */
  path: string = "";
  ip: string = "";
  userAgent: string = "";
  locale: string = "";
  /** Nanoseconds since 1970. */
  now: i64 = 0;

  /** The value of a field, or "" where there is none. */
  field(name: string): string {
    return this.fields.has(name) ? this.fields.get(name) : "";
  }

  /** The value of a header, or "" where there is none. */
  header(name: string): string {
    return this.headers.has(name) ? this.headers.get(name) : "";
  }

  /** False if these bytes are no request. */
  decode(r: Reader): bool {
    while (r.next()) {
      if (r.num == 1) r.pair(this.fields);
      else if (r.num == 2) this.path = r.text();
      else if (r.num == 3) this.ip = r.text();
      else if (r.num == 4) this.userAgent = r.text();
      else if (r.num == 5) this.locale = r.text();
      else if (r.num == 6) this.now = r.int();
      else if (r.num == 7) r.pair(this.headers);
    }
    return !r.broken;
  }
}

/** What a provider asserts about a person. Issuer and subject name the person at this
 * provider and never change. */
export class Identity {
  issuer: string = "";
  email: string = "";
  emailVerified: bool = false;
  name: string = "";
  avatarURL: string = "";
  groups: string[] = [];
  /** RFC 8176. */
  amr: string[] = [];
  acr: string = "";
  attributes: Map<string, string> = new Map<string, string>();

  constructor(public subject: string) {}

  encode(): Writer {
    const w = new Writer();
    w.text(1, this.issuer);
    w.text(2, this.subject);
    w.text(3, this.email);
    w.uint(4, this.emailVerified ? 1 : 0);
    w.text(5, this.name);
    w.text(6, this.avatarURL);
    w.texts(7, this.groups);
    w.texts(8, this.amr);
    w.text(9, this.acr);
    w.pairs(10, this.attributes);
    return w;
  }
}

/** A mail; the gateway mints its link and has its words. The template is "verify", "reset",
 * "magic_link" or "account_exists". */
export class Mail {
  vars: Map<string, string> = new Map<string, string>();
  /** Whom the mail is about. */
  identity: Identity | null = null;

  constructor(
    public template: string,
    public to: string,
  ) {}
}

/** What is wrong with one field. */
export class FieldError {
  constructor(
    public field: string,
    public code: string,
    public message: string,
  ) {}
}

/** A provider's answer. Make it with one of the static functions. */
export class Step {
  /** At most 16 KiB that the gateway keeps, encrypted, for the next step. */
  save: Uint8Array = new Uint8Array(0);

  /** num is the field of the message Step, or 0 for an error. */
  private constructor(
    private num: u32,
    private body: Writer,
  ) {}

  /** Sends the browser to another site. */
  static redirect(url: string): Step {
    const w = new Writer();
    w.text(1, url);
    return new Step(2, w);
  }

  /** Sends the browser to another site with a form that submits itself. */
  static post(url: string, fields: Map<string, string>): Step {
    const w = new Writer();
    w.text(1, url);
    w.pairs(2, fields);
    return new Step(3, w);
  }

  /** Asks for more fields. */
  static prompt(fields: Field[]): Step {
    const w = new Writer();
    putFields(w, 1, fields);
    return new Step(4, w);
  }

  /** Sends a mail. */
  static mail(mail: Mail): Step {
    const w = new Writer();
    w.text(1, mail.template);
    w.text(2, mail.to);
    w.pairs(3, mail.vars);
    const identity = mail.identity;
    if (identity != null) w.message(4, identity.encode());
    return new Step(5, w);
  }

  /** Says who the person is. It ends the flow. */
  static done(identity: Identity): Step {
    const w = new Writer();
    w.message(1, identity.encode());
    return new Step(6, w);
  }

  /** Says that the credentials of a subject changed; the gateway ends the sessions. */
  static changed(subject: string): Step {
    const w = new Writer();
    w.text(1, subject);
    return new Step(7, w);
  }

  /** Says no. Nothing that was written in the call is kept. */
  static denied(code: string, fields: FieldError[] = []): Step {
    const w = new Writer();
    w.text(1, code);
    for (let i = 0; i < fields.length; i++) {
      const field = new Writer();
      field.text(1, fields[i].field);
      field.text(2, fields[i].code);
      field.text(3, fields[i].message);
      w.message(2, field);
    }
    return new Step(8, w);
  }

  /** The provider cannot tell. shown is for the person, logged for the log alone. */
  static error(code: string, shown: string, logged: string): Step {
    const w = new Writer();
    w.text(1, code);
    w.text(2, shown);
    w.text(3, logged);
    return new Step(0, w);
  }

  /** The error for a function of the host whose error is not 0. */
  static hostError(error: i32): Step {
    return Step.error(Code.INTERNAL, "", "the host answered " + error.toString());
  }

  /** The message CallReply. */
  reply(flow: string): Writer {
    const w = new Writer();
    w.text(1, flow);
    if (this.num == 0) {
      w.message(3, this.body);
      return w;
    }
    const step = new Writer();
    step.bytes(1, this.save);
    step.message(this.num, this.body);
    w.message(2, step);
    return w;
  }
}

/** A plain document. */
export class Document {
  constructor(
    public status: u32,
    public contentType: string,
    public body: Uint8Array,
  ) {}
}
