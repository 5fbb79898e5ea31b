import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FakeUpstream, htmlPage, startFakeUpstream } from '@proxycache/test-kit';
import { pino } from 'pino';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { checkConfig } from './check-config.ts';
import { parseConfig } from './load-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-check-'));
afterAll(() => rmSync(folder, { recursive: true }));
const logger = pino({ level: 'silent' });
let upstream: FakeUpstream;
beforeEach(async () => {
  upstream = await startFakeUpstream();
});
afterEach(() => upstream.stop());

const redis = (options: object) => ({ metadata: { redis: options } });

async function check(input: object): Promise<{ isFine: boolean; lines: string[] }> {
  const lines: string[] = [];
  const task = { loaded: { config: parseConfig(input, {}), folder }, upstreams: [] };
  return { isFine: await checkConfig(task, { logger, write: (line) => void lines.push(line) }), lines };
}

test('what is fine is said to be, and no storage is made', async () => {
  const { isFine, lines } = await check({ upstreams: [{ key: 'own-one', url: upstream.url }] });
  expect(isFine).toBe(true);
  expect(lines).toEqual([
    'ok       the configuration',
    expect.stringMatching(/^ok {7}own-one at 127\.0\.0\.1:\d+: a registry that lets us in \(\d+ ms\)$/),
  ]);
  expect(readdirSync(folder)).toEqual([]);
});

test('each upstream and endpoint that will not do has a line that says why, and the others are asked nevertheless', async () => {
  const portal = await startFakeUpstream();
  portal.serve('/v2/', () => htmlPage(200, 'Sign in'));
  const { isFine, lines } = await check({
    upstreams: [
      { key: 'behind-portal', url: portal.url },
      { key: 'half-gone', url: upstream.url, endpoints: ['http://127.0.0.1:1'] },
    ],
  });
  await portal.stop();
  expect(isFine).toBe(false);
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^FAILED {3}behind-portal at 127\.0\.0\.1:\d+: web-page: .*portal/),
    expect.stringMatching(/^ok {7}half-gone at/),
    expect.stringMatching(/^FAILED {3}half-gone at 127\.0\.0\.1:1: refused: .*nothing listens/),
  ]);
});

test('what a start would warn of is a line, and no reason to fail', async () => {
  upstream.serve('/v2/', () => ({ status: 200, headers: {}, body: '' }));
  const hub = { source: 'docker-hub', url: upstream.url };
  const { isFine, lines } = await check({
    defaultUpstream: 'docker-hub',
    upstreams: [hub, { key: 'corp', url: upstream.url }],
  });
  expect(isFine).toBe(true);
  expect(lines).toContainEqual(expect.stringMatching(/^warning {2}.*"corp" hides the Docker Hub account/));
});

test('what a start takes is taken, whatever stays elsewhere: upstreams’ limits and peers were refused, and nothing is connected to', async () => {
  let connections = 0;
  const redis = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((done) => redis.listen(0, '127.0.0.1', done));
  const at = `127.0.0.1:${(redis.address() as AddressInfo).port}`;
  const { isFine, lines } = await check({
    upstreams: [{ key: 'own-one', url: upstream.url, maxBytes: '1GiB' }],
    admin: { port: 0 },
    peers: { url: 'http://127.0.0.1:1', secret: 'of-thirty-two-characters-or-more' },
    storage: {
      metadata: { redis: { url: `redis://${at}` } },
      blobs: { s3: { bucket: 'blobs', endpoint: `http://${at}`, accessKeyId: 'a', secretAccessKey: 'b' } },
    },
  });
  await new Promise((done) => redis.close(done));
  expect([isFine, lines[0], lines.length]).toEqual([true, 'ok       the configuration', 2]);
  expect(connections).toBe(0);
});

test('an upstream that is offline is skipped, and was no reason to fail', async () => {
  const { isFine, lines } = await check({
    upstreams: [
      { key: 'own-one', url: upstream.url },
      { key: 'far-one', url: 'http://127.0.0.1:1', mode: 'offline' },
    ],
  });
  expect(isFine).toBe(true);
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^ok {7}own-one at/),
    'skipped  far-one at 127.0.0.1:1: it is set to offline, and asked nothing',
  ]);
});

test.each([
  [{ listen: { tls: { cert: 'none.pem', key: 'none.key' } } }, 'listen.tls.cert: cannot be read'],
  [{ access: { basic: { htpasswd: 'nobody' } } }, 'access.basic.htpasswd'],
  [
    { upstreams: [{ key: 'a-b', url: 'https://a.example' }], defaultUpstream: 'a-c' },
    'defaultUpstream: expected one of "a-b"',
  ],
  [{ admin: { port: 0, tokenFile: 'none' } }, 'admin.tokenFile: ENOENT'],
  [
    { storage: redis({ url: 'rediss://a.example', tls: { ca: 'none.pem' } }) },
    'storage.metadata.redis.tls.ca: cannot be',
  ],
  [{ storage: redis({ url: 'redis://a.example', prefix: '{x}' }) }, 'storage.metadata.redis.prefix: expected'],
  [{ storage: { blobs: { s3: { bucket: 'b', prefix: 'x' } } } }, 'storage.blobs.s3.prefix: expected'],
  [{ retention: { every: 0 } }, 'retention.every: expected a duration of 60000 ms or more'],
  [{ retention: { rules: [{ repositories: ['team**'] }] } }, 'retention.rules[0].repositories[0]: expected a pattern'],
  [{ limits: { stalledFor: 0 } }, 'limits.stalledFor: expected a duration'],
])('what no server would start with is refused: %j', async (input, message) => {
  const upstreams = [{ key: 'own-one', url: upstream.url }];
  await expect(check({ upstreams, ...input })).rejects.toThrow(message);
});
