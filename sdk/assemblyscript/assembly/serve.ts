import { pull } from "./host";
import { Code, Document, Fault, Flow, Manifest, Request, Step } from "./types";
import { textOf } from "./bytes";
import { MAX_MESSAGE, Reader, Writer } from "./wire";

@external("shield_io", "write")
declare function ioWrite(at: usize, size: u32): i32;

const STATUS_OK: i32 = 0;
const STATUS_MALFORMED: i32 = 1;
const STATUS_UNKNOWN_METHOD: i32 = 2;

/** One way to prove who one is. The gateway makes one call at a time. It may run many copies
 * of a module, and may drop one after any call, so what must last goes through kv or the
 * save of a step. */
export abstract class Provider {
  /** Says what the provider is. It is called before configure and may not use the host. */
  abstract describe(): Manifest;

  /** Takes the provider's section of the configuration, a JSON object, and returns every
   * fault of it. With none the provider is ready. It may not use the host. */
  abstract configure(settings: string): Fault[];

  /** Starts a flow. Null is an internal error. */
  abstract begin(flow: Flow, request: Request): Step | null;

  /** Goes on with a flow after the person came back: from a mailed link, from another site,
   * or with the fields of a prompt. */
  abstract resume(flow: Flow, request: Request): Step | null;

  /** Answers with a plain document. Leave it out if there is none. */
  document(request: Request): Document | null {
    return null;
  }
}

/** Answers one call of the gateway. A provider's module exports it:
 *
 *     const provider = new MyProvider();
 *     export function shield_abi(): i32 { return ABI; }
 *     export function shield_call(method: i32, size: i32): i32 { return answer(provider, method, size); }
 */
export function answer(provider: Provider, method: i32, size: i32): i32 {
  if (size < 0 || size > MAX_MESSAGE) return STATUS_MALFORMED;
  const r = Reader.of(pull(size));
  if (method == 1) return handOver(provider.describe().encode());
  if (method == 2) return configure(provider, r);
  if (method == 3 || method == 4) return call(provider, method == 3, r);
  if (method == 5) return serve(provider, r);
  return STATUS_UNKNOWN_METHOD;
}

function handOver(w: Writer): i32 {
  if (w.length > 0) ioWrite(w.dataStart, w.length);
  return STATUS_OK;
}

/** Settings that are no UTF-8 are no JSON either: the provider gets an empty text, which is
 * no JSON object, and says so. */
function configure(provider: Provider, r: Reader): i32 {
  let settings = new Uint8Array(0);
  while (r.next()) {
    if (r.num == 1) settings = r.bytes();
  }
  if (r.broken) return STATUS_MALFORMED;
  const faults = provider.configure(textOf(settings));
  const w = new Writer();
  for (let i = 0; i < faults.length; i++) w.pair(1, faults[i].path, faults[i].message);
  return handOver(w);
}

function call(provider: Provider, begins: bool, r: Reader): i32 {
  const flow = new Flow();
  const request = new Request();
  while (r.next()) {
    if (r.num == 1 && !flow.decode(r.message())) r.broken = true;
    if (r.num == 2 && !request.decode(r.message())) r.broken = true;
  }
  if (r.broken) return STATUS_MALFORMED;
  const step = begins ? provider.begin(flow, request) : provider.resume(flow, request);
  if (step == null) return handOver(Step.error(Code.INTERNAL, "", "the provider answers nothing").reply(flow.id));
  const reply = step.reply(flow.id);
  if (reply.length > MAX_MESSAGE) {
    return handOver(Step.error(Code.INTERNAL, "", "the provider's answer is too large").reply(flow.id));
  }
  return handOver(reply);
}

function serve(provider: Provider, r: Reader): i32 {
  const request = new Request();
  while (r.next()) {
    if (r.num == 1 && !request.decode(r.message())) r.broken = true;
  }
  if (r.broken) return STATUS_MALFORMED;
  const document = provider.document(request);
  if (document == null) return STATUS_UNKNOWN_METHOD;
  const response = new Writer();
  response.uint(1, document.status);
  response.text(2, document.contentType);
  response.bytes(3, document.body);
  const w = new Writer();
  w.message(1, response);
  return handOver(w);
}
