/* Protobuf as provider.proto uses it. Reading follows protobuf: unknown fields are skipped,
 * of a repeated single field the last counts. It is stricter where that costs no honest
 * sender anything: a known field of the wrong type is an error, groups are refused, and
 * sizes are bounded. */
#include <string.h>

#include "internal.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct reader reader_of(shield_text message) {
	const uint8_t *data = (const uint8_t *)message.data;
	struct reader r = {data, data, message.len > MAX_MESSAGE};
	if (message.len > 0)
		r.end = data + message.len;
	return r;
}

static bool break_off(struct reader *r) {
	r->broken = true;
	return false;
}

/* A number of at most 64 bits; the tenth byte holds the last bit alone. */
static bool varint(struct reader *r, uint64_t *to) {
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (r->at == r->end)
			return break_off(r);
		uint8_t b = *r->at++;
		if (shift == 63 && b > 1)
			return break_off(r);
		value |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*to = value;
			return true;
		}
	}
	return break_off(r);
}

static bool skip(struct reader *r, size_t len) {
	if ((size_t)(r->end - r->at) < len)
		return break_off(r);
	r->at += len;
	return true;
}

bool next_field(struct reader *r, struct field *f) {
	uint64_t tag, len;
	if (r->broken || r->at == r->end || !varint(r, &tag))
		return false;
	if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
		return break_off(r);
	memset(f, 0, sizeof *f);
	f->num = (uint32_t)(tag >> 3);
	f->type = tag & 7;
	switch (f->type) {
	case VARINT:
		return varint(r, &f->value);
	case BYTES:
		if (!varint(r, &len) || len > (uint64_t)(r->end - r->at))
			return break_off(r);
		f->bytes = shield_bytes(r->at, (size_t)len);
		return skip(r, (size_t)len);
	case FIXED64:
		return skip(r, 8);
	case FIXED32:
		return skip(r, 4);
	}
	return break_off(r);
}

static bool is(struct reader *r, const struct field *f, uint32_t type) {
	return f->type == type || break_off(r);
}

void take_bytes(struct reader *r, const struct field *f, shield_text *to) {
	if (is(r, f, BYTES))
		*to = f->bytes;
}

void take_text(struct reader *r, const struct field *f, shield_text *to) {
	if (!valid_utf8(f->bytes))
		r->broken = true;
	take_bytes(r, f, to);
}

void take_int(struct reader *r, const struct field *f, int64_t *to) {
	if (is(r, f, VARINT))
		*to = (int64_t)f->value;
}

void take_bool(struct reader *r, const struct field *f, bool *to) {
	if (is(r, f, VARINT))
		*to = f->value != 0;
}

shield_text embedded(struct reader *r, const struct field *f) {
	return is(r, f, BYTES) ? f->bytes : SHIELD_TEXT("");
}

static shield_pair two_texts(struct reader *r, shield_text message) {
	shield_pair pair = {SHIELD_TEXT(""), SHIELD_TEXT("")};
	struct reader in = reader_of(message);
	struct field f;
	while (next_field(&in, &f)) {
		if (f.num == 1)
			take_text(&in, &f, &pair.name);
		if (f.num == 2)
			take_text(&in, &f, &pair.value);
	}
	r->broken |= in.broken;
	return pair;
}

/* The list has room for a power of two of pairs, so it is full when it has so many. */
static void add_pair(struct reader *r, shield_pairs *to, shield_pair pair) {
	size_t count = to->count;
	if (count >= MAX_REPEATED) {
		r->broken = true;
		return;
	}
	if ((count & (count - 1)) == 0) {
		shield_pair *grown = shield_alloc((count == 0 ? 1 : 2 * count) * sizeof *grown);
		if (count > 0)
			memcpy(grown, to->items, count * sizeof *grown);
		to->items = grown;
	}
	((shield_pair *)to->items)[to->count++] = pair;
}

void take_header(struct reader *r, const struct field *f, shield_pairs *to) {
	shield_pair pair = two_texts(r, embedded(r, f));
	if (!r->broken)
		add_pair(r, to, pair);
}

void take_pair(struct reader *r, const struct field *f, shield_pairs *to) {
	shield_pair pair = two_texts(r, embedded(r, f));
	if (r->broken)
		return;
	for (size_t i = 0; i < to->count; i++) {
		shield_text name = to->items[i].name;
		if (name.len == pair.name.len && (name.len == 0 || memcmp(name.data, pair.name.data, name.len) == 0)) {
			((shield_pair *)to->items)[i].value = pair.value;
			return;
		}
	}
	add_pair(r, to, pair);
}

static void append(struct writer *w, const void *data, size_t len) {
	if (w->cap - w->len < len) {
		size_t cap = 2 * (w->len + len) + 64;
		uint8_t *grown = shield_alloc(cap);
		if (w->len > 0)
			memcpy(grown, w->data, w->len);
		w->data = grown;
		w->cap = cap;
	}
	if (len > 0)
		memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void number(struct writer *w, uint64_t value) {
	uint8_t b[10];
	size_t n = 0;
	while (value >= 0x80) {
		b[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	b[n++] = (uint8_t)value;
	append(w, b, n);
}

void put_uint(struct writer *w, uint32_t num, uint64_t value) {
	if (value == 0)
		return;
	number(w, (uint64_t)num << 3 | VARINT);
	number(w, value);
}

void put_element(struct writer *w, uint32_t num, shield_text value) {
	number(w, (uint64_t)num << 3 | BYTES);
	number(w, value.len);
	append(w, value.data, value.len);
}

void put_text(struct writer *w, uint32_t num, shield_text value) {
	if (value.len > 0)
		put_element(w, num, value);
}

void put_str(struct writer *w, uint32_t num, const char *value) { put_text(w, num, shield_str(value)); }

void put_message(struct writer *w, uint32_t num, const struct writer *message) {
	put_element(w, num, written(message));
}

void put_pairs(struct writer *w, uint32_t num, shield_pairs pairs) {
	for (size_t i = 0; i < pairs.count; i++) {
		struct writer entry = {0};
		put_text(&entry, 1, pairs.items[i].name);
		put_text(&entry, 2, pairs.items[i].value);
		put_message(w, num, &entry);
	}
}

void put_texts(struct writer *w, uint32_t num, shield_texts texts) {
	for (size_t i = 0; i < texts.count; i++)
		put_element(w, num, texts.items[i]);
}

shield_text written(const struct writer *w) { return shield_bytes(w->data, w->len); }

/* RFC 3629 §4. */
bool valid_utf8(shield_text text) {
	const uint8_t *s = (const uint8_t *)text.data;
	for (size_t i = 0; i < text.len;) {
		uint8_t b = s[i++];
		if (b < 0x80)
			continue;
		unsigned more = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
		if (b < 0xc2 || b > 0xf4 || text.len - i < more)
			return false;
		uint8_t low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
		uint8_t high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
		if (s[i] < low || s[i] > high)
			return false;
		for (unsigned k = 1; k < more; k++)
			if ((s[i + k] & 0xc0) != 0x80)
				return false;
		i += more;
	}
	return true;
}
