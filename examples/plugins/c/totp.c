/* A login with one-time codes of an authenticator app: TOTP, RFC 6238, with HMAC-SHA-256.
 *
 * The keys of the people are secrets of the gateway's configuration, which this module
 * never sees: the gateway computes the HMAC. Each code works once (RFC 6238 §5.2): the time
 * step that was used last is kept, and only later ones are taken. */
#include "shield.h"

enum { STEP = 30, MAX_PEOPLE = 1000 };
static const int64_t SECOND = 1000000000;

static const shield_field fields[] = {
	{.name = "login", .label = "Name", .type = "text", .required = true},
	{.name = "code", .label = "Code of the app", .type = "password", .required = true},
};
static const shield_form forms[] = {
	{.flow = "login", .name = "totp", .label = "Log in with a code", .fields = fields, .field_count = 2},
};
static const char *const capabilities[] = {"kv", "secret"};
static const shield_manifest manifest = {
	.id = "totp",
	.version = "1.0.0",
	.kind = "totp",
	.forms = forms,
	.form_count = 1,
	.capabilities = capabilities,
	.capability_count = 2,
	.config_schema =
		"{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"people\"],\"properties\":{"
		"\"digits\":{\"type\":\"integer\",\"minimum\":6,\"maximum\":8,\"default\":6},"
		"\"people\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":[\"login\",\"secret\",\"email\"],"
		"\"additionalProperties\":false,\"properties\":{\"login\":{\"type\":\"string\"},\"secret\":{\"type\":\"string\"},"
		"\"email\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"}}}}}}",
};

static struct person {
	shield_text login, secret, email, name;
} people[MAX_PEOPLE];
static size_t people_count;
static int64_t digits;

const shield_manifest *shield_describe(void) { return &manifest; }

static bool only(const shield_json *object, const char *const *names, size_t count) {
	for (const shield_json *m = object->first; m != NULL; m = m->next) {
		bool known = false;
		for (size_t i = 0; i < count; i++)
			known |= shield_is(m->name, names[i]);
		if (!known)
			return false;
	}
	return true;
}

static const struct person *find(shield_text login) {
	for (size_t i = 0; i < people_count; i++)
		if (shield_same(people[i].login, login))
			return &people[i];
	return NULL;
}

static void add_person(const shield_json *p, shield_faults *faults) {
	static const char *const names[] = {"login", "secret", "email", "name"};
	struct person person = {
		shield_json_text(shield_json_member(p, "login")),
		shield_json_text(shield_json_member(p, "secret")),
		shield_json_text(shield_json_member(p, "email")),
		shield_json_text(shield_json_member(p, "name")),
	};
	if (p->kind != SHIELD_JSON_OBJECT || !only(p, names, 4) || person.login.len == 0 || person.secret.len == 0 || person.email.len == 0) {
		shield_fault(faults, "people", "each needs a login, a secret and an email, and may have a name");
		return;
	}
	if (person.login.len > 64 || find(person.login) != NULL) {
		shield_fault(faults, "people", "a login is longer than 64 bytes or there twice");
		return;
	}
	if (people_count == MAX_PEOPLE) {
		shield_fault(faults, "people", "are more than 1000");
		return;
	}
	people[people_count++] = person;
}

void shield_configure(shield_text settings, shield_faults *faults) {
	static const char *const names[] = {"digits", "people"};
	const shield_json *all = shield_json_parse(settings);
	people_count = 0;
	digits = 6;
	if (all == NULL || all->kind != SHIELD_JSON_OBJECT) {
		shield_fault(faults, "", "is not a JSON object");
		return;
	}
	if (!only(all, names, 2))
		shield_fault(faults, "", "has a member that is unknown; there are digits and people");
	const shield_json *count = shield_json_member(all, "digits");
	if (count != NULL && (!shield_json_integer(count, &digits) || digits < 6 || digits > 8))
		shield_fault(faults, "digits", "must be a whole number from 6 to 8");
	const shield_json *list = shield_json_member(all, "people");
	if (list == NULL || list->kind != SHIELD_JSON_ARRAY || list->first == NULL) {
		shield_fault(faults, "people", "must be a list with somebody in it");
		return;
	}
	for (const shield_json *p = list->first; p != NULL; p = p->next)
		add_person(p, faults);
}

