/* JSON, RFC 8259, as settings and claims are. */
#include <string.h>

#include "internal.h"

enum { MAX_DEPTH = 32 };

struct input {
	const char *at, *end;
};

static shield_json *value(struct input *in, int depth);

static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip_space(struct input *in) {
	while (in->at < in->end && space(*in->at))
		in->at++;
}

/* Whether c is what comes next, which is then taken. */
static bool accept(struct input *in, char c) {
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

static bool word(struct input *in, const char *w) {
	size_t len = strlen(w);
	if ((size_t)(in->end - in->at) < len || memcmp(in->at, w, len) != 0)
		return false;
	in->at += len;
	return true;
}

static bool digit(const struct input *in) { return in->at < in->end && *in->at >= '0' && *in->at <= '9'; }

static bool digits(struct input *in) {
	if (!digit(in))
		return false;
	while (digit(in))
		in->at++;
	return true;
}

static bool numeral(struct input *in, shield_text *to) {
	const char *from = in->at;
	accept(in, '-');
	if (!accept(in, '0') && !digits(in))
		return false;
	if (accept(in, '.') && !digits(in))
		return false;
	if (accept(in, 'e') || accept(in, 'E')) {
		if (!accept(in, '+'))
			accept(in, '-');
		if (!digits(in))
			return false;
	}
	*to = shield_bytes(from, (size_t)(in->at - from));
	return true;
}

/* The value of a hexadecimal digit, -1 if c is none. */
static int hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool four_digits(struct input *in, uint32_t *to) {
	*to = 0;
	for (int i = 0; i < 4; i++) {
		int d = in->at == in->end ? -1 : hex_digit(*in->at++);
		if (d < 0)
			return false;
		*to = *to << 4 | (uint32_t)d;
	}
	return true;
}

static char *encode(char *to, uint32_t c) {
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 63));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 63));
		*to++ = (char)(0x80 | (c >> 6 & 63));
	}
	*to++ = (char)(0x80 | (c & 63));
	return to;
}

/* What stands behind \u. Half of a pair becomes U+FFFD, since it is no character. */
static bool escaped_unit(struct input *in, char **to) {
	uint32_t c, low;
	if (!four_digits(in, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		struct input ahead = *in;
		if (word(&ahead, "\\u") && four_digits(&ahead, &low) && low >= 0xdc00 && low < 0xe000) {
			*in = ahead;
			*to = encode(*to, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return true;
		}
	}
	*to = encode(*to, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return true;
}

static bool escaped(struct input *in, char **to) {
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	if (in->at == in->end)
		return false;
	char c = *in->at++;
	if (c == 'u')
		return escaped_unit(in, to);
	const char *found = c == 0 ? NULL : strchr(from, c);
	if (found == NULL)
		return false;
	*(*to)++ = into[found - from];
	return true;
}

static bool string(struct input *in, shield_text *text) {
	if (!accept(in, '"'))
		return false;
	const char *close = in->at;
	while (close < in->end && *close != '"')
		close += *close == '\\' && in->end - close > 1 ? 2 : 1;
	/* No escape is shorter than what it stands for, but half of a pair: six for three. */
	char *start = shield_alloc((size_t)(close - in->at)), *to = start;
	while (in->at < in->end && *in->at != '"') {
		unsigned char c = (unsigned char)*in->at++;
		if (c < 0x20)
			return false;
		if (c != '\\')
			*to++ = (char)c;
		else if (!escaped(in, &to))
			return false;
	}
	*text = shield_bytes(start, (size_t)(to - start));
	return accept(in, '"');
}

static bool equal(shield_text a, shield_text b) {
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool has(const shield_json *first, shield_text name) {
	for (; first != NULL; first = first->next)
		if (equal(first->name, name))
			return true;
	return false;
}

/* Reads what an array or, if named, an object holds, behind the bracket that opens it. */
static bool contents(struct input *in, shield_json *v, bool named, char close, int depth) {
	const shield_json **last = &v->first;
	int count = 0;
	skip_space(in);
	if (accept(in, close))
		return true;
	do {
		shield_text name = {"", 0};
		skip_space(in);
		if (named) {
			if (!string(in, &name) || ++count > MAX_REPEATED || has(v->first, name))
				return false;
			skip_space(in);
			if (!accept(in, ':'))
				return false;
		}
		shield_json *inner = value(in, depth + 1);
		if (inner == NULL)
			return false;
		inner->name = name;
		*last = inner;
		last = &inner->next;
		skip_space(in);
	} while (accept(in, ','));
	return accept(in, close);
}

static bool fill(struct input *in, shield_json *v, int depth) {
	if (accept(in, '{')) {
		v->kind = SHIELD_JSON_OBJECT;
		return contents(in, v, true, '}', depth);
	}
	if (accept(in, '[')) {
		v->kind = SHIELD_JSON_ARRAY;
		return contents(in, v, false, ']', depth);
	}
	if (in->at < in->end && *in->at == '"') {
		v->kind = SHIELD_JSON_STRING;
		return string(in, &v->text);
	}
	v->truth = word(in, "true");
	if (v->truth || word(in, "false")) {
		v->kind = SHIELD_JSON_BOOL;
		return true;
	}
	if (word(in, "null"))
		return true;
	v->kind = SHIELD_JSON_NUMBER;
	return numeral(in, &v->text);
}

static shield_json *value(struct input *in, int depth) {
	if (depth > MAX_DEPTH)
		return NULL;
	shield_json *v = shield_alloc(sizeof *v);
	skip_space(in);
	return fill(in, v, depth) ? v : NULL;
}

const shield_json *shield_json_parse(shield_text text) {
	if (text.len == 0 || !valid_utf8(text))
		return NULL;
	struct input in = {text.data, text.data + text.len};
	const shield_json *v = value(&in, 0);
	skip_space(&in);
	return in.at == in.end ? v : NULL;
}

const shield_json *shield_json_member(const shield_json *object, const char *name) {
	if (object == NULL || object->kind != SHIELD_JSON_OBJECT)
		return NULL;
	for (const shield_json *m = object->first; m != NULL; m = m->next)
		if (shield_is(m->name, name))
			return m;
	return NULL;
}

shield_text shield_json_text(const shield_json *value) {
	return value != NULL && value->kind == SHIELD_JSON_STRING ? value->text : SHIELD_TEXT("");
}

bool shield_json_integer(const shield_json *value, int64_t *number) {
	if (value == NULL || value->kind != SHIELD_JSON_NUMBER)
		return false;
	bool negative = value->text.data[0] == '-';
	uint64_t n = 0, most = (uint64_t)INT64_MAX + negative;
	for (size_t i = negative; i < value->text.len; i++) {
		char c = value->text.data[i];
		if (c < '0' || c > '9')
			return false;
		uint64_t d = (uint64_t)(c - '0');
		if (n > (most - d) / 10)
			return false;
		n = 10 * n + d;
	}
	*number = negative ? (int64_t)(0 - n) : (int64_t)n;
	return true;
}
