/* What a provider asks of the gateway. Each import is reached by one function alone, so that
 * the linker drops those that a provider does not call: the gateway refuses a module that
 * imports more than it is granted. */
#include "internal.h"

#define ASK(capability, name) \
	SHIELD_IMPORT("shield_" #capability, #name) \
	int32_t shield_##capability##_##name##_import(const void *request, uint32_t len)

ASK(kv, get);
ASK(kv, set);
ASK(kv, compare_and_set);
ASK(kv, delete);
ASK(password, hash);
ASK(password, verify);
ASK(password, common);
ASK(log, write);
ASK(http, fetch);
ASK(jwt, verify);
ASK(secret, get);
ASK(secret, mac);

shield_text pull(int32_t len) {
	if (len <= 0)
		return SHIELD_TEXT("");
	char *to = shield_alloc((size_t)len);
	int32_t got = shield_io_read(to, (uint32_t)len);
	return shield_bytes(to, got > 0 && got <= len ? (size_t)got : 0);
}

/* Makes a request and leaves the reply in *reply. */
static int ask(int32_t (*import)(const void *, uint32_t), const struct writer *request, shield_text *reply) {
	int32_t n = import(request->data, (uint32_t)request->len);
	if (n < 0)
		return n;
	*reply = pull(n);
	return SHIELD_OK;
}

static int outcome(const struct reader *r) { return r->broken ? SHIELD_FAILED : SHIELD_OK; }

int shield_kv_get(shield_text key, shield_entry *entry) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	*entry = (shield_entry){false, SHIELD_TEXT(""), 0};
	put_text(&w, 1, key);
	int result = ask(shield_kv_get_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f)) {
		switch (f.num) {
		case 1: take_bool(&r, &f, &entry->found); break;
		case 2: take_bytes(&r, &f, &entry->value); break;
		case 3: take_int(&r, &f, &entry->version); break;
		}
	}
	return outcome(&r);
}

static struct writer a_put(shield_text key, shield_text value, int64_t ttl, int64_t version) {
	struct writer w = {0};
	put_text(&w, 1, key);
	put_text(&w, 2, value);
	put_uint(&w, 3, (uint64_t)ttl);
	put_uint(&w, 4, (uint64_t)version);
	return w;
}

int shield_kv_set(shield_text key, shield_text value, int64_t ttl) {
	struct writer w = a_put(key, value, ttl, 0);
	shield_text reply;
	return ask(shield_kv_set_import, &w, &reply);
}

int shield_kv_compare_and_set(shield_text key, int64_t version, shield_text value, int64_t ttl) {
	struct writer w = a_put(key, value, ttl, version);
	shield_text reply;
	return ask(shield_kv_compare_and_set_import, &w, &reply);
}

int shield_kv_delete(shield_text key) {
	struct writer w = {0};
	shield_text reply;
	put_text(&w, 1, key);
	return ask(shield_kv_delete_import, &w, &reply);
}

int shield_password_hash(shield_text password, shield_text *hash) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	*hash = SHIELD_TEXT("");
	put_text(&w, 1, password);
	int result = ask(shield_password_hash_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f))
		if (f.num == 1)
			take_text(&r, &f, hash);
	return outcome(&r);
}

int shield_password_verify(shield_text hash, shield_text password, bool *ok, bool *stale) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	*ok = *stale = false;
	put_text(&w, 1, hash);
	put_text(&w, 2, password);
	int result = ask(shield_password_verify_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f)) {
		if (f.num == 1)
			take_bool(&r, &f, ok);
		if (f.num == 2)
			take_bool(&r, &f, stale);
	}
	if (r.broken)
		*ok = false;
	return outcome(&r);
}

int shield_password_common(shield_text password, bool *common) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	*common = false;
	put_text(&w, 1, password);
	int result = ask(shield_password_common_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f))
		if (f.num == 1)
			take_bool(&r, &f, common);
	return outcome(&r);
}

/* A record that the host does not take is dropped; the call goes on. */
void shield_log(int level, shield_text message, shield_pairs args) {
	struct writer w = {0};
	shield_text reply;
	put_uint(&w, 1, (uint64_t)(int64_t)level);
	put_text(&w, 2, message);
	for (size_t i = 0; i < args.count; i++) {
		put_element(&w, 3, args.items[i].name);
		put_element(&w, 3, args.items[i].value);
	}
	ask(shield_log_write_import, &w, &reply);
}

#if SHIELD_ABI >= 2

int shield_http_fetch(const shield_http_request *request, shield_http_response *response) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	int64_t status = 0;
	*response = (shield_http_response){0};
	put_text(&w, 1, request->method);
	put_text(&w, 2, request->url);
	put_pairs(&w, 3, request->header);
	put_text(&w, 4, request->body);
	int result = ask(shield_http_fetch_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f)) {
		switch (f.num) {
		case 1: take_int(&r, &f, &status); break;
		case 2: take_header(&r, &f, &response->header); break;
		case 3: take_bytes(&r, &f, &response->body); break;
		case 4: take_text(&r, &f, &response->url); break;
		}
	}
	response->status = (uint32_t)status;
	return outcome(&r);
}

/* Reads a Result message. That it was refused counts, also without a reason. */
static int result_of(shield_text reply, shield_result *result) {
	struct field f;
	struct reader r = reader_of(reply);
	bool refused = false;
	while (next_field(&r, &f)) {
		if (f.num == 1)
			take_bytes(&r, &f, &result->value);
		if (f.num == 2) {
			take_text(&r, &f, &result->refused);
			refused = true;
		}
	}
	if (r.broken)
		return SHIELD_FAILED;
	if (!refused)
		return SHIELD_OK;
	result->value = SHIELD_TEXT("");
	return SHIELD_REFUSED;
}

int shield_jwt_verify(const shield_jwt_check *check, shield_result *result) {
	struct writer w = {0};
	shield_text reply;
	*result = (shield_result){SHIELD_TEXT(""), SHIELD_TEXT("")};
	put_text(&w, 1, check->token);
	put_text(&w, 2, check->issuer);
	put_text(&w, 3, check->audience);
	put_text(&w, 4, check->nonce);
	put_texts(&w, 5, check->algorithms);
	put_text(&w, 6, check->keys);
	put_text(&w, 7, check->keys_url);
	put_text(&w, 8, check->access_token);
	put_uint(&w, 9, (uint64_t)check->max_age);
	int code = ask(shield_jwt_verify_import, &w, &reply);
	return code == SHIELD_OK ? result_of(reply, result) : code;
}

int shield_secret_get(shield_text name, bool *found, shield_text *value) {
	struct writer w = {0};
	struct field f;
	shield_text reply;
	*found = false;
	*value = SHIELD_TEXT("");
	put_text(&w, 1, name);
	int result = ask(shield_secret_get_import, &w, &reply);
	if (result != SHIELD_OK)
		return result;
	struct reader r = reader_of(reply);
	while (next_field(&r, &f)) {
		if (f.num == 1)
			take_bool(&r, &f, found);
		if (f.num == 2)
			take_text(&r, &f, value);
	}
	return outcome(&r);
}

int shield_secret_mac(shield_text name, shield_text message, shield_result *result) {
	struct writer w = {0};
	shield_text reply;
	*result = (shield_result){SHIELD_TEXT(""), SHIELD_TEXT("")};
	put_text(&w, 1, name);
	put_text(&w, 2, message);
	int code = ask(shield_secret_mac_import, &w, &reply);
	return code == SHIELD_OK ? result_of(reply, result) : code;
}

#endif
