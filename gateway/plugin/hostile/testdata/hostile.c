/* A provider that attacks the gateway. Its login form "act" does what the field "act" says,
 * with the field "arg". It does not use the SDK, which would not let it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

/* All functions of the host. */
IMPORT("shield_io", "read") int32_t io_read(uint32_t at, uint32_t len);
IMPORT("shield_io", "write") int32_t io_write(uint32_t at, uint32_t len);
#define HOST(X) \
	X(kv, get) X(kv, set) X(kv, compare_and_set) X(kv, delete) \
	X(password, hash) X(password, verify) X(password, common) \
	X(log, write) X(http, fetch) X(jwt, verify) X(jwt, sign) \
	X(xmldsig, verify) X(xmldsig, sign) X(xmldsig, decrypt) X(xmldsig, sign_bytes) X(xmldsig, verify_bytes) \
	X(secret, get) X(secret, mac)
#define DECLARE(capability, name) \
	IMPORT("shield_" #capability, #name) int32_t capability##_##name(uint32_t at, uint32_t len);
HOST(DECLARE)
IMPORT("wasi_snapshot_preview1", "fd_write") int32_t wasi_fd_write(int32_t fd, uint32_t iovs, uint32_t count, uint32_t written);
IMPORT("wasi_snapshot_preview1", "proc_exit") _Noreturn void wasi_proc_exit(int32_t code);
IMPORT("wasi_snapshot_preview1", "random_get") int32_t wasi_random_get(uint32_t at, uint32_t len);
IMPORT("wasi_snapshot_preview1", "clock_time_get") int32_t wasi_clock_time_get(int32_t id, int64_t precision, uint32_t at);
IMPORT("wasi_snapshot_preview1", "poll_oneoff") int32_t wasi_poll_oneoff(uint32_t in, uint32_t out, uint32_t count, uint32_t written);

#define FAR 0xfffffff0u /* nearly the end of what 32 bits address */

static uint32_t address(const void *p) { return (uint32_t)(uintptr_t)p; }

/* Protobuf, as far as it is needed. The out buffer is the reply. */
static uint8_t out[4 << 20];
static uint32_t out_len;
static uint8_t in[1 << 20];

static void byte(uint8_t b) { out[out_len++ % sizeof out] = b; }

static void number(uint64_t v) {
	for (; v >= 0x80; v >>= 7)
		byte((uint8_t)(v | 0x80));
	byte((uint8_t)v);
}

static void bytes(uint32_t num, const void *data, uint32_t len) {
	number((uint64_t)num << 3 | 2);
	number(len);
	for (uint32_t i = 0; i < len; i++)
		byte(((const uint8_t *)data)[i]);
}

static void text(uint32_t num, const char *s) { bytes(num, s, (uint32_t)strlen(s)); }

/* A message within a message: begin remembers where it starts, end puts tag and length
 * before it. */
static uint32_t begin(void) { return out_len; }

static void end(uint32_t num, uint32_t start) {
	static uint8_t body[sizeof out];
	uint32_t len = out_len - start;
	memcpy(body, out + start, len);
	out_len = start;
	bytes(num, body, len);
}

static int32_t hand_over(void) {
	io_write(address(out), out_len);
	return 0;
}

/* The field of a message that begins at data, as a string that ends in a NUL. */
static const char *find(const uint8_t *data, uint32_t len, uint32_t num, uint32_t *found_len) {
	uint32_t at = 0;
	while (at < len) {
		uint64_t part[2];
		for (int i = 0; i < 2; i++) {
			part[i] = 0;
			for (int shift = 0; at < len; shift += 7) {
				uint8_t b = data[at++];
				part[i] |= (uint64_t)(b & 0x7f) << shift;
				if (b < 0x80)
					break;
			}
		}
		if ((part[0] & 7) == 0)
			continue;
		if (part[0] >> 3 == num) {
			*found_len = (uint32_t)part[1];
			return (const char *)data + at;
		}
		at += (uint32_t)part[1];
	}
	*found_len = 0;
	return "";
}

static char flow_id[256], act[256], arg[4096];

static void copy(char *to, uint32_t size, const char *from, uint32_t len) {
	len = len < size ? len : size - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

/* Reads the id of the flow and the fields act and arg of a CallRequest. */
static void understand(uint32_t len) {
	uint32_t flow_len, request_len, n;
	const char *flow = find(in, len, 1, &flow_len);
	const char *id = find((const uint8_t *)flow, flow_len, 1, &n);
	copy(flow_id, sizeof flow_id, id, n);
	act[0] = arg[0] = 0;
	const char *rest = find(in, len, 2, &request_len);
	const char *stop = rest + request_len;
	while (rest < stop) {
		uint32_t entry_len, value_len;
		const char *entry = find((const uint8_t *)rest, (uint32_t)(stop - rest), 1, &entry_len);
		if (entry_len == 0)
			return;
		const char *name = find((const uint8_t *)entry, entry_len, 1, &n);
		const char *value = find((const uint8_t *)entry, entry_len, 2, &value_len);
		if (n == 3 && memcmp(name, "act", 3) == 0)
			copy(act, sizeof act, value, value_len);
		if (n == 3 && memcmp(name, "arg", 3) == 0)
			copy(arg, sizeof arg, value, value_len);
		rest = entry + entry_len;
	}
}

static bool is(const char *what) { return strcmp(act, what) == 0; }

/* Makes the end of a reply of an identity that stands in the buffer. */
static void done_with(uint32_t identity) {
	end(1, identity); /* Done.identity */
	end(6, identity); /* Step.done */
	end(2, identity); /* CallReply.step */
}

static int32_t say(const char *subject) {
	out_len = 0;
	text(1, flow_id);
	uint32_t identity = begin();
	text(2, subject);
	done_with(identity);
	return hand_over();
}

static const char *decimal(int32_t n) {
	static char digits[12];
	uint32_t at = sizeof digits - 1, rest = n < 0 ? 0u - (uint32_t)n : (uint32_t)n;
	digits[at] = 0;
	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (n < 0)
		digits[--at] = '-';
	return digits + at;
}

/* A loop that the compiler must leave alone. */
static volatile uint32_t sink;

static _Noreturn void loop(void) {
	for (;;)
		sink++;
}

/* Recursion without any loop, which the compiler would else make of it. */
__attribute__((noinline, optnone)) static uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

__attribute__((noinline, optnone)) static uint32_t deep(uint32_t n) {
	uint32_t keep[64];
	keep[n % 64] = n;
	return n == UINT32_MAX ? 0 : deep(n + 1) + keep[n % 64];
}

static void hoard(void) {
	while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1) {
		uint8_t *page = (uint8_t *)((__builtin_wasm_memory_size(0) - 1) << 16);
		for (uint32_t i = 0; i < 1 << 16; i += 4096)
			page[i] = 1; /* or it would be no memory of the machine's */
	}
}

/* Gives every function of the host a pointer and a length that are not in memory. */
static void pointers(uint32_t at, uint32_t len) {
#define POINTER(capability, name) sink += (uint32_t)capability##_##name(at, len);
	HOST(POINTER)
	sink += (uint32_t)io_read(at, len);
	sink += (uint32_t)io_write(at, len);
	sink += (uint32_t)wasi_random_get(at, len);
	sink += (uint32_t)wasi_clock_time_get(0, 1, at);
	sink += (uint32_t)wasi_fd_write(2, at, len, at);
	sink += (uint32_t)wasi_poll_oneoff(at, at, len, at);
}

/* Gives every function of the host bytes that are no message. */
static void garbage(uint32_t len) {
	memset(out, 0xff, len);
#define GARBAGE(capability, name) sink += (uint32_t)capability##_##name(address(out), len);
	HOST(GARBAGE)
}

/* One GiB in pieces of 64 KiB. */
enum { PIECE = 64 << 10, PIECES = (1 << 30) / PIECE };

static void flood_log(void) {
	static uint8_t piece[PIECE];
	memset(piece, 'x', sizeof piece);
	out_len = 0;
	bytes(2, piece, PIECE - 16);
	for (uint32_t i = 0; i < PIECES; i++)
		sink += (uint32_t)log_write(address(out), out_len);
}

static void flood_stderr(void) {
	static uint8_t piece[PIECE];
	memset(piece, 'x', sizeof piece);
	const uint32_t iov[2] = {address(piece), PIECE};
	uint32_t written;
	for (uint32_t i = 0; i < PIECES; i++)
		sink += (uint32_t)wasi_fd_write(2, address(iov), 1, address(&written));
}

/* Reads the entry of kv with the key arg and tells what the host said and how much it got. */
static int32_t read_key(void) {
	out_len = 0;
	text(1, arg);
	int32_t n = kv_get(address(out), out_len);
	if (n <= 0)
		return say(decimal(n));
	uint32_t got = (uint32_t)io_read(address(in), sizeof in), value_len;
	const char *value = find(in, got, 2, &value_len);
	copy(arg, sizeof arg, value, value_len);
	return say(arg);
}

static int32_t write_key(void) {
	out_len = 0;
	text(1, arg);
	text(2, "hostile");
	return say(decimal(kv_set(address(out), out_len)));
}

/* Fetches the URL arg and tells the status, or what the host said. */
static int32_t fetch(void) {
	out_len = 0;
	text(2, arg);
	return say(decimal(http_fetch(address(out), out_len)));
}

/* Uses its host as often as it can. */
static void insist(void) {
	out_len = 0;
	text(1, "k");
	for (uint32_t i = 0; i < 1000000; i++)
		sink += (uint32_t)kv_get(address(out), out_len);
}

static void fill_kv(void) {
	for (int32_t i = 0; i < 100000; i++) {
		out_len = 0;
		text(1, decimal(i));
		bytes(2, in, 60000);
		sink += (uint32_t)kv_set(address(out), out_len);
	}
}

/* Answers that say more than they may. */
static int32_t identity(void) {
	out_len = 0;
	text(1, flow_id);
	uint32_t at = begin();
	if (is("other issuer"))
		text(1, arg);
	text(2, is("other subject") ? arg : is("long subject") ? (const char *)memset(in, 's', 1000) : "hostile");
	if (is("other email")) {
		text(3, arg);
		number(4 << 3);
		number(1);
	}
	if (is("reserved claim") || is("many attributes")) {
		for (int32_t i = 0; i < (is("many attributes") ? 2000 : 1); i++) {
			uint32_t entry = begin();
			text(1, is("many attributes") ? decimal(i) : arg);
			text(2, "owner");
			end(10, entry);
		}
	}
	done_with(at);
	if (is("truncated"))
		out_len -= 3;
	return hand_over();
}

static int32_t other_flow(void) {
	copy(flow_id, sizeof flow_id, arg, (uint32_t)strlen(arg));
	return say("hostile");
}

static int32_t undecodable(void) {
	memset(out, 0xff, 100);
	out_len = 100;
	return hand_over();
}

static int32_t million_fields(void) {
	for (uint32_t i = 0; i < 16; i++) {
		out_len = 0;
		for (uint32_t k = 0; k < 65536; k++)
			number(99 << 3), byte(1);
		io_write(address(out), out_len);
	}
	return 0;
}

/* A million fields that are known and fit into a message, as far as one goes. */
static int32_t million_elements(void) {
	out_len = 0;
	text(1, flow_id);
	uint32_t at = begin();
	text(2, "hostile");
	for (uint32_t i = 0; i < 500000; i++)
		text(7, "");
	done_with(at);
	return hand_over();
}

static int32_t large(void) {
	for (uint32_t i = 0; i < 4096; i++)
		io_write(address(out), sizeof out);
	return 0;
}

static void sleep_long(void) {
	/* A subscription of poll_oneoff: the clock, an hour. Again and again, since it may be woken. */
	static uint64_t subscription[6] = {0, 0, 1, 3600000000000ull, 0, 0};
	static uint64_t event[4];
	uint32_t written;
	for (uint32_t i = 0; i < 1000000; i++)
		sink += (uint32_t)wasi_poll_oneoff(address(subscription), address(event), 1, address(&written));
}

static int32_t acts(void) {
	if (is("echo"))
		return say(arg);
	if (is("loop"))
		loop();
	if (is("recursion"))
		sink = fib((uint32_t)atoi(arg));
	if (is("deep"))
		sink = deep(0);
	if (is("hoard"))
		hoard();
	if (is("trap"))
		__builtin_trap();
	if (is("exit"))
		wasi_proc_exit(atoi(arg));
	if (is("pointer"))
		pointers(FAR, 64);
	if (is("length"))
		pointers(16, 0xffffffffu);
	if (is("both"))
		pointers(FAR, 0xffffffffu);
	if (is("garbage"))
		garbage(64);
	if (is("large garbage"))
		garbage(sizeof out);
	if (is("flood log"))
		flood_log();
	if (is("flood stderr"))
		flood_stderr();
	if (is("sleep"))
		sleep_long();
	if (is("insist"))
		insist();
	if (is("fill kv"))
		fill_kv();
	if (is("read key"))
		return read_key();
	if (is("write key"))
		return write_key();
	if (is("fetch"))
		return fetch();
	if (is("other flow"))
		return other_flow();
	if (is("undecodable"))
		return undecodable();
	if (is("million fields"))
		return million_fields();
	if (is("million elements"))
		return million_elements();
	if (is("large"))
		return large();
	if (is("silent"))
		return 0;
	if (is("status"))
		return atoi(arg);
	if (is("hoard and loop")) {
		hoard();
		loop();
	}
	return identity();
}

static int32_t describe(void) {
	static const char *const capabilities[] = {"kv", "password", "log", "http", "jwt", "xmldsig", "secret"};
	out_len = 0;
	text(1, "hostile");
	text(2, "1.0.0");
	number(3 << 3);
	number(2);
	text(4, "hostile");
	uint32_t form = begin();
	text(1, "login");
	text(2, "act");
	static const char *const names[] = {"act", "arg"};
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t field = begin();
		text(1, names[i]);
		text(3, "text");
		end(4, field);
	}
	end(5, form);
	for (uint32_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
		text(6, capabilities[i]);
	return hand_over();
}

EXPORT("shield_abi") int32_t shield_abi(void) { return 2; }

EXPORT("shield_call") int32_t shield_call(int32_t method, int32_t len) {
	uint32_t got = len > 0 ? (uint32_t)io_read(address(in), sizeof in) : 0;
	switch (method) {
	case 1:
		return describe();
	case 2:
		return 0;
	case 3:
	case 4:
		understand(got);
		return acts();
	}
	return 2;
}
