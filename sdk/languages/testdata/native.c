/* Runs calls of a provider outside of WASM, under a sanitizer. Standard input is a list of
 * method, size and bytes of a request, size and bytes of every reply of the host, with
 * numbers of four bytes, little-endian. Each piece is read into memory of just its size, so
 * that one byte too far is noticed. It writes the status of each call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static uint8_t *pending, *reply;
static uint32_t pending_len, reply_len;

int32_t shield_io_read(void *to, uint32_t len) {
	uint32_t n = len < pending_len ? len : pending_len;
	if (n > 0)
		memcpy(to, pending, n);
	pending_len = 0;
	return (int32_t)n;
}

int32_t shield_io_write(const void *from, uint32_t len) {
	uint8_t *copy = malloc(len + 1);
	memcpy(copy, from, len); /* reads all of it */
	free(copy);
	return 0;
}

static int32_t answer(const void *request, uint32_t len) {
	shield_io_write(request, len);
	pending = reply;
	pending_len = reply_len;
	return (int32_t)reply_len;
}

#define IMPORT(name) \
	int32_t shield_##name##_import(const void *request, uint32_t len) { return answer(request, len); }
IMPORT(kv_get)
IMPORT(kv_set)
IMPORT(kv_compare_and_set)
IMPORT(kv_delete)
IMPORT(password_hash)
IMPORT(password_verify)
IMPORT(password_common)
IMPORT(log_write)
IMPORT(http_fetch)
IMPORT(jwt_verify)
IMPORT(secret_get)
IMPORT(secret_mac)

static bool number(uint32_t *to) {
	uint8_t b[4];
	if (fread(b, 1, 4, stdin) != 4)
		return false;
	*to = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
	return true;
}

static uint8_t *piece(uint32_t *len) {
	if (!number(len))
		exit(2);
	uint8_t *b = malloc(*len);
	if (fread(b, 1, *len, stdin) != *len)
		exit(2);
	return b;
}

int main(void) {
	uint32_t method, request_len;
	while (number(&method)) {
		uint8_t *request = piece(&request_len);
		reply = piece(&reply_len);
		pending = request;
		pending_len = request_len;
		printf("%d\n", shield_call((int32_t)method, (int32_t)request_len));
		free(request);
		free(reply);
	}
	return 0;
}
