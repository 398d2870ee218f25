/* A provider of version 1 of the contract: the manifest, the exports and all that is asked
 * of the host are those of a plugin from before version 2. Its login form "pin" notes
 * who logged in, and knows one password, "correct horse", by its hash that it keeps. */
#include "shield.h"

#if SHIELD_ABI != 1
#error this is a plugin of version 1
#endif

static const shield_field fields[] = {
	{.name = "name", .label = "Name", .type = "text", .required = true},
	{.name = "password", .label = "Password", .type = "password", .required = true},
};
static const shield_form forms[] = {
	{.flow = "login", .name = "pin", .label = "Log in", .fields = fields, .field_count = 2},
};
static const char *const capabilities[] = {"kv", "password", "log"};
static const shield_manifest manifest = {
	.id = "abi1", .version = "1.0.0", .kind = "test", .forms = forms, .form_count = 1,
	.capabilities = capabilities, .capability_count = 3,
};

const shield_manifest *shield_describe(void) { return &manifest; }

void shield_configure(shield_text settings, shield_faults *faults) {
	const shield_json *v = shield_json_parse(settings);
	if (v == NULL || v->kind != SHIELD_JSON_OBJECT)
		shield_fault(faults, "", "is not a JSON object");
}

/* The hash that is kept, made at the first login of all. */
static int known_hash(shield_text *hash) {
	shield_entry e;
	int result = shield_kv_get(SHIELD_TEXT("hash"), &e);
	if (result != SHIELD_OK || e.found) {
		*hash = e.value;
		return result;
	}
	result = shield_password_hash(SHIELD_TEXT("correct horse"), hash);
	if (result != SHIELD_OK)
		return result;
	return shield_kv_set(SHIELD_TEXT("hash"), *hash, 0);
}

shield_step shield_begin(const shield_flow *flow, const shield_request *request) {
	shield_text name = shield_get(request->fields, "name"), hash;
	bool ok, stale;
	if (!shield_is(flow->kind, "login") || !shield_is(flow->form, "pin"))
		return shield_denied(SHIELD_CODE_VALIDATION);
	if (name.len == 0 || name.len > 64)
		return shield_denied(SHIELD_CODE_MISSING_FIELD);
	int result = known_hash(&hash);
	if (result == SHIELD_OK)
		result = shield_password_verify(hash, shield_get(request->fields, "password"), &ok, &stale);
	if (result != SHIELD_OK)
		return shield_host_error(result);
	if (!ok)
		return shield_denied(SHIELD_CODE_INVALID_CREDENTIALS);
	const shield_text parts[] = {{"seen/", 5}, shield_hex(name)};
	shield_text key = shield_concat(parts, 2);
	shield_entry seen;
	result = shield_kv_get(key, &seen);
	if (result == SHIELD_OK)
		result = shield_kv_compare_and_set(key, seen.version, shield_decimal(request->now), 0);
	if (result != SHIELD_OK)
		return shield_host_error(result);
	shield_log(SHIELD_INFO, SHIELD_TEXT("logged in"), (shield_pairs){NULL, 0});
	return shield_done((shield_identity){.subject = name});
}

shield_step shield_continue(const shield_flow *flow, const shield_request *request) {
	(void)flow;
	(void)request;
	return shield_error(SHIELD_CODE_INTERNAL, NULL, "this provider has one step");
}