/* The code of a time step, RFC 4226 §5.3. */
static int code_of(shield_text secret, int64_t step, shield_text *code) {
	char counter[8];
	for (int i = 0; i < 8; i++)
		counter[i] = (char)((uint64_t)step >> (56 - 8 * i));
	shield_result mac;
	int result = shield_secret_mac(secret, shield_bytes(counter, sizeof counter), &mac);
	if (result != SHIELD_OK)
		return result;
	if (mac.value.len != 32)
		return SHIELD_FAILED;
	const uint8_t *hash = (const uint8_t *)mac.value.data;
	const uint8_t *at = hash + (hash[31] & 15);
	uint32_t number = (uint32_t)(at[0] & 0x7f) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	char *text = shield_alloc((size_t)digits);
	for (int64_t i = digits; i > 0; i--) {
		text[i - 1] = (char)('0' + number % 10);
		number /= 10;
	}
	*code = shield_bytes(text, (size_t)digits);
	return SHIELD_OK;
}

/* The step that a code belongs to, or -1. Clocks may be one step apart. All three are
 * looked at, so that the time does not tell which. */
static int step_of(shield_text secret, shield_text code, int64_t now, int64_t *step) {
	*step = -1;
	for (int64_t s = now - 1; s <= now + 1; s++) {
		shield_text want;
		int result = code_of(secret, s, &want);
		if (result != SHIELD_OK)
			return result;
		if (shield_same(want, code))
			*step = s;
	}
	return SHIELD_OK;
}

/* Whether the step is later than all that were used, and if so, now used. */
static int use(shield_text login, int64_t step, bool *fresh) {
	const shield_text parts[] = {{"used/", 5}, shield_hex(login)};
	shield_text key = shield_concat(parts, 2);
	shield_entry last;
	*fresh = false;
	int result = shield_kv_get(key, &last);
	if (result != SHIELD_OK)
		return result;
	int64_t used = -1;
	if (last.found) {
		const shield_json *number = shield_json_parse(last.value);
		if (!shield_json_integer(number, &used))
			return SHIELD_FAILED;
	}
	if (step <= used)
		return SHIELD_OK;
	*fresh = true;
	/* Three steps later no code up to this one is taken any more. */
	return shield_kv_compare_and_set(key, last.version, shield_decimal(step), 4 * STEP * SECOND);
}

static shield_step failed(int result) {
	if (result == SHIELD_INVALID)
		return shield_error(SHIELD_CODE_UNAVAILABLE, NULL, "a secret of the settings is not in the configuration");
	return shield_host_error(result);
}

shield_step shield_begin(const shield_flow *flow, const shield_request *request) {
	if (!shield_is(flow->kind, "login") || !shield_is(flow->form, "totp"))
		return shield_denied(SHIELD_CODE_VALIDATION);
	shield_text login = shield_get(request->fields, "login"), code = shield_get(request->fields, "code");
	if (login.len == 0 || code.len == 0)
		return shield_denied(SHIELD_CODE_MISSING_FIELD);
	/* Somebody unknown takes as long as somebody known. */
	const struct person *person = find(login);
	int64_t step;
	int result = step_of(person != NULL ? person->secret : people[0].secret, code, request->now / (STEP * SECOND), &step);
	if (result != SHIELD_OK)
		return failed(result);
	if (person == NULL || step < 0)
		return shield_denied(SHIELD_CODE_INVALID_CREDENTIALS);
	bool fresh;
	result = use(login, step, &fresh);
	if (result != SHIELD_OK)
		return failed(result);
	if (!fresh)
		return shield_denied(SHIELD_CODE_INVALID_CREDENTIALS);
	static const shield_text amr[] = {{"otp", 3}};
	return shield_done((shield_identity){
		.subject = login,
		.email = person->email,
		.email_verified = true, /* the operator vouches for it; without, there is no user */
		.name = person->name,
		.amr = {amr, 1},
	});
}

shield_step shield_continue(const shield_flow *flow, const shield_request *request) {
	(void)flow;
	(void)request;
	return shield_error(SHIELD_CODE_INTERNAL, NULL, "this provider has one step");
}
