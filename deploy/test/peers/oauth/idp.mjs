// An OpenID provider on the loopback for tests: oidc-provider, with a login form, as many
// issuers as tests ask for, and what a test can have it do wrong. It prints its address and
// ends with its standard input.
//
//   POST /control/{issuer}  {"redirect_uris", "client_jwks"} makes an issuer, and then
//                           {"rotate", "delay", "tamper", "accounts"} changes it
import * as crypto from 'node:crypto';
import * as http from 'node:http';
import { Provider } from 'oidc-provider';

const issuers = new Map();

// Memory keeps what an issuer has to remember, beyond a change of its keys.
function memory() {
  const entries = new Map();
  return class {
    constructor(kind) { this.kind = kind; }
    key(id) { return `${this.kind}:${id}`; }
    async upsert(id, payload) { entries.set(this.key(id), { ...payload }); }
    async find(id) { return entries.get(this.key(id)); }
    async findByUid(uid) { return [...entries.values()].find((e) => e.uid === uid); }
    async findByUserCode() { return undefined; }
    async destroy(id) { entries.delete(this.key(id)); }
    async consume(id) { const e = entries.get(this.key(id)); if (e) e.consumed = Math.floor(Date.now() / 1000); }
    async revokeByGrantId(grant) { for (const [k, e] of entries) if (e.grantId === grant) entries.delete(k); }
  };
}

let made = 0;
function signingKey() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  made += 1;
  return { ...privateKey.export({ format: 'jwk' }), kid: `key-${made}`, use: 'sig', alg: 'RS256' };
}

class Issuer {
  constructor(base, name, settings) {
    this.url = `${base}/${name}`;
    this.mount = `/${name}`;
    this.settings = settings;
    this.adapter = memory();
    this.cookies = [crypto.randomBytes(32).toString('hex')];
    this.accounts = {};
    this.rotate();
  }

  change({ rotate, delay, tamper, accounts }) {
    if (rotate) this.rotate();
    if (delay) this.delay = delay; // milliseconds by path
    if (tamper) this.tamper = tamper; // claims of the id_token
    if (accounts) this.accounts = accounts; // claims by subject
  }

  // rotate replaces the key. Codes and sessions stay.
  rotate() {
    this.key = signingKey();
    const client = {
      client_secret: this.settings.client_secret, redirect_uris: this.settings.redirect_uris,
      response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
    };
    this.provider = new Provider(this.url, {
      adapter: this.adapter,
      jwks: { keys: [this.key] },
      cookies: { keys: this.cookies },
      clients: [
        { ...client, client_id: 'basic', token_endpoint_auth_method: 'client_secret_basic' },
        { ...client, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
        { ...client, client_secret: undefined, client_id: 'key', token_endpoint_auth_method: 'private_key_jwt', jwks: this.settings.client_jwks },
      ],
      clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'ES256'], idTokenSigningAlgValues: ['RS256'] },
      claims: { email: ['email', 'email_verified'], profile: ['name', 'picture'], openid: ['sub'] },
      features: { devInteractions: { enabled: false } },
      pkce: { required: () => true },
      interactions: { url: (_, interaction) => `${this.mount}/interaction/${interaction.uid}` },
      ttl: { Session: 600, Interaction: 600, Grant: 600, AccessToken: 600, IdToken: 600 },
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...this.accounts[id] }) }),
      // Whoever logs in consents.
      loadExistingGrant: async (ctx) => {
        const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
        grant.addOIDCScope('openid email profile offline_access');
        await grant.save();
        return grant;
      },
    });
    this.serve = this.provider.callback();
  }

  async handle(req, res) {
    const path = req.url.slice(this.mount.length) || '/';
    const plain = path.split('?')[0];
    if (this.delay?.[plain]) await new Promise((done) => { setTimeout(done, this.delay[plain]); });
    if (plain.startsWith('/interaction/')) return this.interaction(req, res);
    if (plain === '/token' && this.tamper) this.forge(res);
    req.originalUrl = req.url; // how oidc-provider knows where it is mounted
    req.url = path;
    return this.serve(req, res);
  }

  // interaction is the login page.
  async interaction(req, res) {
    if (req.method === 'GET') {
      await this.provider.interactionDetails(req, res); // this browser's, or an error
      res.setHeader('Content-Type', 'text/html; charset=utf-8');
      res.end('<form method="post"><input name="login"><button>Sign in</button></form>');
      return;
    }
    const login = new URLSearchParams(await text(req)).get('login');
    const result = login === 'nobody' ? { error: 'access_denied' } : { login: { accountId: login } };
    await this.provider.interactionFinished(req, res, result);
  }

  // forge changes the claims of the id_token in an answer and signs them with the right key.
  forge(res) {
    const end = res.end.bind(res);
    res.end = (body, ...rest) => {
      const answer = JSON.parse(body);
      if (answer.id_token) {
        const [header, payload] = answer.id_token.split('.');
        const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), ...this.tamper };
        const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
        const key = crypto.createPrivateKey({ key: this.key, format: 'jwk' });
        answer.id_token = `${input}.${crypto.sign('sha256', Buffer.from(input), key).toString('base64url')}`;
      }
      const forged = JSON.stringify(answer);
      res.setHeader('Content-Length', Buffer.byteLength(forged));
      return end(forged, ...rest);
    };
  }
}

async function text(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const server = http.createServer(async (req, res) => {
  try {
    const [, first, second] = req.url.split(/[/?]/);
    if (first === 'control') {
      const settings = JSON.parse(await text(req));
      if (!issuers.has(second)) issuers.set(second, new Issuer(base(), second, settings));
      issuers.get(second).change(settings);
      res.end(issuers.get(second).url);
      return;
    }
    const issuer = issuers.get(first);
    if (!issuer) {
      res.statusCode = 404;
      res.end();
      return;
    }
    await issuer.handle(req, res);
  } catch (err) {
    console.error(err);
    res.statusCode = 500;
    res.end(String(err));
  }
});

const base = () => `http://127.0.0.1:${server.address().port}`;

server.listen(0, '127.0.0.1', () => console.log(base()));
process.stdin.on('close', () => process.exit(0)).resume();
