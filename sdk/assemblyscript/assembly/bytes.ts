import { validUTF8 } from "./wire";

/** The text as UTF-8. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE));
}

/** UTF-8 as a text; "" if it is none. */
export function textOf(bytes: Uint8Array): string {
  if (!validUTF8(bytes.dataStart, bytes.length)) return "";
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

/** Lower-case hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  const digits = "0123456789abcdef";
  const parts = new Array<string>(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    parts[i] = digits.charAt(bytes[i] >> 4) + digits.charAt(bytes[i] & 15);
  }
  return parts.join("");
}

/** Compares in a time that depends on the lengths alone. For secrets and what is made of
 * them. */
export function same(a: string, b: string): bool {
  if (a.length != b.length) return false;
  let differ: i32 = 0;
  for (let i = 0; i < a.length; i++) differ |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return differ == 0;
}
