#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Memory of a call comes from blocks that are freed together at its end. A request for more
 * than a block gets one of its own. */
struct block {
	struct block *below;
	size_t used, size;
	max_align_t data[];
};

enum { BLOCK = 16 << 10 };

static struct block *top;

static struct block *new_block(size_t size) {
	struct block *b = size > SIZE_MAX - sizeof *b ? NULL : malloc(sizeof *b + size);
	if (b == NULL)
		abort(); /* the gateway discards the module: nothing else is safe without memory */
	b->used = 0;
	b->size = size;
	return b;
}

void *shield_alloc(size_t size) {
	if (size > SIZE_MAX / 2)
		abort();
	size_t need = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (top == NULL || top->size - top->used < need) {
		struct block *b = new_block(need > BLOCK ? need : BLOCK);
		b->below = top;
		top = b;
	}
	void *p = (char *)top->data + top->used;
	top->used += need;
	return memset(p, 0, size);
}

void memory_forget(void) {
	while (top != NULL) {
		struct block *b = top;
		top = b->below;
		free(b);
	}
}

void memory_keep(void) { top = NULL; }

shield_text shield_bytes(const void *data, size_t len) { return (shield_text){data, len}; }

shield_text shield_str(const char *s) { return s == NULL ? (shield_text){"", 0} : (shield_text){s, strlen(s)}; }

bool shield_is(shield_text a, const char *b) {
	size_t len = strlen(b);
	return a.len == len && (len == 0 || memcmp(a.data, b, len) == 0);
}

bool shield_same(shield_text a, shield_text b) {
	if (a.len != b.len)
		return false;
	/* volatile: the compiler must not find a way to stop early. */
	volatile uint8_t differ = 0;
	for (size_t i = 0; i < a.len; i++)
		differ = (uint8_t)(differ | ((uint8_t)a.data[i] ^ (uint8_t)b.data[i]));
	return differ == 0;
}

shield_text shield_concat(const shield_text *parts, size_t count) {
	size_t len = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len > SIZE_MAX / 2 - len)
			abort();
		len += parts[i].len;
	}
	char *to = shield_alloc(len);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len > 0)
			memcpy(to + at, parts[i].data, parts[i].len);
		at += parts[i].len;
	}
	return (shield_text){to, len};
}

shield_text shield_decimal(int64_t number) {
	enum { DIGITS = 20 }; /* of the longest number, with its sign */
	char *to = shield_alloc(DIGITS);
	size_t at = DIGITS;
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		to[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (number < 0)
		to[--at] = '-';
	return (shield_text){to + at, DIGITS - at};
}

shield_text shield_hex(shield_text bytes) {
	if (bytes.len > SIZE_MAX / 4)
		abort();
	char *to = shield_alloc(2 * bytes.len);
	for (size_t i = 0; i < bytes.len; i++) {
		to[2 * i] = "0123456789abcdef"[(uint8_t)bytes.data[i] >> 4];
		to[2 * i + 1] = "0123456789abcdef"[(uint8_t)bytes.data[i] & 15];
	}
	return (shield_text){to, 2 * bytes.len};
}

shield_text shield_get(shield_pairs pairs, const char *name) {
	for (size_t i = 0; i < pairs.count; i++)
		if (shield_is(pairs.items[i].name, name))
			return pairs.items[i].value;
	return (shield_text){"", 0};
}
