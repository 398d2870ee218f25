import { MAX_REPEATED } from "./wire";

const MAX_DEPTH: i32 = 32;

/** The kinds of a JSON value. */
export enum JSONKind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

/** A JSON value. Settings and claims are such. */
export class JSON {
  truth: bool = false;
  /** Of a string; of a number as it is written. */
  text: string = "";
  /** Of an array or an object. */
  items: JSON[] = [];
  /** Of the items of an object, in the same order. */
  names: string[] = [];

  constructor(public kind: JSONKind) {}

  /** The member of an object, or null. */
  member(name: string): JSON | null {
    const i = this.names.indexOf(name);
    return i < 0 ? null : this.items[i];
  }

  /** The text of a member that is a string, or "". */
  string(name: string): string {
    const m = this.member(name);
    return m != null && m.kind == JSONKind.String ? m.text : "";
  }

  /** Whether it is a whole number that an i64 holds. */
  isInteger(): bool {
    if (this.kind != JSONKind.Number) return false;
    const digits = this.text.startsWith("-") ? 1 : 0;
    for (let i = digits; i < this.text.length; i++) {
      if (!isDigit(this.text.charCodeAt(i))) return false;
    }
    const length = this.text.length - digits;
    const most = digits == 1 ? "9223372036854775808" : "9223372036854775807";
    return length < most.length || (length == most.length && this.text.substring(digits) <= most);
  }

  integer(): i64 {
    return this.isInteger() ? I64.parseInt(this.text) : 0;
  }
}

/** Reads JSON, RFC 8259. Null if it is none, has one name twice in an object or more than
 * 1024 of them, or is nested deeper than 32. */
export function parseJSON(text: string): JSON | null {
  const p = new Parser(text);
  const v = p.value(0);
  p.space();
  return p.failed || !p.ended() ? null : v;
}

function isDigit(c: i32): bool {
  return c >= 0x30 && c <= 0x39;
}

class Parser {
  failed: bool = false;
  private at: i32 = 0;

  constructor(private text: string) {}

  ended(): bool {
    return this.at == this.text.length;
  }

  space(): void {
    while (!this.ended()) {
      const c = this.peek();
      if (c != 0x20 && c != 0x09 && c != 0x0a && c != 0x0d) return;
      this.at++;
    }
  }

  value(depth: i32): JSON {
    this.space();
    if (depth > MAX_DEPTH) return this.fail();
    const c = this.peek();
    if (c == 0x7b) return this.object(depth);
    if (c == 0x5b) return this.array(depth);
    if (c == 0x22) {
      const v = new JSON(JSONKind.String);
      v.text = this.string();
      return v;
    }
    if (this.word("true") || this.word("false")) {
      const v = new JSON(JSONKind.Bool);
      v.truth = c == 0x74;
      return v;
    }
    if (this.word("null")) return new JSON(JSONKind.Null);
    return this.number();
  }

  /** The next unit, -1 at the end. */
  private peek(): i32 {
    return this.ended() ? -1 : this.text.charCodeAt(this.at);
  }

  private accept(c: i32): bool {
    if (this.peek() != c) return false;
    this.at++;
    return true;
  }

  private word(w: string): bool {
    if (!this.text.startsWith(w, this.at)) return false;
    this.at += w.length;
    return true;
  }

  private fail(): JSON {
    this.failed = true;
    return new JSON(JSONKind.Null);
  }

  private array(depth: i32): JSON {
    const v = new JSON(JSONKind.Array);
    this.at++;
    this.space();
    if (this.accept(0x5d)) return v;
    do {
      v.items.push(this.value(depth + 1));
      if (this.failed) return v;
      this.space();
    } while (this.accept(0x2c));
    return this.accept(0x5d) ? v : this.fail();
  }

  private object(depth: i32): JSON {
    const v = new JSON(JSONKind.Object);
    this.at++;
    this.space();
    if (this.accept(0x7d)) return v;
    do {
      this.space();
      const name = this.string();
      this.space();
      if (this.failed || v.names.includes(name) || v.names.length >= MAX_REPEATED || !this.accept(0x3a)) return this.fail();
      v.names.push(name);
      v.items.push(this.value(depth + 1));
      if (this.failed) return v;
      this.space();
    } while (this.accept(0x2c));
    return this.accept(0x7d) ? v : this.fail();
  }

  private digits(): bool {
    const from = this.at;
    while (isDigit(this.peek())) this.at++;
    return this.at > from;
  }

  private number(): JSON {
    const from = this.at;
    this.accept(0x2d);
    if (!this.accept(0x30) && !this.digits()) return this.fail();
    if (this.accept(0x2e) && !this.digits()) return this.fail();
    if (this.accept(0x65) || this.accept(0x45)) {
      if (!this.accept(0x2b)) this.accept(0x2d);
      if (!this.digits()) return this.fail();
    }
    const v = new JSON(JSONKind.Number);
    v.text = this.text.substring(from, this.at);
    return v;
  }

  private string(): string {
    if (!this.accept(0x22)) this.failed = true;
    const parts: string[] = [];
    let from = this.at;
    while (!this.failed) {
      const c = this.peek();
      if (c < 0x20) this.failed = true;
      else if (c == 0x22) break;
      else if (c != 0x5c) this.at++;
      else {
        parts.push(this.text.substring(from, this.at));
        parts.push(this.escaped());
        from = this.at;
      }
    }
    if (this.failed) return "";
    parts.push(this.text.substring(from, this.at));
    this.at++;
    return parts.join("");
  }

  private escaped(): string {
    this.at++;
    const c = this.peek();
    this.at++;
    if (c == 0x22 || c == 0x5c || c == 0x2f) return String.fromCharCode(c);
    if (c == 0x62) return "\b";
    if (c == 0x66) return "\f";
    if (c == 0x6e) return "\n";
    if (c == 0x72) return "\r";
    if (c == 0x74) return "\t";
    if (c == 0x75) return this.unit();
    this.failed = true;
    return "";
  }

  /** What stands behind \u. Half of a pair becomes U+FFFD, since it is no character. */
  private unit(): string {
    const c = this.fourDigits();
    if (c < 0xd800 || c > 0xdfff) return String.fromCharCode(c);
    const behind = this.at;
    if (c < 0xdc00 && this.word("\\u")) {
      const low = this.fourDigits();
      if (low >= 0xdc00 && low <= 0xdfff) return String.fromCharCode(c, low);
      this.at = behind;
    }
    return "\uFFFD";
  }

  private fourDigits(): i32 {
    let n: i32 = 0;
    for (let i = 0; i < 4; i++) {
      const c = this.peek();
      const lower = c | 0x20;
      if (isDigit(c)) n = (n << 4) | (c - 0x30);
      else if (c > 0 && lower >= 0x61 && lower <= 0x66) n = (n << 4) | (lower - 0x61 + 10);
      else this.failed = true;
      if (!this.failed) this.at++;
    }
    return n;
  }
}
