// An MCP server of the legacy era that takes DPoP-bound tokens only (RFC 9449, and content_digest as SEP-1932 has it).
// What is checked here is checked with panva's jose, and with nothing of the program under test.
//
// Environment: ISSUER, NONCE (n > 0: each nonce is good for n requests), SSE (1: HTTP+SSE, at /sse).
// Prints {"url"} and then a line of JSON for each request; ends when its stdin does.
import * as crypto from 'node:crypto';
import * as http from 'node:http';
import { calculateJwkThumbprint, createRemoteJWKSet, EmbeddedJWK, jwtVerify } from 'jose';

const { ISSUER, NONCE = '0', SSE } = process.env;
const path = SSE ? '/sse' : '/mcp';
const sha256 = (data, encoding) => crypto.createHash('sha256').update(data).digest(encoding);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const url = origin + path;
const keys = createRemoteJWKSet(new URL(`${ISSUER}/jwks`));
const seen = new Set();
let nonce = '';
let good = 0;
let stream; // the one of HTTP+SSE

class Refused extends Error {}

/** Who asks; throws `Refused` with the error of the challenge. */
async function caller(req, body) {
  const [scheme, token] = (req.headers.authorization ?? '').split(' ');
  if (!token) throw new Refused('');
  if (scheme !== 'DPoP' || !req.headers.dpop) throw new Refused('invalid_token');
  let access;
  let proof;
  try {
    access = (await jwtVerify(token, keys, { issuer: ISSUER, audience: url, typ: 'at+jwt' })).payload;
    proof = await jwtVerify(req.headers.dpop, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] });
  } catch (error) {
    throw new Refused('invalid_token', { cause: error });
  }
  const { payload, protectedHeader } = proof;
  const right = {
    htm: payload.htm === req.method,
    htu: payload.htu === origin + new URL(req.url, origin).pathname,
    iat: Math.abs(Date.now() / 1000 - payload.iat) < 300,
    jti: typeof payload.jti === 'string' && !seen.has(payload.jti),
    ath: payload.ath === sha256(token, 'base64url'),
    cnf: access.cnf?.jkt === await calculateJwkThumbprint(protectedHeader.jwk),
    body: payload.content_digest === (body.length ? `sha-256=:${sha256(body, 'base64')}:` : undefined),
  };
  seen.add(payload.jti);
  const wrong = Object.keys(right).filter((name) => !right[name]);
  if (wrong.length) throw new Refused('invalid_dpop_proof', { cause: new Error(wrong.join()) });
  if (Number(NONCE) && (payload.nonce !== nonce || good <= 0)) {
    [nonce, good] = [crypto.randomUUID(), Number(NONCE)];
    throw new Refused('use_dpop_nonce');
  }
  good -= 1;
  return access.sub;
}

function answerTo(frame, sub) {
  switch (frame.method) {
    case 'initialize': {
      const { protocolVersion } = frame.params;
      return { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'bound', version: '1' } };
    }
    case 'tools/list':
      return { tools: [{ name: 'whoami', inputSchema: { type: 'object' } }] };
    case 'tools/call':
      return { content: [{ type: 'text', text: sub }] };
    default:
      return undefined;
  }
}

server.on('request', async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const { pathname } = new URL(req.url, origin);
  const entry = { method: req.method, path: pathname, authorization: (req.headers.authorization ?? '').split(' ')[0] };
  if (![path, '/messages'].includes(pathname)) {
    res.writeHead(404);
    return res.end();
  }
  let sub;
  try {
    sub = await caller(req, body);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say({ ...entry, refused: error.message || 'no token', why: error.cause?.message });
    const about = error.message ? ` error="${error.message}",` : '';
    res.writeHead(401, {
      'WWW-Authenticate': `DPoP${about} algs="ES256"`,
      ...(error.message === 'use_dpop_nonce' ? { 'DPoP-Nonce': nonce } : {}),
    });
    return res.end();
  }
  const frame = body.length ? JSON.parse(body) : {};
  say({ ...entry, sub, rpc: frame.method });
  if (req.method === 'DELETE') return res.writeHead(200).end();
  if (req.method === 'GET') {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    if (SSE) {
      stream = res;
      return res.write('event: endpoint\ndata: /messages?session=1\n\n');
    }
    return res.write(': open\n\n');
  }
  const result = answerTo(frame, sub);
  const answer = result
    ? { jsonrpc: '2.0', id: frame.id, result }
    : { jsonrpc: '2.0', id: frame.id, error: { code: -32601, message: 'Method not found' } };
  if (SSE && pathname === path) return res.writeHead(405).end();
  if (frame.id === undefined) return res.writeHead(202).end();
  if (SSE) {
    stream.write(`event: message\ndata: ${JSON.stringify(answer)}\n\n`);
    return res.writeHead(202).end();
  }
  const session = frame.method === 'initialize' ? { 'Mcp-Session-Id': crypto.randomUUID() } : {};
  res.writeHead(200, { 'Content-Type': 'application/json', ...session });
  return res.end(JSON.stringify(answer));
});

process.stdin.on('end', () => process.exit(0)).resume();
say({ url });
