// A certified OpenID provider on loopback, with forms that a script can fill in and controls on the
// same port with which a test breaks things. Prints {"issuer", "port"} as its only line on stdout and
// ends when its stdin does, so that no test leaves it behind.
//
// Environment: PORT (0), AT_TTL, RT_TTL (seconds), RESOURCES (resource URIs, separated by spaces),
// DPOP_NONCE (1: a DPoP proof must have a nonce of ours).
// Controls (GET): /_fault?path=/token&mode=503|drop-before|drop-after|slow|hold&n=1&ms=1000, /_release,
// /_disable?user=, /_enable?user=, /_resource?uri=, /_log, /_issued
import * as crypto from 'node:crypto';
import * as http from 'node:http';
import * as querystring from 'node:querystring';

for (const word of ['log', 'info', 'warn', 'debug']) console[word] = console.error; // stdout is ours
const { default: Provider, errors } = await import('oidc-provider');

const seconds = (name, fallback) => Number(process.env[name] ?? fallback);
const AT_TTL = seconds('AT_TTL', 300);
const RT_TTL = seconds('RT_TTL', 86400);
const resources = new Set((process.env.RESOURCES ?? '').split(' ').filter(Boolean));
const users = new Map(['alice', 'bob', 'carol'].map((name) => [name, { password: `${name}-password` }]));
const disabled = new Set();
const faults = [];
const held = [];
const log = []; // {method, path, status, form: names only}
const issued = []; // {kind, value}

const server = http.createServer();
await new Promise((resolve) => server.listen(seconds('PORT', 0), '127.0.0.1', resolve));
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;

const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...privateKey.export({ format: 'jwk' }), kid: crypto.randomUUID(), alg: 'RS256', use: 'sig' };

