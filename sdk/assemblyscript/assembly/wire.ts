// Protobuf as provider.proto uses it. Reading follows protobuf: unknown fields are skipped,
// of a repeated single field the last counts. It is stricter where that costs no honest
// sender anything: a known field of the wrong type is an error, groups are refused, and
// sizes are bounded. Nothing here traps, whatever the bytes are.

/** Most bytes of a message. */
export const MAX_MESSAGE: i32 = 1 << 20;
/** Most elements of a repeated field. */
export const MAX_REPEATED: i32 = 1024;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/** Reads one message. A reader that met something wrong is broken and stays so. */
export class Reader {
  /** The field that next() found. */
  num: u32 = 0;
  broken: bool = false;
  private kind: u32 = 0;
  private value: u64 = 0;
  private start: i32 = 0;
  private size: i32 = 0;

  /** Reads data from at to end. */
  constructor(private data: Uint8Array, private at: i32, private end: i32) {
    if (end - at > MAX_MESSAGE) this.broken = true;
  }

  static of(data: Uint8Array): Reader {
    return new Reader(data, 0, data.length);
  }

  /** Takes the next field; false at the end, and when the reader is broken. */
  next(): bool {
    if (this.broken || this.at == this.end) return false;
    const tag = this.varint();
    if (this.broken) return false;
    if (tag >> 3 == 0 || tag >> 3 > (1 << 29) - 1) return this.fail();
    this.num = <u32>(tag >> 3);
    this.kind = <u32>(tag & 7);
    this.value = 0;
    this.start = this.at;
    this.size = 0;
    if (this.kind == VARINT) {
      this.value = this.varint();
      return !this.broken;
    }
    if (this.kind == FIXED64) return this.skip(8);
    if (this.kind == FIXED32) return this.skip(4);
    if (this.kind != BYTES) return this.fail();
    const size = this.varint();
    if (this.broken || size > <u64>(this.end - this.at)) return this.fail();
    this.start = this.at;
    this.size = <i32>size;
    return this.skip(this.size);
  }

  text(): string {
    if (this.kind != BYTES || !validUTF8(this.pointer(), this.size)) {
      this.broken = true;
      return "";
    }
    return String.UTF8.decodeUnsafe(this.pointer(), this.size);
  }

  bytes(): Uint8Array {
    if (this.kind != BYTES) {
      this.broken = true;
      return new Uint8Array(0);
    }
    return this.data.slice(this.start, this.start + this.size);
  }

  int(): i64 {
    if (this.kind != VARINT) this.broken = true;
    return <i64>this.value;
  }

  bool(): bool {
    return this.int() != 0;
  }

  /** A reader of an embedded message. */
  message(): Reader {
    if (this.kind != BYTES) this.broken = true;
    return new Reader(this.data, this.start, this.start + this.size);
  }

  /** Adds an entry of a map, or replaces the one of that name. */
  pair(to: Map<string, string>): void {
    const entry = this.message();
    let name = "";
    let value = "";
    while (entry.next()) {
      if (entry.num == 1) name = entry.text();
      else if (entry.num == 2) value = entry.text();
    }
    if (entry.broken || (!to.has(name) && to.size >= MAX_REPEATED)) this.broken = true;
    if (!this.broken) to.set(name, value);
  }

  private pointer(): usize {
    return this.data.dataStart + <usize>this.start;
  }

  private fail(): bool {
    this.broken = true;
    return false;
  }

  private skip(size: i32): bool {
    if (this.end - this.at < size) return this.fail();
    this.at += size;
    return true;
  }

  /** A number of at most 64 bits; the tenth byte holds the last bit alone. */
  private varint(): u64 {
    let value: u64 = 0;
    for (let shift: u64 = 0; shift < 70; shift += 7) {
      if (this.at == this.end) break;
      const b = unchecked(this.data[this.at++]);
      if (shift == 63 && b > 1) break;
      value |= (<u64>(b & 0x7f)) << shift;
      if (b < 0x80) return value;
    }
    this.broken = true;
    return 0;
  }
}

/** Writes one message. */
export class Writer {
  private data: Uint8Array = new Uint8Array(64);
  private size: i32 = 0;

  /** What was written. */
  get length(): i32 {
    return this.size;
  }

  get dataStart(): usize {
    return this.data.dataStart;
  }

  uint(num: u32, value: u64): void {
    if (value == 0) return;
    this.number((<u64>num << 3) | VARINT);
    this.number(value);
  }

  /** Nothing if it is empty. */
  text(num: u32, value: string): void {
    if (value.length > 0) this.element(num, value);
  }

  /** Also an empty one. Half of a surrogate pair becomes U+FFFD, since it is no character. */
  element(num: u32, value: string): void {
    this.blob(num, Uint8Array.wrap(String.UTF8.encode(value, false, String.UTF8.ErrorMode.REPLACE)));
  }

  /** Nothing if it is empty. */
  bytes(num: u32, value: Uint8Array): void {
    if (value.length > 0) this.blob(num, value);
  }

  message(num: u32, value: Writer): void {
    this.blob(num, value.data.subarray(0, value.size));
  }

  texts(num: u32, values: string[]): void {
    for (let i = 0; i < values.length; i++) this.element(num, values[i]);
  }

  pair(num: u32, name: string, value: string): void {
    const entry = new Writer();
    entry.text(1, name);
    entry.text(2, value);
    this.message(num, entry);
  }

  pairs(num: u32, map: Map<string, string>): void {
    const names = map.keys();
    const values = map.values();
    for (let i = 0; i < names.length; i++) this.pair(num, names[i], values[i]);
  }

  private blob(num: u32, value: Uint8Array): void {
    this.number((<u64>num << 3) | BYTES);
    this.number(value.length);
    this.grow(value.length);
    memory.copy(this.data.dataStart + <usize>this.size, value.dataStart, value.length);
    this.size += value.length;
  }

  private number(value: u64): void {
    this.grow(10);
    while (value >= 0x80) {
      unchecked((this.data[this.size++] = <u8>(value | 0x80)));
      value >>= 7;
    }
    unchecked((this.data[this.size++] = <u8>value));
  }

  private grow(more: i32): void {
    if (this.data.length - this.size >= more) return;
    const grown = new Uint8Array(2 * (this.size + more));
    memory.copy(grown.dataStart, this.data.dataStart, this.size);
    this.data = grown;
  }
}

/** RFC 3629 §4. */
export function validUTF8(at: usize, size: i32): bool {
  const end = at + <usize>size;
  while (at < end) {
    const b = load<u8>(at++);
    if (b < 0x80) continue;
    const more: usize = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
    if (b < 0xc2 || b > 0xf4 || end - at < more) return false;
    const low: u8 = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    const high: u8 = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    const first = load<u8>(at);
    if (first < low || first > high) return false;
    for (let k: usize = 1; k < more; k++) {
      if ((load<u8>(at + k) & 0xc0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}
