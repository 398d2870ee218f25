// The mirror of mirror.c in AssemblyScript.
import * as shield from "../../assemblyscript/assembly";

const UNIT = String.fromCharCode(10);

function line(name: string, value: string): string {
  return name + "=" + value + UNIT;
}

function pairs(name: string, map: Map<string, string>): string {
  let said = "";
  const names = map.keys();
  for (let i = 0; i < names.length; i++) {
    said += name + ":" + line("", names[i]) + line("", map.get(names[i]));
  }
  return said;
}

function subject(text: string): shield.Step {
  return shield.Step.done(new shield.Identity(text));
}

function show(flow: shield.Flow, request: shield.Request): shield.Step {
  return subject(
    line("id", flow.id) +
      line("kind", flow.kind) +
      line("callback_url", flow.callbackURL) +
      line("state", flow.state) +
      line("nonce", flow.nonce) +
      line("pkce_verifier", flow.pkceVerifier) +
      line("pkce_challenge", flow.pkceChallenge) +
      line("subject", flow.subject) +
      line("saved", shield.hex(flow.saved)) +
      line("started_at", flow.startedAt.toString()) +
      pairs("field", request.fields) +
      line("path", request.path) +
      line("ip", request.ip) +
      line("user_agent", request.userAgent) +
      line("locale", request.locale) +
      line("now", request.now.toString()) +
      pairs("header", request.headers),
  );
}

function fields(): shield.Field[] {
  return [new shield.Field("email", "E-mail", "email", true), new shield.Field("", "", "")];
}

function identity(): shield.Identity {
  const m = new shield.Identity("s-1");
  m.issuer = "https://id.example";
  m.email = "a@example.test";
  m.emailVerified = true;
  m.name = "Ä";
  m.avatarURL = "https://x/y.png";
  m.groups = ["a", "", "b"];
  m.amr = ["pwd"];
  m.acr = "1";
  m.attributes.set("", "nameless");
  m.attributes.set("empty", "");
  m.attributes.set("k", "v");
  return m;
}

function dump(v: shield.JSON): string {
  let said = ["n", "", "#", '"', "[", "{"][v.kind];
  if (v.kind == shield.JSONKind.Bool) said += v.truth ? "t" : "f";
  if (v.kind == shield.JSONKind.Number) said += v.text;
  if (v.kind == shield.JSONKind.String) said += shield.hex(shield.bytesOf(v.text));
  for (let i = 0; i < v.items.length; i++) {
    if (v.kind == shield.JSONKind.Object) said += shield.hex(shield.bytesOf(v.names[i])) + ":";
    said += dump(v.items[i]);
  }
  return said + (v.kind >= shield.JSONKind.Array ? "] " : " ");
}

function json(text: string): shield.Step {
  const v = shield.parseJSON(text);
  if (v == null) return subject("invalid");
  return subject(dump(v) + (v.isInteger() ? v.integer().toString() : ""));
}

function flag(value: bool): string {
  return value ? "true " : "false ";
}

function host(call: string): shield.Step {
  let error: i32 = shield.HostError.NOT_GRANTED;
  let said = "";
  if (call == "kv.get") {
    const e = shield.kv.get("addr/a@example.test");
    error = e.error;
    said = flag(e.found) + shield.hex(e.value) + " " + e.version.toString();
  } else if (call == "kv.set") {
    error = shield.kv.set("k", shield.bytesOf("v"), 60000000000);
  } else if (call == "kv.compare_and_set") {
    error = shield.kv.compareAndSet("k", -3, shield.bytesOf("v"), 60000000000);
  } else if (call == "kv.delete") {
    error = shield.kv.remove("addr/a@example.test");
  } else if (call == "password.hash") {
    const h = shield.passwords.hash("pässword");
    error = h.error;
    said = h.value;
  } else if (call == "password.verify") {
    const v = shield.passwords.verify("h", "p");
    error = v.error;
    said = flag(v.yes) + flag(v.stale);
  } else if (call == "password.common") {
    const v = shield.passwords.common("pässword");
    error = v.error;
    said = flag(v.yes);
  } else if (call == "log.write") {
    shield.log(shield.Level.DEBUG, "m", ["k", "", "v", "w"]);
    error = 0;
  } else if (call == "http.fetch") {
    const request = new shield.HTTPRequest("https://x/y");
    request.method = "POST";
    request.headers = [new shield.Header("Accept", "application/json"), new shield.Header("", "")];
    request.body = shield.bytesOf("b");
    const r = shield.http.fetch(request);
    error = r.error;
    said = r.status.toString() + line(" url", r.url) + line("body", shield.textOf(r.body));
    for (let i = 0; i < r.headers.length; i++) {
      said += "header:" + line("", r.headers[i].name) + line("", r.headers[i].value);
    }
  } else if (call == "secret.get") {
    const s = shield.secrets.get("client_secret");
    error = s.error;
    said = flag(s.found) + s.value;
  } else {
    return result(call);
  }
  return subject(error == 0 ? said : "error " + error.toString());
}

