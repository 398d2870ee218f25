/* A provider that shows what it is given and answers with the sample of each message, so
 * that a test can hold both to the gateway's codec. mirror.ts and mirror.rs do the same. */
#include <string.h>

#include "shield.h"

static const shield_field fields[] = {
	{.name = "email", .label = "E-mail", .type = "email", .required = true},
	{0},
};
static const shield_form forms[] = {
	{.flow = "login", .name = "password", .label = "Log in", .fields = fields, .field_count = 2},
	{0},
};
static const char *const capabilities[] = {
	"kv", "password", "log",
#if SHIELD_ABI >= 2
	"http", "jwt", "secret",
#endif
};
static const shield_manifest manifest = {
	.id = "mirror", .version = "1.2.3", .kind = "mirror", .forms = forms, .form_count = 2,
	.capabilities = capabilities, .capability_count = sizeof capabilities / sizeof *capabilities,
	.config_schema = "{}",
};

const shield_manifest *shield_describe(void) { return &manifest; }

void shield_configure(shield_text settings, shield_faults *faults) {
	const shield_text parts[] = {settings, {"", 1}};
	shield_fault(faults, "a.b", shield_concat(parts, 2).data);
	shield_fault(faults, "", "");
}

/* A text that grows. What does not fit is left out. */
static char room[1 << 18];
static shield_text said = {room, 0};

static void say(shield_text more) {
	if (more.len > sizeof room - said.len)
		return;
	if (more.len > 0)
		memcpy(room + said.len, more.data, more.len);
	said.len += more.len;
}

static void line(const char *name, shield_text value) {
	say(shield_str(name));
	say(SHIELD_TEXT("="));
	say(value);
	say(SHIELD_TEXT("\n"));
}

static void pairs(const char *name, shield_pairs list) {
	for (size_t i = 0; i < list.count; i++) {
		say(shield_str(name));
		say(SHIELD_TEXT(":"));
		line("", list.items[i].name);
		line("", list.items[i].value);
	}
}

static shield_step subject(shield_text text) {
	return shield_done((shield_identity){.subject = text});
}

static shield_step show(const shield_flow *flow, const shield_request *request) {
	line("id", flow->id);
	line("kind", flow->kind);
	line("callback_url", flow->callback_url);
	line("state", flow->state);
	line("nonce", flow->nonce);
	line("pkce_verifier", flow->pkce_verifier);
	line("pkce_challenge", flow->pkce_challenge);
	line("subject", flow->subject);
	line("saved", shield_hex(flow->saved));
	line("started_at", shield_decimal(flow->started_at));
	pairs("field", request->fields);
	line("path", request->path);
	line("ip", request->ip);
	line("user_agent", request->user_agent);
	line("locale", request->locale);
	line("now", shield_decimal(request->now));
#if SHIELD_ABI >= 2
	pairs("header", request->headers);
#endif
	return subject(said);
}

static shield_identity identity(void) {
	static const shield_text groups[] = {{"a", 1}, {"", 0}, {"b", 1}}, amr[] = {{"pwd", 3}};
	static const shield_pair attributes[] = {{{"", 0}, {"nameless", 8}}, {{"empty", 5}, {"", 0}}, {{"k", 1}, {"v", 1}}};
	return (shield_identity){
		.issuer = SHIELD_TEXT("https://id.example"), .subject = SHIELD_TEXT("s-1"),
		.email = SHIELD_TEXT("a@example.test"), .email_verified = true, .name = SHIELD_TEXT("Ä"),
		.avatar_url = SHIELD_TEXT("https://x/y.png"), .groups = {groups, 3}, .amr = {amr, 1},
		.acr = SHIELD_TEXT("1"), .attributes = {attributes, 3},
	};
}

static shield_step mail(void) {
	static const shield_pair vars[] = {{{"name", 4}, {"A", 1}}};
	shield_identity *about = shield_alloc(sizeof *about);
	*about = identity();
	return shield_send((shield_mail){
		.template_name = SHIELD_TEXT("verify"), .to = SHIELD_TEXT("a@example.test"), .vars = {vars, 1}, .identity = about,
	});
}

static void dump(const shield_json *v) {
	static const char *const marks[] = {"n", "", "#", "\"", "[", "{"};
	say(shield_str(marks[v->kind]));
	if (v->kind == SHIELD_JSON_BOOL)
		say(shield_str(v->truth ? "t" : "f"));
	if (v->kind == SHIELD_JSON_NUMBER)
		say(v->text);
	if (v->kind == SHIELD_JSON_STRING)
		say(shield_hex(v->text));
	for (const shield_json *inner = v->first; inner != NULL; inner = inner->next) {
		if (v->kind == SHIELD_JSON_OBJECT) {
			say(shield_hex(inner->name));
			say(SHIELD_TEXT(":"));
		}
		dump(inner);
	}
	if (v->kind >= SHIELD_JSON_ARRAY)
		say(SHIELD_TEXT("]"));
	say(SHIELD_TEXT(" "));
}

static shield_step json(shield_text text) {
	const shield_json *v = shield_json_parse(text);
	int64_t number;
	if (v == NULL)
		return subject(SHIELD_TEXT("invalid"));
	dump(v);
	if (shield_json_integer(v, &number))
		say(shield_decimal(number));
	return subject(said);
}

static void flag(bool value) { say(shield_str(value ? "true " : "false ")); }

