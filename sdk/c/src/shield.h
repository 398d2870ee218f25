/* What the author of an identity provider in C needs: the contract between a provider and
 * the gateway as plain structs. A provider answers one question, who is this, and hands
 * everything that must not be forgotten (state, one-time links, sessions, tokens, limits)
 * to the gateway.
 *
 * A provider is five functions, declared at the end of this file. Compiled together with
 * the other files of this folder it becomes a module for the gateway's sandbox:
 *
 *   clang --target=wasm32-wasi -mexec-model=reactor -Os -Ishield/src provider.c shield/src/<all>.c -o provider.wasm
 *
 * Memory. Everything that a call is given, and everything from shield_alloc, belongs to the
 * call: it is gone when the call has been answered, and nothing needs to be freed. What
 * shield_configure is given and takes stays for as long as the module runs. When there is
 * no memory left the module stops, and the gateway starts another one.
 *
 * The gateway makes one call at a time. It may run many copies of a module, and may drop
 * one after any call, so what must last goes through shield_kv or the save of a step. */
#ifndef SHIELD_H
#define SHIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Version of the contract. -DSHIELD_ABI=1 makes a module for gateways of version 1, without
 * what came later: the headers of a request, http, jwt, xmldsig and secret. */
#ifndef SHIELD_ABI
#define SHIELD_ABI 2
#endif

/* A text or bytes. It does not end in a NUL. Texts from the gateway are valid UTF-8, and
 * those that go to it must be. */
typedef struct shield_text {
	const char *data;
	size_t len;
} shield_text;

/* SHIELD_TEXT("words") is a constant; shield_str is for strings that end in a NUL. */
#define SHIELD_TEXT(literal) ((shield_text){"" literal, sizeof(literal) - 1})
shield_text shield_str(const char *s);
shield_text shield_bytes(const void *data, size_t len);

bool shield_is(shield_text a, const char *b);
/* Compares in a time that depends on the lengths alone. For secrets and what is made of them. */
bool shield_same(shield_text a, shield_text b);

/* Memory of the call, zeroed. Never NULL. */
void *shield_alloc(size_t size);
/* The parts behind one another. */
shield_text shield_concat(const shield_text *parts, size_t count);
shield_text shield_decimal(int64_t number);
shield_text shield_hex(shield_text bytes); /* lower case */

/* Names with values, such as the fields of a form. */
typedef struct shield_pair {
	shield_text name, value;
} shield_pair;

typedef struct shield_pairs {
	const shield_pair *items;
	size_t count;
} shield_pairs;

/* The value, or an empty text where there is none. */
shield_text shield_get(shield_pairs pairs, const char *name);

typedef struct shield_texts {
	const shield_text *items;
	size_t count;
} shield_texts;

/* One input of a form or of a prompt. */
typedef struct shield_field {
	const char *name, *label;
	const char *type; /* "text", "email" or "password" */
	bool required;
} shield_field;

/* What one flow asks of a person at its beginning. */
typedef struct shield_form {
	const char *flow; /* "login", "register", "verify", "recover", "change", "link", "logout" or "forget" */
	const char *name; /* tells two forms of one flow apart */
	const char *label;
	const shield_field *fields;
	size_t field_count;
} shield_form;

/* What a provider is. */
typedef struct shield_manifest {
	const char *id;      /* reverse domain name or short name */
	const char *version; /* semantic version of the provider */
	const char *kind;    /* a name of yours, such as "pin" */
	const shield_form *forms;
	size_t form_count;
	const char *const *capabilities; /* what it needs of the host: "kv", "password", ... */
	size_t capability_count;
	const char *config_schema; /* JSON Schema of its settings, or NULL */
} shield_manifest;

/* One attempt to prove who one is. The gateway made all of it: it can be relied on. */
typedef struct shield_flow {
	shield_text id, kind, form;
	shield_text callback_url; /* where another site sends the person back to */
	shield_text state, nonce; /* single use */
	shield_text pkce_verifier, pkce_challenge; /* RFC 7636, S256 */
	shield_text subject; /* change, link, logout: who is signed in */
	shield_text saved;   /* what the step before saved */
	int64_t started_at;  /* nanoseconds since 1970 */
} shield_flow;

/* What a person sent. Nothing in it but now is to be relied on. */
typedef struct shield_request {
	shield_pairs fields;
	shield_text path; /* shield_serve: the rest of the path */
	shield_text ip, user_agent, locale;
	int64_t now; /* nanoseconds since 1970 */
#if SHIELD_ABI >= 2
	shield_pairs headers; /* those that the operator names for the provider */
#endif
} shield_request;

/* What a provider asserts about a person. Issuer and subject name the person at this
 * provider and never change. */
typedef struct shield_identity {
	shield_text issuer, subject, email;
	bool email_verified;
	shield_text name, avatar_url;
	shield_texts groups, amr; /* amr: RFC 8176 */
	shield_text acr;
	shield_pairs attributes;
} shield_identity;

