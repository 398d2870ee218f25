/* What the files of this folder share. Authors of providers do not need it. */
#ifndef SHIELD_INTERNAL_H
#define SHIELD_INTERNAL_H

#include "shield.h"

/* The import NAME of the module MODULE, and what the module exports. */
#ifdef __wasm__
#define SHIELD_EXPORT(name) __attribute__((export_name(name)))
#define SHIELD_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#else
#define SHIELD_EXPORT(name)
#define SHIELD_IMPORT(module, name)
#endif

/* Bounds of every message. */
enum { MAX_MESSAGE = 1 << 20, MAX_REPEATED = 1024 };

/* Reading. A reader that met something wrong is broken and stays so. */
struct reader {
	const uint8_t *at, *end;
	bool broken;
};

/* One field of a message as it stands in the input. */
struct field {
	uint32_t num;
	uint32_t type;
	uint64_t value;
	shield_text bytes; /* part of the input */
};

struct reader reader_of(shield_text message);
/* The next field; false at the end, and when the reader is broken. */
bool next_field(struct reader *r, struct field *f);

void take_text(struct reader *r, const struct field *f, shield_text *to);  /* UTF-8 */
void take_bytes(struct reader *r, const struct field *f, shield_text *to);
void take_int(struct reader *r, const struct field *f, int64_t *to);
void take_bool(struct reader *r, const struct field *f, bool *to);
/* Adds an entry of a map, or replaces the one of that name. */
void take_pair(struct reader *r, const struct field *f, shield_pairs *to);
/* Adds an element whose parts are the texts 1 and 2. */
void take_header(struct reader *r, const struct field *f, shield_pairs *to);
/* The bytes of an embedded message. */
shield_text embedded(struct reader *r, const struct field *f);

/* Writing, into memory of the call. */
struct writer {
	uint8_t *data;
	size_t len, cap;
};

void put_uint(struct writer *w, uint32_t num, uint64_t value);
void put_text(struct writer *w, uint32_t num, shield_text value);    /* nothing if empty */
void put_element(struct writer *w, uint32_t num, shield_text value); /* also an empty one */
void put_str(struct writer *w, uint32_t num, const char *value);     /* nothing if NULL or empty */
void put_message(struct writer *w, uint32_t num, const struct writer *message);
void put_pairs(struct writer *w, uint32_t num, shield_pairs pairs);
void put_texts(struct writer *w, uint32_t num, shield_texts texts);
shield_text written(const struct writer *w);

bool valid_utf8(shield_text text);

/* Memory: forget all that was taken, or keep it for as long as the module runs. */
void memory_forget(void);
void memory_keep(void);

/* The border: what every module imports. */
SHIELD_IMPORT("shield_io", "read") int32_t shield_io_read(void *to, uint32_t len);
SHIELD_IMPORT("shield_io", "write") int32_t shield_io_write(const void *from, uint32_t len);
/* What the gateway holds ready, which is len bytes. */
shield_text pull(int32_t len);
/* What the gateway calls. */
SHIELD_EXPORT("shield_abi") int32_t shield_abi(void);
SHIELD_EXPORT("shield_call") int32_t shield_call(int32_t method, int32_t len);

#endif
