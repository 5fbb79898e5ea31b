import { connect } from 'node:net';
import { manualClock, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { openAdmin, startAdmin } from './admin-under-test.ts';

const { ask, askRaw, url, stop } = await openAdmin();
afterAll(stop);

const post = (body: unknown) => ({ method: 'POST', body });

describe('a path', () => {
  test.each([
    '/upstreams/my-own%2Fcheck',
    '/upstreams/..%2F..%2Fjobs',
    '/upstreams/../jobs',
    '/upstreams//my-own',
    '/upstreams/my-own/',
    '//upstreams',
    '/Upstreams',
    '/upstreams%2Fmy-own',
    '/__proto__',
    '/upstreams/__proto__',
    '/jobs/constructor',
    `/upstreams/${'a'.repeat(10_000)}`,
  ])('that means nothing is not there: %.60s', async (path) => {
    expect((await ask(path)).status).toBe(404);
  });

  test.each(['/upstreams/%', '/upstreams/%E0%A4%A', '/upstreams/%zz'])('that is none is refused: %s', async (path) => {
    expect((await ask(path)).json).toMatchObject({ status: 400, code: 'name-invalid' });
  });

  test.each(['/admin', '/admin/', '/admin/v2/upstreams', '/admin/v1', '/admin?x'])(
    '%s says where it goes on',
    async (path) => {
      const told = await askRaw(path);
      expect(told.json).toMatchObject({ status: 404, detail: expect.stringContaining('/admin/v1/openapi.json') });
    },
  );

  test.each(['/v2/', '/administrator', '/'])('%s is not the API’s', async (path) => {
    expect((await askRaw(path)).headers['content-type']).not.toContain('problem');
  });
});

describe('a method', () => {
  test.each([
    ['PUT', '/upstreams', 'GET, HEAD'],
    ['DELETE', '/jobs', 'GET, HEAD, POST, OPTIONS'],
    ['TRACE', '/openapi.json', 'GET, HEAD, OPTIONS'],
    ['PROPFIND', '/jobs/1', 'GET, HEAD, DELETE, OPTIONS'],
  ])('%s that %s does not know gets 405, and which it knows', async (method, path, allow) => {
    const told = await ask(path, { method });
    expect(told.json).toMatchObject({ status: 405, code: 'unsupported' });
    expect(told.headers.allow).toContain(allow);
  });

  test('HEAD is answered as GET, without a body', async () => {
    const [got, head] = [await ask('/upstreams'), await ask('/upstreams', { method: 'HEAD' })];
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(got.headers['content-length']);
    expect((await ask('/nothing', { method: 'HEAD' })).status).toBe(404);
  });

  test('OPTIONS says which there are', async () => {
    const told = await ask('/jobs/1', { method: 'OPTIONS' });
    expect([told.status, told.headers.allow]).toEqual([204, 'GET, HEAD, DELETE, OPTIONS']);
  });
});

describe('a query', () => {
  test.each(['?kind=sweep', '?__proto__=1', '?constructor', '?%F0%9F'])(
    'with what there is not is refused: %s',
    async (query) => {
      expect((await ask(`/jobs${query}`)).json).toMatchObject({ status: 400, code: 'invalid-options' });
    },
  );
});

describe('a body', () => {
  test.each([
    ['nothing', undefined],
    ['no JSON', '{"kind": "sweep" password 271828'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]).toString('latin1')],
    ['another kind', { kind: '271828' }],
    ['no kind', {}],
    ['null', 'null'],
    ['a list', [{ kind: 'sweep' }]],
    ['a field there is not', { kind: 'sweep', dryrun: true }],
    ['a field of another kind', { kind: 'sweep', bytesPerSecond: 1 }],
    ['a prototype', '{"kind":"sweep","__proto__":{"dryRun":true}}'],
    ['a constructor', '{"kind":"sweep","constructor":{"prototype":{}}}'],
    ['the wrong type', { kind: 'sweep', dryRun: '271828' }],
    ['a fraction', { kind: 'scrub', bytesPerSecond: 1.5 }],
    ['zero', { kind: 'scrub', bytesPerSecond: 0 }],
    ['more than a number holds', '{"kind":"scrub","bytesPerSecond":1e400}'],
    ['a bomb of brackets', `${'['.repeat(500_000)}${']'.repeat(500_000)}`],
    ['a bomb of objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
  ])('of %s is refused, and nothing of it is said', async (_, body) => {
    const told = await ask('/jobs', post(body));
    expect(told.json).toMatchObject({ status: 400, code: 'invalid-options' });
    expect(told.json.detail).toMatch(/^body/);
    expect(told.text).not.toContain('271828');
    expect((await ask('/jobs')).json.jobs).toEqual([]);
  });

  test('whose upstream is half a character is refused, and was a failure of the API', async () => {
    const told = await ask('/purge', post('{"upstream":"\\ud800"}'));
    expect(told.json).toMatchObject({ status: 400, code: 'invalid-options' });
    expect(told.json.detail).toMatch(/^purge: upstream: expected only lowercase letters/);
  });

  test('says by name what there is not, and what there is', async () => {
    const told = await ask('/jobs', post({ kind: 'sweep', dryrun: true }));
    expect(told.json.detail).toBe('body: there is no field "dryrun"; it has kind, dryRun');
  });

  test('longer than a mebibyte is refused before it is read', async () => {
    const told = await ask('/jobs', post(JSON.stringify({ kind: 'sweep', x: 'x'.repeat(2 ** 20) })));
    expect(told.json).toMatchObject({ status: 413, code: 'body-too-large' });
  });

  test('that grows past it without saying so is refused', async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('latin1');
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk;
    });
    socket.on('error', () => undefined);
    socket.write('POST /admin/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n');
    socket.write('transfer-encoding: chunked\r\n\r\n');
    for (let sent = 0; sent < 32; sent++) socket.write(`10000\r\n${' '.repeat(65_536)}\r\n`);
    await expect.poll(() => received).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
  });

  test('where none is taken is refused', async () => {
    const told = await ask('/jobs/1', { method: 'DELETE', body: {} });
    expect(told.json).toMatchObject({ status: 400, detail: 'body: expected none' });
  });
});

