/* Modules that attack while they are loaded: one for each ATTACK. */
#include <stdint.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

enum {
	TRAP_IN_DESCRIBE = 1,
	LOOP_IN_DESCRIBE,
	TRAP_IN_CONFIGURE,
	LOOP_AT_START,
	TRAP_AT_START,
	EXIT_AT_START,
	EXIT_IN_ABI,
	LOOP_IN_ABI,
	GARBAGE_MANIFEST,
	HUGE_MANIFEST,
	EMPTY_MANIFEST,
	ABI_OF_TOMORROW,
	ABI_OF_NEVER,
	ASKS_IN_DESCRIBE,
	UNKNOWN_IMPORT,
	OPENS_A_SOCKET,
	NOT_DECLARED,
};

IMPORT("shield_io", "write") int32_t io_write(const void *from, uint32_t len);
IMPORT("wasi_snapshot_preview1", "proc_exit") _Noreturn void wasi_proc_exit(int32_t code);
IMPORT("shield_kv", "get") int32_t kv_get(const void *from, uint32_t len);
IMPORT("shield_files", "read") int32_t files_read(const void *from, uint32_t len);
IMPORT("wasi_snapshot_preview1", "sock_accept") int32_t sock_accept(int32_t fd, int32_t flags, void *to);

static volatile uint32_t sink;

static void loop(void) {
	for (;;)
		sink++;
}

__attribute__((constructor)) static void start(void) {
	if (ATTACK == LOOP_AT_START)
		loop();
	if (ATTACK == TRAP_AT_START)
		__builtin_trap();
	if (ATTACK == EXIT_AT_START)
		wasi_proc_exit(0);
}

EXPORT("shield_abi") int32_t shield_abi(void) {
	if (ATTACK == EXIT_IN_ABI)
		wasi_proc_exit(0);
	if (ATTACK == LOOP_IN_ABI)
		loop();
	return ATTACK == ABI_OF_TOMORROW ? 3 : ATTACK == ABI_OF_NEVER ? 0 : 2;
}

static int32_t describe(void) {
	/* id "load", version "1.0.0", abi 2, kind "load" */
	static const uint8_t manifest[] = "\x0a\x04load\x12\x05""1.0.0\x18\x02\x22\x04load";
	static uint8_t garbage[1 << 16];
	switch (ATTACK) {
	case TRAP_IN_DESCRIBE:
		__builtin_trap();
		break;
	case LOOP_IN_DESCRIBE:
		loop();
		break;
	case GARBAGE_MANIFEST:
		for (uint32_t i = 0; i < sizeof garbage; i++)
			garbage[i] = 0xff;
		io_write(garbage, sizeof garbage);
		return 0;
	case HUGE_MANIFEST:
		for (uint32_t i = 0; i < 1 << 16; i++)
			io_write(garbage, sizeof garbage);
		return 0;
	case EMPTY_MANIFEST:
		return 0;
	case ASKS_IN_DESCRIBE:
	case NOT_DECLARED:
		sink += (uint32_t)kv_get("\x0a\x01k", 3);
		break;
	case UNKNOWN_IMPORT:
		sink += (uint32_t)files_read("", 0);
		break;
	case OPENS_A_SOCKET:
		sink += (uint32_t)sock_accept(3, 0, garbage);
		break;
	default:
		break;
	}
	io_write(manifest, sizeof manifest - 1);
	return 0;
}

EXPORT("shield_call") int32_t shield_call(int32_t method, int32_t len) {
	(void)len;
	if (method == 1)
		return describe();
	if (ATTACK == TRAP_IN_CONFIGURE)
		__builtin_trap();
	return 0;
}