function result(call: string): shield.Step {
  let r: shield.Result;
  if (call == "jwt.verify") {
    const check = new shield.JWTCheck("t");
    check.issuer = "i";
    check.audience = "a";
    check.nonce = "n";
    check.algorithms = ["RS256", "ES256"];
    check.keys = "{}";
    check.keysURL = "https://x/k";
    check.accessToken = "at";
    check.maxAge = 3600000000000;
    r = shield.jwt.verify(check);
  } else {
    r = shield.secrets.mac("key", shield.bytesOf("m"));
  }
  if (r.error == shield.HostError.REFUSED) return subject(line("refused", r.refused));
  return subject(r.error == 0 ? shield.hex(r.value) : "error " + r.error.toString());
}

class Mirror extends shield.Provider {
  describe(): shield.Manifest {
    const m = new shield.Manifest();
    m.id = "mirror";
    m.version = "1.2.3";
    m.kind = "mirror";
    m.forms = [new shield.Form("login", "password", "Log in", fields()), new shield.Form("", "", "", [])];
    m.capabilities = ["kv", "password", "log", "http", "jwt", "secret"];
    m.configSchema = "{}";
    return m;
  }

  configure(settings: string): shield.Fault[] {
    return [new shield.Fault("a.b", settings), new shield.Fault("", "")];
  }

  begin(flow: shield.Flow, request: shield.Request): shield.Step | null {
    const form = flow.form;
    if (form == "json") return json(request.field("text"));
    if (form == "host") return host(request.field("call"));
    if (form == "redirect") {
      const step = shield.Step.redirect("https://x");
      step.save = shield.bytesOf("kept");
      return step;
    }
    if (form == "post") {
      const saml = new Map<string, string>();
      saml.set("SAMLRequest", "b64");
      return shield.Step.post("https://x", saml);
    }
    if (form == "prompt") return shield.Step.prompt(fields());
    if (form == "mail") {
      const mail = new shield.Mail("verify", "a@example.test");
      mail.vars.set("name", "A");
      mail.identity = identity();
      return shield.Step.mail(mail);
    }
    if (form == "done") return shield.Step.done(identity());
    if (form == "done_empty") return subject("");
    if (form == "changed") return shield.Step.changed("s-1");
    if (form == "denied") {
      return shield.Step.denied(shield.Code.WEAK_PASSWORD, [
        new shield.FieldError("password", "TOO_SHORT", "m"),
        new shield.FieldError("", "", ""),
      ]);
    }
    if (form == "error") return shield.Step.error("C", "p", "q");
    if (form == "nothing") return null;
    if (form == "large") return subject("x".repeat(2 << 20));
    return show(flow, request);
  }

  resume(flow: shield.Flow, request: shield.Request): shield.Step | null {
    return subject(shield.hex(flow.saved));
  }

  document(request: shield.Request): shield.Document | null {
    return new shield.Document(200, "text/xml", shield.bytesOf(request.path));
  }
}

const provider = new Mirror();

export function shield_abi(): i32 {
  return shield.ABI;
}

export function shield_call(method: i32, size: i32): i32 {
  return shield.answer(provider, method, size);
}
