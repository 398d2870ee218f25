/* The calls of the gateway: shield_abi and shield_call, which a module exports. */
#include <string.h>

#include "internal.h"

enum { DESCRIBE = 1, CONFIGURE, BEGIN, CONTINUE, SERVE };
enum { STATUS_OK, STATUS_MALFORMED, STATUS_UNKNOWN_METHOD };

struct shield_faults {
	struct writer reply;
};

void shield_fault(shield_faults *faults, const char *path, const char *message) {
	struct writer fault = {0};
	put_str(&fault, 1, path);
	put_str(&fault, 2, message);
	put_message(&faults->reply, 1, &fault);
}

shield_step shield_redirect(shield_text url) {
	return (shield_step){.kind = SHIELD_REDIRECT, .as.go.url = url};
}

shield_step shield_post(shield_text url, shield_pairs fields) {
	return (shield_step){.kind = SHIELD_POST, .as.go = {url, fields}};
}

shield_step shield_prompt(const shield_field *fields, size_t count) {
	return (shield_step){.kind = SHIELD_PROMPT, .as.prompt = {fields, count}};
}

shield_step shield_send(shield_mail mail) { return (shield_step){.kind = SHIELD_MAIL, .as.mail = mail}; }

shield_step shield_done(shield_identity identity) {
	return (shield_step){.kind = SHIELD_DONE, .as.identity = identity};
}

shield_step shield_changed(shield_text subject) {
	return (shield_step){.kind = SHIELD_CHANGED, .as.subject = subject};
}

shield_step shield_denied(const char *code) { return shield_denied_fields(code, NULL, 0); }

shield_step shield_denied_fields(const char *code, const shield_field_error *fields, size_t count) {
	return (shield_step){.kind = SHIELD_DENIED, .as.denied = {shield_str(code), fields, count}};
}

shield_step shield_error(const char *code, const char *public_text, const char *private_text) {
	return (shield_step){
		.kind = SHIELD_ERROR,
		.as.error = {shield_str(code), shield_str(public_text), shield_str(private_text)},
	};
}

shield_step shield_host_error(int result) {
	shield_step step = shield_error(SHIELD_CODE_INTERNAL, NULL, NULL);
	shield_text parts[] = {SHIELD_TEXT("the host answered "), shield_decimal(result)};
	step.as.error.private_text = shield_concat(parts, 2);
	return step;
}

static bool decode_flow(shield_text in, shield_flow *m) {
	struct reader r = reader_of(in);
	struct field f;
	while (next_field(&r, &f)) {
		switch (f.num) {
		case 1: take_text(&r, &f, &m->id); break;
		case 2: take_text(&r, &f, &m->kind); break;
		case 3: take_text(&r, &f, &m->form); break;
		case 4: take_text(&r, &f, &m->callback_url); break;
		case 5: take_text(&r, &f, &m->state); break;
		case 6: take_text(&r, &f, &m->nonce); break;
		case 7: take_text(&r, &f, &m->pkce_verifier); break;
		case 8: take_text(&r, &f, &m->pkce_challenge); break;
		case 9: take_text(&r, &f, &m->subject); break;
		case 10: take_bytes(&r, &f, &m->saved); break;
		case 11: take_int(&r, &f, &m->started_at); break;
		}
	}
	return !r.broken;
}

static bool decode_request(shield_text in, shield_request *m) {
	struct reader r = reader_of(in);
	struct field f;
	while (next_field(&r, &f)) {
		switch (f.num) {
		case 1: take_pair(&r, &f, &m->fields); break;
		case 2: take_text(&r, &f, &m->path); break;
		case 3: take_text(&r, &f, &m->ip); break;
		case 4: take_text(&r, &f, &m->user_agent); break;
		case 5: take_text(&r, &f, &m->locale); break;
		case 6: take_int(&r, &f, &m->now); break;
#if SHIELD_ABI >= 2
		case 7: take_pair(&r, &f, &m->headers); break;
#endif
		}
	}
	return !r.broken;
}

static bool decode_call(shield_text in, shield_flow *flow, shield_request *request) {
	struct reader r = reader_of(in);
	struct field f;
	while (next_field(&r, &f)) {
		if (f.num == 1 && !decode_flow(embedded(&r, &f), flow))
			r.broken = true;
		if (f.num == 2 && !decode_request(embedded(&r, &f), request))
			r.broken = true;
	}
	return !r.broken;
}

static void put_fields(struct writer *w, uint32_t num, const shield_field *fields, size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct writer field = {0};
		put_str(&field, 1, fields[i].name);
		put_str(&field, 2, fields[i].label);
		put_str(&field, 3, fields[i].type);
		put_uint(&field, 4, fields[i].required);
		put_message(w, num, &field);
	}
}

static struct writer encode_identity(const shield_identity *m) {
	struct writer w = {0};
	put_text(&w, 1, m->issuer);
	put_text(&w, 2, m->subject);
	put_text(&w, 3, m->email);
	put_uint(&w, 4, m->email_verified);
	put_text(&w, 5, m->name);
	put_text(&w, 6, m->avatar_url);
	put_texts(&w, 7, m->groups);
	put_texts(&w, 8, m->amr);
	put_text(&w, 9, m->acr);
	put_pairs(&w, 10, m->attributes);
	return w;
}

static struct writer encode_mail(const shield_mail *m) {
	struct writer w = {0};
	put_text(&w, 1, m->template_name);
	put_text(&w, 2, m->to);
	put_pairs(&w, 3, m->vars);
	if (m->identity != NULL) {
		struct writer identity = encode_identity(m->identity);
		put_message(&w, 4, &identity);
	}
	return w;
}