/* A mail; the gateway mints its link and has its words. */
typedef struct shield_mail {
	shield_text template_name; /* "verify", "reset", "magic_link" or "account_exists" */
	shield_text to;
	shield_pairs vars;
	const shield_identity *identity; /* whom the mail is about, or NULL */
} shield_mail;

typedef struct shield_field_error {
	shield_text field, code, message;
} shield_field_error;

typedef enum shield_kind {
	SHIELD_NOTHING, /* no answer: an internal error */
	SHIELD_REDIRECT,
	SHIELD_POST,
	SHIELD_PROMPT,
	SHIELD_MAIL,
	SHIELD_DONE,
	SHIELD_CHANGED,
	SHIELD_DENIED,
	SHIELD_ERROR
} shield_kind;

/* A provider's answer. Make it with one of the functions below; save, at most 16 KiB, can
 * be set on it afterwards: the gateway keeps it, encrypted, for the next step. */
typedef struct shield_step {
	shield_kind kind;
	shield_text save;
	union {
		struct {
			shield_text url;
			shield_pairs fields;
		} go; /* redirect, post */
		struct {
			const shield_field *fields;
			size_t count;
		} prompt;
		shield_mail mail;
		shield_identity identity; /* done */
		shield_text subject;      /* changed */
		struct {
			shield_text code;
			const shield_field_error *fields;
			size_t count;
		} denied;
		struct {
			shield_text code, public_text, private_text;
		} error;
	} as;
} shield_step;

shield_step shield_redirect(shield_text url);
shield_step shield_post(shield_text url, shield_pairs fields);
shield_step shield_prompt(const shield_field *fields, size_t count);
shield_step shield_send(shield_mail mail);
/* Who the person is. It ends the flow. */
shield_step shield_done(shield_identity identity);
/* The credentials of the subject changed; the gateway ends the sessions. */
shield_step shield_changed(shield_text subject);
/* No. The code is one of SHIELD_CODE_*; nothing that was written in the call is kept. */
shield_step shield_denied(const char *code);
shield_step shield_denied_fields(const char *code, const shield_field_error *fields, size_t count);
/* The provider cannot tell. public_text is shown, private_text goes to the log alone. */
shield_step shield_error(const char *code, const char *public_text, const char *private_text);

/* The codes of denials and errors. */
#define SHIELD_CODE_INVALID_CREDENTIALS "INVALID_CREDENTIALS"
#define SHIELD_CODE_EMAIL_NOT_VERIFIED "EMAIL_NOT_VERIFIED"
#define SHIELD_CODE_EMAIL_EXISTS "EMAIL_ALREADY_EXISTS"
#define SHIELD_CODE_INVALID_EMAIL "INVALID_EMAIL_FORMAT"
#define SHIELD_CODE_WEAK_PASSWORD "WEAK_PASSWORD"
#define SHIELD_CODE_VALIDATION "VALIDATION_ERROR"
#define SHIELD_CODE_MISSING_FIELD "MISSING_REQUIRED_FIELD"
#define SHIELD_CODE_INVALID_TOKEN "INVALID_TOKEN"
#define SHIELD_CODE_USER_NOT_FOUND "USER_NOT_FOUND"
#define SHIELD_CODE_PROVIDER_ERROR "OAUTH_PROVIDER_ERROR"
#define SHIELD_CODE_UNAVAILABLE "SERVICE_UNAVAILABLE"
#define SHIELD_CODE_INTERNAL "INTERNAL_ERROR"

/* What the host's functions return. Each works only if the manifest asks for its capability
 * and the operator grants it. A call that goes wrong with SHIELD_FAILED fails as a whole,
 * whatever the provider answers: return shield_host_error(result). */
enum {
	SHIELD_OK = 0,
	SHIELD_NOT_GRANTED = -1,
	SHIELD_CONFLICT = -2,  /* the entry changed: return shield_host_error, the gateway calls anew */
	SHIELD_TOO_LARGE = -3,
	SHIELD_MALFORMED = -4,
	SHIELD_FAILED = -5,
	SHIELD_INVALID = -6,   /* an argument is not valid */
	SHIELD_NOT_ALLOWED = -7, /* a destination that is not listed, a key that is not handed out */
	SHIELD_UNREACHABLE = -8, /* the other server failed */
	SHIELD_EXHAUSTED = -9,   /* too often in one call */
	SHIELD_REFUSED = -100    /* what was to be checked does not hold; see shield_result */
};

/* The error for a result that is not SHIELD_OK. */
shield_step shield_host_error(int result);

/* kv: a map of the provider's own. Writes are staged: they commit with the answer of the
 * call or, after a denial or an error, not at all. */
typedef struct shield_entry {
	bool found;
	shield_text value;
	int64_t version; /* changes with each write, never 0 when found */
} shield_entry;