const provider = new Provider(issuer, {
  jwks: { keys: [jwk] },
  cookies: { keys: [crypto.randomUUID()] },
  clients: [{
    client_id: 'acp-stdio',
    client_name: 'acp-stdio',
    application_type: 'native', // RFC 8252 section 7.3: any port of the loopback redirects below
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback'],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  }],
  async findAccount(ctx, id) {
    if (!users.has(id) || disabled.has(id)) return undefined;
    return {
      accountId: id,
      claims: () => ({
        sub: id,
        name: id,
        preferred_username: id,
        email: `${id}@example.com`,
        email_verified: true,
      }),
    };
  },
  // As companies do: the address comes with the ID token, without a scope or a second request.
  claims: { openid: ['sub', 'name', 'preferred_username', 'email', 'email_verified'] },
  conformIdTokenClaims: false,
  scopes: ['openid', 'offline_access', 'finance.read'],
  rotateRefreshToken: true, // reuse of a spent one revokes the whole grant
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    registration: { enabled: process.env.REGISTRATION === '1' }, // RFC 7591, open to everybody
    revocation: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: crypto.randomBytes(32),
      requireNonce: () => process.env.DPOP_NONCE === '1',
    },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo(ctx, resource) {
        if (!resources.has(resource)) throw new errors.InvalidTarget();
        return {
          scope: 'finance.read',
          audience: resource,
          accessTokenTTL: AT_TTL,
          accessTokenFormat: 'jwt', // RFC 9068
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
  },
  ttl: {
    AccessToken: AT_TTL,
    RefreshToken: RT_TTL,
    IdToken: 300,
    AuthorizationCode: 60,
    DeviceCode: 600,
    Grant: 86400,
    Interaction: 600,
    Session: 86400,
  },
});

const keep = (kind, value) => value && issued.push({ kind, value });
provider.on('authorization.success', (ctx, out) => keep('code', out?.code));
provider.on('device_code.saved', (code) => keep('device_code', code.jti));
provider.on('grant.success', (ctx) => {
  for (const kind of ['access_token', 'refresh_token', 'id_token']) keep(kind, ctx.body[kind]);
});
provider.on('server_error', (ctx, error) => console.error(error));

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function page(res, title, form) {
  res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' });
  res.end(`<!doctype html><title>${escape(title)}</title><h1>${escape(title)}</h1>
<form method="post">${form}
<button type="submit">Continue</button> <button type="submit" name="abort" value="yes">Cancel</button></form>`);
}

const loginForm = '<input name="username" autofocus> <input name="password" type="password">';

async function interaction(req, res, form) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (req.method !== 'POST') {
    if (prompt.name === 'login') return page(res, 'Sign in', loginForm);
    return page(res, `Let ${params.client_id} act for ${session.accountId}?`, '');
  }
  if (form.get('abort')) {
    const refusal = { error: 'access_denied', error_description: 'The person said no' };
    return provider.interactionFinished(req, res, refusal);
  }
  if (prompt.name === 'login') {
    const name = form.get('username');
    if (disabled.has(name) || users.get(name)?.password !== form.get('password')) {
      return page(res, 'Wrong name or password', loginForm);
    }
    return provider.interactionFinished(req, res, { login: { accountId: name } });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details;
  if (missingOIDCScope.length) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims.length) grant.addOIDCClaims(missingOIDCClaims);
  for (const [uri, scopes] of Object.entries(missingResourceScopes)) grant.addResourceScope(uri, scopes.join(' '));
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

const controls = {
  '/_fault': (query) => {
    const [path, mode] = [query.get('path'), query.get('mode')];
    faults.push({ path, mode, n: Number(query.get('n') ?? 1), ms: Number(query.get('ms') ?? 1000) });
  },
  '/_release': () => { // those that are held, and those that would have been: one may be on its way still
    for (const fault of faults) if (fault.mode === 'hold') fault.n = 0;
    held.splice(0).forEach((go) => go());
  },
  '/_disable': (query) => disabled.add(query.get('user')),
  '/_enable': (query) => disabled.delete(query.get('user')),
  '/_forget': (query) => provider.Client.adapter.destroy(query.get('client')),
  '/_resource': (query) => resources.add(query.get('uri')),
  '/_log': () => log,
  '/_issued': () => issued,
};

function takeFault(path) {
  const fault = faults.find((one) => one.path === path && one.n > 0);
  if (fault) fault.n -= 1;
  return fault;
}

async function body(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

// One token request after the other, as a database's transactions would have it: two that interleave
// here could both find the refresh token unspent, and its reuse would go unnoticed. A turn ends with
// its work, not with its connection: a client may be dead before its request is let go on.
let turn = Promise.resolve();
function inTurn(work) {
  const mine = turn.then(work);
  turn = mine.catch(() => {});
  return mine;
}

const answer = provider.callback();
server.on('request', async (req, res) => {
  const url = new URL(req.url, issuer);
  const control = controls[url.pathname];
  if (control) {
    const result = control(url.searchParams);
    res.writeHead(200, { 'Content-Type': 'application/json' });
    return res.end(JSON.stringify(Array.isArray(result) ? result : {}));
  }
  try {
    const text = req.method === 'POST' ? await body(req) : '';
    const form = new URLSearchParams(text);
    const isJson = req.headers['content-type']?.startsWith('application/json');
    if (text) req.body = isJson ? JSON.parse(text) : querystring.parse(text); // for oidc-provider, since it is read
    const entry = { method: req.method, path: url.pathname, status: 0, form: [...form.keys()] };
    log.push(entry);
    res.on('close', () => { entry.status = res.statusCode; });
    const fault = takeFault(url.pathname);
    switch (fault?.mode) {
      case '503':
        res.writeHead(503, { 'Content-Type': 'text/html' });
        return res.end('<h1>Service Unavailable</h1>');
      case 'drop-before':
        return req.socket.destroy();
      case 'drop-after': // everything happened, and the answer never arrives
        res.end = () => { req.socket.destroy(); return res; };
        break;
      case 'slow':
        await new Promise((resolve) => setTimeout(resolve, fault.ms));
        break;
      case 'hold':
        await new Promise((resolve) => held.push(resolve));
        break;
      default:
    }
    if (/^\/interaction\/[^/]+$/.test(url.pathname)) return await interaction(req, res, form);
    return await (url.pathname === '/token' ? inTurn(() => answer(req, res)) : answer(req, res));
  } catch (error) {
    console.error(error);
    res.writeHead(400, { 'Content-Type': 'text/plain' });
    return res.end(error.message);
  }
});

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify({ issuer, port })}\n`);
