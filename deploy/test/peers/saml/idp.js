// An identity provider of SAML for the tests, by the library samlp. It logs everybody in as
// the person of its configuration, a JSON file that is read anew for each request:
//   {issuer, key, cert, person, groups, sp: {entity_id, acs, slo, cert}, sign_response,
//    sign_assertion, encrypt, logout_binding}
// It listens on loopback, on a port that it prints.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const querystring = require('querystring');
const url = require('url');
const samlp = require('samlp');
const SessionParticipants = require('samlp/lib/sessionParticipants');

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect';
const POST = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST';

const config = () => JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const sessions = new Map();

// sessionOf is what the browser is known by.
function sessionOf(req, res) {
	const found = /(?:^|; )samlp=([0-9a-f]+)/.exec(req.headers.cookie || '');
	if (found && sessions.has(found[1])) return sessions.get(found[1]);
	const id = crypto.randomBytes(16).toString('hex');
	const session = {participants: []};
	sessions.set(id, session);
	res.setHeader('Set-Cookie', `samlp=${id}; HttpOnly; Path=/`);
	return session;
}

// mapper says what is said of the person.
function mapper(c) {
	return () => ({
		getClaims: () => Object.assign({}, c.attributes),
		getNameIdentifier: () => ({nameIdentifier: c.name_id, nameIdentifierFormat: c.name_id_format}),
	});
}

function login(c, req, res, fail) {
	const sessionIndex = '_' + crypto.randomBytes(16).toString('hex');
	req.session.participants.push({
		serviceProviderId: c.sp.entity_id, sessionIndex, nameId: c.name_id, nameIdFormat: c.name_id_format,
		serviceProviderLogoutURL: c.sp.slo, cert: c.sp.cert, binding: c.logout_binding === 'post' ? POST : REDIRECT,
	});
	const options = {
		issuer: c.issuer, key: c.key, cert: c.cert, signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256',
		audience: c.sp.entity_id, destination: c.sp.acs, recipient: c.sp.acs, lifetimeInSeconds: 300, sessionIndex,
		signResponse: c.sign_response, signAssertion: c.sign_assertion,
		authnContextClassRef: 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport',
		profileMapper: mapper(c), getUserFromRequest: () => ({}), getPostURL: (audience, dom, r, done) => done(null, c.sp.acs),
	};
	if (c.encrypt) {
		options.encryptionCert = c.sp.cert;
		options.encryptionPublicKey = crypto.createPublicKey(c.sp.cert).export({type: 'spki', format: 'pem'});
		Object.assign(options, {encryptionAlgorithm: c.encrypt, disallowEncryptionWithInsecureAlgorithm: false, warnOnInsecureEncryptionAlgorithm: false});
	}
	// A request that is signed must be so by the service provider.
	options.signingCert = c.sp.cert;
	samlp.auth(options)(req, res, fail);
}

function logout(c, req, res, fail) {
	samlp.logout({
		issuer: c.issuer, key: c.key, cert: c.cert, signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256', deflate: true,
		protocolBinding: c.logout_binding === 'post' ? POST : REDIRECT,
		sessionParticipants: new SessionParticipants(req.session.participants),
		clearIdPSession: done => { req.session.participants = []; done(); },
	})(req, res, fail);
}

function metadata(c, req, res, fail) {
	samlp.metadata({issuer: c.issuer, cert: c.cert, redirectEndpointPath: '/sso', postEndpointPath: '/sso', logoutEndpointPaths: {redirect: '/logout', post: '/logout'}})(req, res, fail);
}

const server = http.createServer((req, res) => {
	const chunks = [];
	req.on('data', chunk => chunks.push(chunk));
	req.on('end', () => {
		const address = url.parse(req.url);
		Object.assign(req, {
			query: Object.assign({}, querystring.parse(address.query || '')), originalUrl: req.url, connection: req.connection,
			body: Object.assign({}, querystring.parse(Buffer.concat(chunks).toString())), get: name => req.headers[name.toLowerCase()], protocol: 'http',
		});
		res.set = (name, value) => { res.setHeader(name, value); return res; };
		res.send = (status, text) => {
			if (typeof status !== 'number') { text = status; status = 200; }
			res.statusCode = status;
			res.end(text === undefined ? String(status) : String(text));
		};
		res.redirect = to => { res.statusCode = 302; res.setHeader('Location', to); res.end(); };
		const fail = err => { if (!res.writableEnded) { res.statusCode = 500; res.end('samlp: ' + (err && err.stack)); } };
		try {
			req.session = sessionOf(req, res);
			const serve = {'/sso': login, '/logout': logout, '/metadata': metadata}[address.pathname];
			if (!serve) { res.statusCode = 404; res.end(); return; }
			serve(config(), req, res, fail);
		} catch (err) {
			fail(err);
		}
	});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
// Whoever started this holds the other end of its input. When they are gone, so is this.
process.stdin.on('end', () => process.exit(0)).resume();