/* ask makes the sample of a request and says what came of it. */
static int ask(shield_text call) {
	shield_text text = {"", 0};
	bool yes = false, stale = false;
	int result = SHIELD_NOT_GRANTED;
	if (shield_is(call, "kv.get")) {
		shield_entry e;
		result = shield_kv_get(SHIELD_TEXT("addr/a@example.test"), &e);
		flag(e.found);
		say(shield_hex(e.value));
		say(SHIELD_TEXT(" "));
		say(shield_decimal(e.version));
	}
	if (shield_is(call, "kv.set"))
		result = shield_kv_set(SHIELD_TEXT("k"), SHIELD_TEXT("v"), 60000000000);
	if (shield_is(call, "kv.compare_and_set"))
		result = shield_kv_compare_and_set(SHIELD_TEXT("k"), -3, SHIELD_TEXT("v"), 60000000000);
	if (shield_is(call, "kv.delete"))
		result = shield_kv_delete(SHIELD_TEXT("addr/a@example.test"));
	if (shield_is(call, "password.hash")) {
		result = shield_password_hash(SHIELD_TEXT("pässword"), &text);
		say(text);
	}
	if (shield_is(call, "password.verify")) {
		result = shield_password_verify(SHIELD_TEXT("h"), SHIELD_TEXT("p"), &yes, &stale);
		flag(yes);
		flag(stale);
	}
	if (shield_is(call, "password.common")) {
		result = shield_password_common(SHIELD_TEXT("pässword"), &yes);
		flag(yes);
	}
	if (shield_is(call, "log.write")) {
		static const shield_pair args[] = {{{"k", 1}, {"", 0}}, {{"v", 1}, {"w", 1}}};
		shield_log(SHIELD_DEBUG, SHIELD_TEXT("m"), (shield_pairs){args, 2});
		result = SHIELD_OK;
	}
#if SHIELD_ABI >= 2
	shield_result r = {{"", 0}, {"", 0}};
	if (shield_is(call, "http.fetch")) {
		static const shield_pair header[] = {{{"Accept", 6}, {"application/json", 16}}, {{"", 0}, {"", 0}}};
		shield_http_response response;
		result = shield_http_fetch(&(shield_http_request){
			SHIELD_TEXT("POST"), SHIELD_TEXT("https://x/y"), {header, 2}, SHIELD_TEXT("b")}, &response);
		say(shield_decimal(response.status));
		line(" url", response.url);
		line("body", response.body);
		pairs("header", response.header);
	}
	if (shield_is(call, "jwt.verify")) {
		static const shield_text algorithms[] = {{"RS256", 5}, {"ES256", 5}};
		result = shield_jwt_verify(&(shield_jwt_check){
			.token = SHIELD_TEXT("t"), .issuer = SHIELD_TEXT("i"), .audience = SHIELD_TEXT("a"), .nonce = SHIELD_TEXT("n"),
			.algorithms = {algorithms, 2}, .keys = SHIELD_TEXT("{}"), .keys_url = SHIELD_TEXT("https://x/k"),
			.access_token = SHIELD_TEXT("at"), .max_age = 3600000000000}, &r);
	}
	if (shield_is(call, "secret.mac"))
		result = shield_secret_mac(SHIELD_TEXT("key"), SHIELD_TEXT("m"), &r);
	if (r.value.len > 0)
		say(shield_hex(r.value));
	if (result == SHIELD_REFUSED) {
		line("refused", r.refused);
		return SHIELD_OK;
	}
	if (shield_is(call, "secret.get")) {
		result = shield_secret_get(SHIELD_TEXT("client_secret"), &yes, &text);
		flag(yes);
		say(text);
	}
#endif
	return result;
}

static shield_step host(shield_text call) {
	int result = ask(call);
	if (result == SHIELD_OK)
		return subject(said);
	const shield_text parts[] = {{"error ", 6}, shield_decimal(result)};
	return subject(shield_concat(parts, 2));
}

shield_step shield_begin(const shield_flow *flow, const shield_request *request) {
	static const shield_pair saml[] = {{{"SAMLRequest", 11}, {"b64", 3}}};
	static const shield_field_error errors[] = {{{"password", 8}, {"TOO_SHORT", 9}, {"m", 1}}, {{"", 0}, {"", 0}, {"", 0}}};
	shield_text form = flow->form;
	said.len = 0;
	if (shield_is(form, "json"))
		return json(shield_get(request->fields, "text"));
	if (shield_is(form, "host"))
		return host(shield_get(request->fields, "call"));
	if (shield_is(form, "redirect")) {
		shield_step step = shield_redirect(SHIELD_TEXT("https://x"));
		step.save = SHIELD_TEXT("kept");
		return step;
	}
	if (shield_is(form, "post"))
		return shield_post(SHIELD_TEXT("https://x"), (shield_pairs){saml, 1});
	if (shield_is(form, "prompt"))
		return shield_prompt(fields, 2);
	if (shield_is(form, "mail"))
		return mail();
	if (shield_is(form, "done"))
		return shield_done(identity());
	if (shield_is(form, "done_empty"))
		return shield_done((shield_identity){0});
	if (shield_is(form, "changed"))
		return shield_changed(SHIELD_TEXT("s-1"));
	if (shield_is(form, "denied"))
		return shield_denied_fields("WEAK_PASSWORD", errors, 2);
	if (shield_is(form, "error"))
		return shield_error("C", "p", "q");
	if (shield_is(form, "nothing"))
		return (shield_step){0};
	if (shield_is(form, "large"))
		return subject(shield_bytes(memset(shield_alloc(2 << 20), 'x', 2 << 20), 2 << 20));
	return show(flow, request);
}

shield_step shield_continue(const shield_flow *flow, const shield_request *request) {
	(void)request;
	return subject(shield_hex(flow->saved));
}

shield_document shield_serve(const shield_request *request) {
	return (shield_document){200, "text/xml", request->path};
}
