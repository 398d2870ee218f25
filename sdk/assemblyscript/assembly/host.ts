// What a provider asks of the gateway. Each import is reached by one function alone, so that
// the compiler drops those that a provider does not call: the gateway refuses a module that
// imports more than it is granted.
import { MAX_REPEATED, Reader, Writer } from "./wire";

/** What the host's functions return in error. Each works only if the manifest asks for its
 * capability and the operator grants it. After FAILED the call fails as a whole, whatever
 * the provider answers: return Step.hostError(error). */
export namespace HostError {
  export const OK: i32 = 0;
  export const NOT_GRANTED: i32 = -1;
  /** The entry changed: return Step.hostError, and the gateway makes the call anew. */
  export const CONFLICT: i32 = -2;
  export const TOO_LARGE: i32 = -3;
  export const MALFORMED: i32 = -4;
  export const FAILED: i32 = -5;
  export const INVALID: i32 = -6;
  /** A destination that is not listed, a key that is not handed out. */
  export const NOT_ALLOWED: i32 = -7;
  /** The other server failed. */
  export const UNREACHABLE: i32 = -8;
  /** Too often in one call. */
  export const EXHAUSTED: i32 = -9;
  /** What was to be checked does not hold; see Result.refused. */
  export const REFUSED: i32 = -100;
}

@external("shield_io", "read")
declare function ioRead(at: usize, size: u32): i32;

@external("shield_kv", "get")
declare function kvGet(at: usize, size: u32): i32;

@external("shield_kv", "set")
declare function kvSet(at: usize, size: u32): i32;

@external("shield_kv", "compare_and_set")
declare function kvCompareAndSet(at: usize, size: u32): i32;

@external("shield_kv", "delete")
declare function kvDelete(at: usize, size: u32): i32;

@external("shield_password", "hash")
declare function passwordHash(at: usize, size: u32): i32;

@external("shield_password", "verify")
declare function passwordVerify(at: usize, size: u32): i32;

@external("shield_password", "common")
declare function passwordCommon(at: usize, size: u32): i32;

@external("shield_log", "write")
declare function logWrite(at: usize, size: u32): i32;

@external("shield_http", "fetch")
declare function httpFetch(at: usize, size: u32): i32;

@external("shield_jwt", "verify")
declare function jwtVerify(at: usize, size: u32): i32;

@external("shield_secret", "get")
declare function secretGet(at: usize, size: u32): i32;

@external("shield_secret", "mac")
declare function secretMAC(at: usize, size: u32): i32;

/** Takes what the gateway holds ready, which is size bytes. */
export function pull(size: i32): Uint8Array {
  if (size <= 0) return new Uint8Array(0);
  const b = new Uint8Array(size);
  const got = ioRead(b.dataStart, size);
  return got < 0 || got >= size ? (got < 0 ? new Uint8Array(0) : b) : b.slice(0, got);
}

/** What a function of the host says: error is 0 or one of HostError. */
export class Answer {
  error: i32 = HostError.OK;

  /** Whether there is a reply to read; n is what the import returned. */
  protected take(n: i32): Reader {
    if (n < 0) this.error = n;
    return Reader.of(pull(n));
  }

  protected end(r: Reader): void {
    if (r.broken) this.error = HostError.FAILED;
  }
}

/** An entry of the map. */
export class Entry extends Answer {
  found: bool = false;
  value: Uint8Array = new Uint8Array(0);
  /** Changes with each write, never 0 when found. */
  version: i64 = 0;

  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.found = r.bool();
      else if (r.num == 2) this.value = r.bytes();
      else if (r.num == 3) this.version = r.int();
    }
    if (r.broken) this.found = false;
    this.end(r);
  }
}

/** A text, such as a hash or a secret, and whether there is one. */
export class Text extends Answer {
  found: bool = false;
  value: string = "";
}

/** Yes or no. */
export class Verdict extends Answer {
  yes: bool = false;
  /** The hash should be made anew. */
  stale: bool = false;

  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.yes = r.bool();
      else if (r.num == 2) this.stale = r.bool();
    }
    if (r.broken) {
      this.yes = false;
      this.stale = false;
    }
    this.end(r);
  }
}

/** What a check or a signature comes to: a value, or with the error REFUSED why not, in one
 * word such as "signature" or "expired". */
export class Result extends Answer {
  value: Uint8Array = new Uint8Array(0);
  refused: string = "";

  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.value = r.bytes();
      else if (r.num == 2) {
        this.refused = r.text();
        this.error = HostError.REFUSED;
      }
    }
    this.end(r);
    if (this.error != HostError.OK) this.value = new Uint8Array(0);
  }
}

function key(name: string): Writer {
  const w = new Writer();
  w.text(1, name);
  return w;
}

function put(name: string, value: Uint8Array, ttl: i64, version: i64): Writer {
  const w = key(name);
  w.bytes(2, value);
  w.uint(3, ttl);
  w.uint(4, version);
  return w;
}

/** The error of a function that answers nothing else. */
function errorOf(n: i32): i32 {
  return n < 0 ? n : HostError.OK;
}

/** A map of the provider's own. Writes are staged: they commit with the answer of the call
 * or, after a denial or an error, not at all. A ttl is in nanoseconds, 0 for ever. */
export namespace kv {
  export function get(name: string): Entry {
    const w = key(name);
    return new Entry(kvGet(w.dataStart, w.length));
  }