int shield_kv_get(shield_text key, shield_entry *entry);
/* ttl is in nanoseconds, 0 for ever. */
int shield_kv_set(shield_text key, shield_text value, int64_t ttl);
/* Writes if the entry still has that version, 0 meaning that there is none. */
int shield_kv_compare_and_set(shield_text key, int64_t version, shield_text value, int64_t ttl);
int shield_kv_delete(shield_text key);

/* password: argon2id in the host. */
int shield_password_hash(shield_text password, shield_text *hash);
/* An empty hash takes the time of a real check and is false. */
int shield_password_verify(shield_text hash, shield_text password, bool *ok, bool *stale);
int shield_password_common(shield_text password, bool *common);

/* log. args are pairs of name and value. */
enum { SHIELD_DEBUG = -4, SHIELD_INFO = 0, SHIELD_WARN = 4, SHIELD_ERROR_LEVEL = 8 };
void shield_log(int level, shield_text message, shield_pairs args);

#if SHIELD_ABI >= 2

/* http: requests to the servers that the operator lists. An answer of any status is
 * SHIELD_OK. */
typedef struct shield_http_request {
	shield_text method; /* GET if empty */
	shield_text url;
	shield_pairs header;
	shield_text body;
} shield_http_request;

typedef struct shield_http_response {
	uint32_t status;
	shield_pairs header;
	shield_text body;
	shield_text url; /* that answered, after redirects */
} shield_http_response;

int shield_http_fetch(const shield_http_request *request, shield_http_response *response);

/* What a check or a signature comes to: a value, or with SHIELD_REFUSED why not, in one
 * word such as "signature" or "expired". */
typedef struct shield_result {
	shield_text value, refused;
} shield_result;

/* jwt: an id_token with what it must say. Issuer, audience, nonce, algorithms and one of
 * keys and keys_url are needed. The value is its claims, a JSON object: see shield_json. */
typedef struct shield_jwt_check {
	shield_text token, issuer, audience, nonce;
	shield_texts algorithms;
	shield_text keys, keys_url; /* a JWK Set, or where there is one */
	shield_text access_token;   /* if set, at_hash must be its hash */
	int64_t max_age;            /* since auth_time, in nanoseconds; 0: any */
} shield_jwt_check;

int shield_jwt_verify(const shield_jwt_check *check, shield_result *result);

/* secret: those of the provider's section of the configuration. Private keys are not handed
 * out. */
int shield_secret_get(shield_text name, bool *found, shield_text *value);
/* HMAC-SHA-256 of the message under the secret, 32 bytes. */
int shield_secret_mac(shield_text name, shield_text message, shield_result *result);

#endif

/* Settings and claims are JSON. A value with its first member or element; the others follow
 * by next. */
typedef enum shield_json_kind {
	SHIELD_JSON_NULL,
	SHIELD_JSON_BOOL,
	SHIELD_JSON_NUMBER,
	SHIELD_JSON_STRING,
	SHIELD_JSON_ARRAY,
	SHIELD_JSON_OBJECT
} shield_json_kind;

typedef struct shield_json {
	shield_json_kind kind;
	bool truth;       /* of a bool */
	shield_text text; /* of a string; of a number as it is written */
	shield_text name; /* of a member of an object */
	const struct shield_json *first, *next;
} shield_json;

/* NULL if it is no JSON, has one name twice in an object or more than 1024 of them, or is
 * nested deeper than 32. */
const shield_json *shield_json_parse(shield_text text);
/* The member of an object, or NULL. */
const shield_json *shield_json_member(const shield_json *object, const char *name);
/* The text of a string, or an empty one for anything else, also NULL. */
shield_text shield_json_text(const shield_json *value);
/* Whether it is a whole number, which goes to number. */
bool shield_json_integer(const shield_json *value, int64_t *number);

/* The faults of settings. */
typedef struct shield_faults shield_faults;
/* path is like "limits.attempts", message says what is wrong and what would be right. */
void shield_fault(shield_faults *faults, const char *path, const char *message);

/* A plain document. */
typedef struct shield_document {
	uint32_t status;
	const char *content_type;
	shield_text body;
} shield_document;

/* What you write. */

/* What the provider is. It is called before shield_configure and may not use the host. */
const shield_manifest *shield_describe(void);
/* Takes the provider's section of the configuration, a JSON object, and notes every fault
 * of it. Without a fault the provider is ready. It may not use the host. */
void shield_configure(shield_text settings, shield_faults *faults);
/* Starts a flow. */
shield_step shield_begin(const shield_flow *flow, const shield_request *request);
/* Goes on with a flow after the person came back: from a mailed link, from another site, or
 * with the fields of a prompt. */
shield_step shield_continue(const shield_flow *flow, const shield_request *request);
/* Answers with a plain document. Leave it out if there is none. */
shield_document shield_serve(const shield_request *request) __attribute__((weak));

#endif