static void put_denied(struct writer *w, const shield_step *s) {
	put_text(w, 1, s->as.denied.code);
	for (size_t i = 0; i < s->as.denied.count; i++) {
		const shield_field_error *e = &s->as.denied.fields[i];
		struct writer error = {0};
		put_text(&error, 1, e->field);
		put_text(&error, 2, e->code);
		put_text(&error, 3, e->message);
		put_message(w, 2, &error);
	}
}

static struct writer encode_step(const shield_step *s) {
	struct writer w = {0}, kind = {0}, inner;
	put_text(&w, 1, s->save);
	switch (s->kind) {
	case SHIELD_REDIRECT:
	case SHIELD_POST:
		put_text(&kind, 1, s->as.go.url);
		if (s->kind == SHIELD_POST)
			put_pairs(&kind, 2, s->as.go.fields);
		break;
	case SHIELD_PROMPT:
		put_fields(&kind, 1, s->as.prompt.fields, s->as.prompt.count);
		break;
	case SHIELD_MAIL:
		kind = encode_mail(&s->as.mail);
		break;
	case SHIELD_DONE:
		inner = encode_identity(&s->as.identity);
		put_message(&kind, 1, &inner);
		break;
	case SHIELD_CHANGED:
		put_text(&kind, 1, s->as.subject);
		break;
	default:
		put_denied(&kind, s);
	}
	put_message(&w, 1 + (uint32_t)s->kind, &kind); /* they are numbered from 2, in this order */
	return w;
}

static struct writer encode_reply(shield_text flow, const shield_step *s) {
	struct writer w = {0}, ending = {0};
	put_text(&w, 1, flow);
	if (s->kind != SHIELD_ERROR) {
		ending = encode_step(s);
		put_message(&w, 2, &ending);
		return w;
	}
	put_text(&ending, 1, s->as.error.code);
	put_text(&ending, 2, s->as.error.public_text);
	put_text(&ending, 3, s->as.error.private_text);
	put_message(&w, 3, &ending);
	return w;
}

static int32_t hand_over(const struct writer *w) {
	if (w->len > 0)
		shield_io_write(w->data, (uint32_t)w->len);
	return STATUS_OK;
}

static int32_t describe(void) {
	const shield_manifest *m = shield_describe();
	struct writer w = {0};
	put_str(&w, 1, m->id);
	put_str(&w, 2, m->version);
	put_uint(&w, 3, SHIELD_ABI);
	put_str(&w, 4, m->kind);
	for (size_t i = 0; i < m->form_count; i++) {
		struct writer form = {0};
		put_str(&form, 1, m->forms[i].flow);
		put_str(&form, 2, m->forms[i].name);
		put_str(&form, 3, m->forms[i].label);
		put_fields(&form, 4, m->forms[i].fields, m->forms[i].field_count);
		put_message(&w, 5, &form);
	}
	for (size_t i = 0; i < m->capability_count; i++)
		put_element(&w, 6, shield_str(m->capabilities[i]));
	put_str(&w, 7, m->config_schema);
	return hand_over(&w);
}

static int32_t configure(shield_text in) {
	struct reader r = reader_of(in);
	struct field f;
	shield_text settings = SHIELD_TEXT("");
	while (next_field(&r, &f))
		if (f.num == 1)
			take_bytes(&r, &f, &settings);
	if (r.broken)
		return STATUS_MALFORMED;
	shield_faults faults = {{0}};
	shield_configure(settings, &faults);
	return hand_over(&faults.reply);
}

static int32_t call(shield_step (*next)(const shield_flow *, const shield_request *), shield_text in) {
	shield_flow flow = {0};
	shield_request request = {0};
	if (!decode_call(in, &flow, &request))
		return STATUS_MALFORMED;
	shield_step step = next(&flow, &request);
	if (step.kind <= SHIELD_NOTHING || step.kind > SHIELD_ERROR)
		step = shield_error(SHIELD_CODE_INTERNAL, NULL, "the provider's step is not exactly one thing");
	struct writer reply = encode_reply(flow.id, &step);
	if (reply.len > MAX_MESSAGE) {
		step = shield_error(SHIELD_CODE_INTERNAL, NULL, "the provider's answer is too large");
		reply = encode_reply(flow.id, &step);
	}
	return hand_over(&reply);
}

static int32_t serve(shield_text in) {
	if (shield_serve == NULL)
		return STATUS_UNKNOWN_METHOD;
	shield_request request = {0};
	struct reader r = reader_of(in);
	struct field f;
	while (next_field(&r, &f))
		if (f.num == 1 && !decode_request(embedded(&r, &f), &request))
			r.broken = true;
	if (r.broken)
		return STATUS_MALFORMED;
	shield_document document = shield_serve(&request);
	struct writer w = {0}, response = {0};
	put_uint(&response, 1, document.status);
	put_str(&response, 2, document.content_type);
	put_text(&response, 3, document.body);
	put_message(&w, 1, &response);
	return hand_over(&w);
}

static int32_t answer(uint32_t method, shield_text in) {
	switch (method) {
	case DESCRIBE: return describe();
	case CONFIGURE: return configure(in);
	case BEGIN: return call(shield_begin, in);
	case CONTINUE: return call(shield_continue, in);
	case SERVE: return serve(in);
	}
	return STATUS_UNKNOWN_METHOD;
}

int32_t shield_abi(void) { return SHIELD_ABI; }

int32_t shield_call(int32_t method, int32_t len) {
	if (len < 0 || len > MAX_MESSAGE)
		return STATUS_MALFORMED;
	int32_t status = answer((uint32_t)method, pull(len));
	if (method == CONFIGURE)
		memory_keep();
	else
		memory_forget();
	return status;
}