  export function set(name: string, value: Uint8Array, ttl: i64): i32 {
    const w = put(name, value, ttl, 0);
    return errorOf(kvSet(w.dataStart, w.length));
  }

  /** Writes if the entry still has that version, 0 meaning that there is none. */
  export function compareAndSet(name: string, version: i64, value: Uint8Array, ttl: i64): i32 {
    const w = put(name, value, ttl, version);
    return errorOf(kvCompareAndSet(w.dataStart, w.length));
  }

  export function remove(name: string): i32 {
    const w = key(name);
    return errorOf(kvDelete(w.dataStart, w.length));
  }
}

/** argon2id in the host. */
export namespace passwords {
  export function hash(password: string): Text {
    const w = key(password);
    const answer = new TextOf(passwordHash(w.dataStart, w.length));
    answer.found = answer.error == HostError.OK;
    return answer;
  }

  /** An empty hash takes the time of a real check and is false. */
  export function verify(hash: string, password: string): Verdict {
    const w = key(hash);
    w.text(2, password);
    return new Verdict(passwordVerify(w.dataStart, w.length));
  }

  /** Whether it is one of the 100,000 most common. */
  export function common(password: string): Verdict {
    const w = key(password);
    return new Verdict(passwordCommon(w.dataStart, w.length));
  }
}

class TextOf extends Text {
  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.value = r.text();
    }
    this.end(r);
  }
}

class Secret extends Text {
  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.found = r.bool();
      else if (r.num == 2) this.value = r.text();
    }
    if (r.broken) this.found = false;
    this.end(r);
  }
}

/** The levels of the log. */
export namespace Level {
  export const DEBUG: i32 = -4;
  export const INFO: i32 = 0;
  export const WARN: i32 = 4;
  export const ERROR: i32 = 8;
}

/** Writes a record; args are pairs of name and value. One that the host does not take is
 * dropped; the call goes on. */
export function log(level: i32, message: string, args: string[] = []): void {
  const w = new Writer();
  w.uint(1, <u64>(<i64>level));
  w.text(2, message);
  w.texts(3, args);
  logWrite(w.dataStart, w.length);
}

/** One header field. */
export class Header {
  constructor(
    public name: string,
    public value: string,
  ) {}
}

/** A request to a server that the operator lists. */
export class HTTPRequest {
  /** GET if empty. */
  method: string = "";
  headers: Header[] = [];
  body: Uint8Array = new Uint8Array(0);

  constructor(public url: string) {}
}

/** What the server answered, of any status. */
export class HTTPResponse extends Answer {
  status: u32 = 0;
  headers: Header[] = [];
  body: Uint8Array = new Uint8Array(0);
  /** That answered, after redirects. */
  url: string = "";

  constructor(n: i32) {
    super();
    const r = this.take(n);
    while (r.next()) {
      if (r.num == 1) this.status = <u32>r.int();
      else if (r.num == 2) this.header(r);
      else if (r.num == 3) this.body = r.bytes();
      else if (r.num == 4) this.url = r.text();
    }
    this.end(r);
  }

  private header(r: Reader): void {
    const inner = r.message();
    const h = new Header("", "");
    while (inner.next()) {
      if (inner.num == 1) h.name = inner.text();
      else if (inner.num == 2) h.value = inner.text();
    }
    if (inner.broken || this.headers.length >= MAX_REPEATED) r.broken = true;
    else this.headers.push(h);
  }
}

export namespace http {
  export function fetch(request: HTTPRequest): HTTPResponse {
    const w = new Writer();
    w.text(1, request.method);
    w.text(2, request.url);
    for (let i = 0; i < request.headers.length; i++) {
      w.pair(3, request.headers[i].name, request.headers[i].value);
    }
    w.bytes(4, request.body);
    return new HTTPResponse(httpFetch(w.dataStart, w.length));
  }
}

/** An id_token with what it must say. Issuer, audience, nonce, algorithms and one of keys
 * and keysURL are needed. */
export class JWTCheck {
  issuer: string = "";
  audience: string = "";
  nonce: string = "";
  algorithms: string[] = [];
  /** A JWK Set. */
  keys: string = "";
  /** Where there is one. */
  keysURL: string = "";
  /** If set, at_hash must be its hash. */
  accessToken: string = "";
  /** Since auth_time, in nanoseconds; 0: any. */
  maxAge: i64 = 0;

  constructor(public token: string) {}
}

export namespace jwt {
  /** The value is the claims, a JSON object: see parseJSON. */
  export function verify(check: JWTCheck): Result {
    const w = new Writer();
    w.text(1, check.token);
    w.text(2, check.issuer);
    w.text(3, check.audience);
    w.text(4, check.nonce);
    w.texts(5, check.algorithms);
    w.text(6, check.keys);
    w.text(7, check.keysURL);
    w.text(8, check.accessToken);
    w.uint(9, check.maxAge);
    return new Result(jwtVerify(w.dataStart, w.length));
  }
}

/** The secrets of the provider's section of the configuration. */
export namespace secrets {
  /** Private keys are not handed out. */
  export function get(name: string): Text {
    const w = key(name);
    return new Secret(secretGet(w.dataStart, w.length));
  }

  /** HMAC-SHA-256 of the message under the secret, 32 bytes. */
  export function mac(name: string, message: Uint8Array): Result {
    const w = key(name);
    w.bytes(2, message);
    return new Result(secretMAC(w.dataStart, w.length));
  }
}
