// A login with invitation codes: each of them works once and makes one person known. The
// settings hold no code, only its HMAC under the secret "pepper", which is the operator's
// alone; the gateway computes it.
import {
  ABI,
  answer,
  bytesOf,
  Code,
  Fault,
  Field,
  Flow,
  Form,
  hex,
  HostError,
  Identity,
  JSON,
  JSONKind,
  kv,
  Manifest,
  parseJSON,
  Provider,
  Request,
  same,
  secrets,
  Step,
} from "../../../sdk/assemblyscript/assembly";

const PEPPER = "pepper";

class Invitation {
  constructor(
    public subject: string,
    public name: string,
    public email: string,
    public mac: string,
  ) {}
}

function unknown(object: JSON, known: string[]): string {
  for (let i = 0; i < object.names.length; i++) {
    if (!known.includes(object.names[i])) return object.names[i];
  }
  return "";
}

function isMAC(s: string): bool {
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    if (!(c >= 0x30 && c <= 0x39) && !(c >= 0x61 && c <= 0x66)) return false;
  }
  return s.length == 64;
}

class Invitations extends Provider {
  private list: Invitation[] = [];

  describe(): Manifest {
    const m = new Manifest();
    m.id = "invitation";
    m.version = "1.0.0";
    m.kind = "invitation";
    m.forms = [new Form("login", "invitation", "I have an invitation", [new Field("code", "Code", "password", true)])];
    m.capabilities = ["kv", "secret"];
    m.configSchema =
      '{"type":"object","additionalProperties":false,"required":["invitations"],"properties":{"invitations":{"type":"array",' +
      '"items":{"type":"object","additionalProperties":false,"required":["subject","code_mac"],"properties":{' +
      '"subject":{"type":"string"},"name":{"type":"string"},"email":{"type":"string"},' +
      '"code_mac":{"type":"string","pattern":"^[0-9a-f]{64}$"}}}}}}';
    return m;
  }

  configure(settings: string): Fault[] {
    const all = parseJSON(settings);
    if (all == null || all.kind != JSONKind.Object) return [new Fault("", "is not a JSON object")];
    const stranger = unknown(all, ["invitations"]);
    if (stranger != "") return [new Fault(stranger, "is unknown; there is invitations")];
    const items = all.member("invitations");
    if (items == null || items.kind != JSONKind.Array) return [new Fault("invitations", "must be a list")];
    const faults: Fault[] = [];
    const list: Invitation[] = [];
    for (let i = 0; i < items.items.length; i++) {
      const wrong = this.add(list, items.items[i]);
      if (wrong != "") faults.push(new Fault("invitations[" + i.toString() + "]", wrong));
    }
    this.list = list;
    return faults;
  }

  /** Adds an invitation, or says what is wrong with it. */
  private add(list: Invitation[], v: JSON): string {
    if (v.kind != JSONKind.Object || unknown(v, ["subject", "name", "email", "code_mac"]) != "") {
      return "must be an object of subject, name, email and code_mac";
    }
    const next = new Invitation(v.string("subject"), v.string("name"), v.string("email"), v.string("code_mac"));
    if (next.subject == "" || !isMAC(next.mac)) return "needs a subject, and a code_mac of 64 hexadecimal digits";
    for (let i = 0; i < list.length; i++) {
      if (list[i].mac == next.mac || list[i].subject == next.subject) return "is for somebody who has one, or has a code that is there";
    }
    list.push(next);
    return "";
  }

  begin(flow: Flow, request: Request): Step | null {
    if (flow.kind != "login" || flow.form != "invitation") return Step.denied(Code.VALIDATION);
    const code = request.field("code");
    if (code == "") return Step.denied(Code.MISSING_FIELD);
    const mac = secrets.mac(PEPPER, bytesOf(code));
    if (mac.error == HostError.INVALID) return Step.error(Code.UNAVAILABLE, "", "the secret pepper is not in the configuration");
    if (mac.error != HostError.OK) return Step.hostError(mac.error);
    const found = this.find(hex(mac.value));
    // A code that was used is as good as one that never was.
    if (found == null) return Step.denied(Code.INVALID_CREDENTIALS);
    const used = kv.get("used/" + found.mac);
    if (used.error != HostError.OK) return Step.hostError(used.error);
    if (used.found) return Step.denied(Code.INVALID_CREDENTIALS);
    // Two at the same time read that it is not used; the comparison lets one of them through.
    const error = kv.compareAndSet("used/" + found.mac, 0, bytesOf(request.now.toString()), 0);
    if (error != HostError.OK) return Step.hostError(error);
    const identity = new Identity(found.subject);
    identity.name = found.name;
    identity.email = found.email;
    identity.emailVerified = found.email != ""; // the operator vouches for it; without, there is no user
    identity.amr = ["otp"];
    return Step.done(identity);
  }

  resume(flow: Flow, request: Request): Step | null {
    return Step.error(Code.INTERNAL, "", "this provider has one step");
  }

  /** Compares with all, so that the time does not tell which. */
  private find(mac: string): Invitation | null {
    let found: Invitation | null = null;
    for (let i = 0; i < this.list.length; i++) {
      if (same(this.list[i].mac, mac)) found = this.list[i];
    }
    return found;
  }
}

const provider = new Invitations();

export function shield_abi(): i32 {
  return ABI;
}

export function shield_call(method: i32, size: i32): i32 {
  return answer(provider, method, size);
}