describe('whoever sends no more of a body', () => {
  const head = 'POST /admin/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';

  /** Connections that each have sent the beginning of a body. */
  async function holdBodies(at: string, count: number): Promise<{ answers: string[] }> {
    const answers: string[] = [];
    for (let index = 0; index < count; index++) {
      const socket = connect(Number(new URL(at).port), '127.0.0.1').setEncoding('latin1');
      onTestFinished(() => void socket.destroy());
      socket.on('error', () => undefined).on('data', (chunk) => answers.push(`${chunk}`));
      socket.write(`${head}content-length: 50\r\n\r\n{`);
    }
    return { answers };
  }

  test('keeps nobody from reading, and is let go after 10 s', async () => {
    const clock = manualClock();
    const held = await startAdmin({ clock });
    const { answers } = await holdBodies(held.url, 64);
    const write = () => held.ask('/jobs/none', { method: 'DELETE' });
    await expect.poll(async () => (await write()).status, { timeout: 60_000 }).toBe(503);
    expect((await held.ask('/upstreams')).status).toBe(200);
    await clock.advance(10_000);
    await expect.poll(() => answers.length, { timeout: 60_000 }).toBe(64);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect((await write()).status).toBe(404);
  });
});

test('a client that leaves is no failure that the host is told of', async () => {
  const upstream = await startFakeUpstream();
  onTestFinished(() => upstream.stop());
  upstream.on({}, { hang: true });
  const errors: unknown[] = [];
  const told = await startAdmin({ onError: (error) => errors.push(error) });
  const leaving = new AbortController();
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ key: 'hangs', url: upstream.url });
  const asked = fetch(`${told.url}/admin/v1/check`, { method: 'POST', headers, body, signal: leaving.signal });
  const ended = expect(asked).rejects.toThrow();
  await expect.poll(() => upstream.connections().open, { timeout: 60_000 }).toBe(1);
  leaving.abort();
  await ended;
  await expect.poll(() => upstream.connections().open, { timeout: 60_000 }).toBe(0);
  expect((await told.ask('/upstreams')).status).toBe(200);
  expect(errors).toEqual([]);
});
