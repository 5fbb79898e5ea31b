import { request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ociError } from './answer.ts';
import { type FakeHost, type FakeHostOptions, startFakeHost } from './fake-host.ts';
import { chunkGate, gate } from './gate.ts';
import { selfSigned } from './self-signed.ts';

const body = Buffer.from('0123456789');

async function started(options: FakeHostOptions = {}): Promise<FakeHost> {
  const host = await startFakeHost(options, () => ({ status: 200, headers: { etag: '"x"' }, body }));
  onTestFinished(() => host.stop());
  return host;
}

/** Reads until the end or the break of the connection, and says which it was. */
function read(url: string, tls?: object): Promise<{ status?: number; text: string; end: string }> {
  return new Promise((resolve) => {
    let text = '';
    const send = tls ? tlsRequest(url, { agent: false, ...tls }) : request(url, { agent: false });
    send.on('error', (error: NodeJS.ErrnoException) => resolve({ text, end: error.code ?? error.message }));
    send.on('response', (response) => {
      const status = response.statusCode ?? 0;
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', (error: NodeJS.ErrnoException) => resolve({ status, text, end: error.message }));
      response.on('end', () => resolve({ status, text, end: 'complete' }));
    });
    send.end();
  });
}

describe('startFakeHost', () => {
  test('logs each request with what was answered', async () => {
    const host = await started();
    await fetch(`${host.url}/a?scope=x&scope=y`, { method: 'POST', body: 'form', headers: { 'X-Mark': '1' } });
    expect(host.requests).toHaveLength(1);
    expect(host.requests[0]).toMatchObject({ method: 'POST', path: '/a', body: 'form', status: 200, sentBytes: 10 });
    expect(host.requests[0]?.query.getAll('scope')).toEqual(['x', 'y']);
    expect(host.requests[0]?.headers['x-mark']).toBe('1');
    expect(host.requests[0]?.aborted).toBe(false);
  });

  test('counts by method and path, and forgets on demand', async () => {
    const host = await started();
    await fetch(`${host.url}/a/1`);
    await fetch(`${host.url}/a/2`, { method: 'HEAD' });
    expect([host.count(), host.count({ method: 'HEAD' }), host.count({ path: '/a/1' })]).toEqual([2, 1, 1]);
    expect([host.count({ path: /^\/a/ }), host.count({ path: '/a' })]).toEqual([2, 0]);
    host.clear();
    expect(host.count()).toBe(0);
  });

  test('counts the bytes it sent, in all and about one digest, and its connections', async () => {
    const host = await started();
    const hex = 'ab'.repeat(32);
    await read(`${host.url}/v2/a/blobs/sha256:${hex}`);
    await read(`${host.url}/blobs/sha256/${hex}`);
    host.on({ path: '/cut' }, { cutAfter: 3, how: 'fin' });
    await read(`${host.url}/cut`);
    await fetch(host.url, { method: 'HEAD', headers: { connection: 'close' } });
    const digest = `sha256:${hex}`;
    expect([host.sentBytes(), host.sentBytes({ digest }), host.count({ digest })]).toEqual([23, 20, 2]);
    expect(host.connections().accepted).toBe(4);
    await expect.poll(() => host.connections().open).toBe(0);
  });

  test('refuses connections while it is stopped, drops those that were open, and comes back on its port', async () => {
    const host = await started();
    const held = gate();
    host.on({ path: '/held' }, { gate: held });
    const broken = read(`${host.url}/held`);
    await held.reached;
    expect(host.underWay()).toBe(1);
    await host.stop();
    expect((await broken).end).toBe('ECONNRESET');
    expect(host.underWay()).toBe(0);
    expect((await read(host.url)).end).toBe('ECONNREFUSED');
    await host.start();
    expect(await read(host.url)).toEqual({ status: 200, text: '0123456789', end: 'complete' });
  });

  test('answers HEAD with the headers of GET and no body', async () => {
    const host = await started();
    const head = await fetch(host.url, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '10', '']);
  });

  test('serves a path of its own', async () => {
    const host = await started();
    host.serve('/token', ({ query }) => ({ status: 201, headers: {}, body: query.get('q') ?? '' }));
    const answer = await fetch(`${host.url}/token?q=hello`);
    expect([answer.status, await answer.text()]).toEqual([201, 'hello']);
  });

  test('listens on another loopback address', async () => {
    const host = await started({ address: '127.0.0.2' });
    expect(host.host).toMatch(/^127\.0\.0\.2:\d+$/);
    expect((await read(host.url)).end).toBe('complete');
  });

  test('speaks TLS, and can ask for a client certificate', async () => {
    const { ca, server, client } = await selfSigned();
    const plain = await started({ tls: server });
    expect((await read(plain.url, { ca })).text).toBe('0123456789');
    expect((await read(plain.url, {})).end).toMatch(/SELF_SIGNED|UNABLE_TO/);
    const mutual = await started({ tls: { ...server, clientCa: ca } });
    expect((await read(mutual.url, { ca, ...client })).text).toBe('0123456789');
    expect((await read(mutual.url, { ca })).end).not.toBe('complete');
    mutual.on({}, { cutAfter: 3, how: 'rst' });
    expect(await read(mutual.url, { ca, ...client })).toMatchObject({ text: '012', end: 'aborted' });
  });
});

describe('faults', () => {
  test('answer a status instead, as often as told, one after another', async () => {
    const host = await started();
    host.on({ times: 1 }, { status: 503, headers: { 'retry-after': '7' } });
    host.on({ times: 1 }, ociError(429, 'TOOMANYREQUESTS', 'slow down'));
    const first = await fetch(host.url);
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '7']);
    const second = await fetch(host.url);
    expect(await second.json()).toMatchObject({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] });
    expect((await fetch(host.url)).status).toBe(200);
  });

  test.each([
    [401, '/v2/a/manifests/1', 'UNAUTHORIZED'],
    [403, '/v2/a/manifests/1', 'DENIED'],
    [404, '/v2/a/manifests/1', 'MANIFEST_UNKNOWN'],
    [404, '/v2/a/blobs/1', 'BLOB_UNKNOWN'],
    [404, '/v2/a/tags/list', 'NAME_UNKNOWN'],
    [429, '/v2/a/blobs/1', 'TOOMANYREQUESTS'],
    [418, '/v2/a/blobs/1', 'UNKNOWN'],
  ])('speak in the registry voice: %i for %s is %s', async (status, path, code) => {
    const host = await started();
    host.on({}, { status });
    expect(await (await fetch(host.url + path)).json()).toMatchObject({ errors: [{ code }] });
  });

  test('befall only the requests that are meant, until they are taken away', async () => {
    const host = await started();
    const off = host.on({ method: 'GET', path: /^\/b/ }, { status: 500 });
    expect((await fetch(`${host.url}/a`)).status).toBe(200);
    expect((await fetch(`${host.url}/b`, { method: 'POST' })).status).toBe(200);
    expect((await fetch(`${host.url}/b`)).status).toBe(500);
    off();
    expect((await fetch(`${host.url}/b`)).status).toBe(200);
    host.on({}, { status: 500 });
    host.heal();
    expect((await fetch(`${host.url}/b`)).status).toBe(200);
  });

  test('follow a script, one step for each request that is meant, then end', async () => {
    const host = await started();
    host.script({ method: 'GET', path: '/a' }, [
      { status: 503 },
      { cutAfter: 4, how: 'fin' },
      'ok',
      [{ corruptAt: 0 }, { truncateTo: 2 }],
      { drop: 'rst' },
    ]);
    const ends: string[] = [];
    for (let i = 0; i < 6; i++) {
      await read(`${host.url}/other`);
      await fetch(`${host.url}/a`, { method: 'HEAD' });
      const { status, text, end } = await read(`${host.url}/a`);
      ends.push(`${status} ${Buffer.from(text).byteLength} ${end}`);
    }
    expect(ends).toEqual([
      '503 4 complete',
      '200 4 aborted',
      '200 10 complete',
      // A byte that is no UTF-8 any more, read as text.
      '200 4 complete',
      'undefined 0 ECONNRESET',
      '200 10 complete',
    ]);
  });

  test('of a script wait for the answer that they can befall: not a 401 on the way', async () => {
    const host = await started();
    host.on({ times: 1 }, { status: 401 });
    host.script({}, [{ cutAfter: 4, how: 'fin' }, 'ok']);
    const ends = [await read(host.url), await read(host.url), await read(host.url)];
    expect(ends.map(({ status, end }) => [status, end])).toEqual([
      [401, 'complete'],
      [200, 'aborted'],
      [200, 'complete'],
    ]);
  });

  test('of a script are taken away by its answer, and by heal()', async () => {
    const host = await started();
    host.script({}, [{ status: 503 }, { status: 503 }])();
    expect((await read(host.url)).status).toBe(200);
    host.script({}, [{ status: 503 }, { status: 503 }]);
    expect((await read(host.url)).status).toBe(503);
    host.heal();
    expect((await read(host.url)).status).toBe(200);
  });

  test('shorten a body, its length said as it then is', async () => {
    const host = await started();
    host.on({}, { truncateTo: 4 });
    const answer = await fetch(host.url);
    expect([answer.headers.get('content-length'), await answer.text()]).toEqual(['4', '0123']);
  });

  test('send slowly, and whole', async () => {
    const host = await started();
    host.on({}, { slow: { chunkBytes: 3, everyMs: 1 } });
    expect(await read(host.url)).toEqual({ status: 200, text: '0123456789', end: 'complete' });
  });

  test('redirect', async () => {
    const host = await started();
    host.on({}, { redirect: 'http://127.0.0.1:1/x' });
    const answer = await fetch(host.url, { redirect: 'manual' });
    expect([answer.status, answer.headers.get('location')]).toEqual([307, 'http://127.0.0.1:1/x']);
  });

  test('cut the body with FIN or RST after exactly so many bytes, the length promised whole', async () => {
    const host = await started();
    host.on({ path: '/fin' }, { cutAfter: 4, how: 'fin' });
    host.on({ path: '/rst' }, { cutAfter: 4, how: 'rst' });
    host.on({ path: '/none' }, { cutAfter: 0, how: 'fin' });
    expect(await read(`${host.url}/fin`)).toEqual({ status: 200, text: '0123', end: 'aborted' });
    expect(await read(`${host.url}/rst`)).toEqual({ status: 200, text: '0123', end: 'aborted' });
    expect(await read(`${host.url}/none`)).toEqual({ status: 200, text: '', end: 'aborted' });
    expect(host.requests[0]).toMatchObject({ aborted: true, sentBytes: 4 });
  });

  test('leave HEAD and error answers whole and unused', async () => {
    const host = await started();
    host.on({ times: 1 }, { status: 401 });
    host.on({ times: 1 }, { cutAfter: 4, how: 'fin' });
    await fetch(host.url, { method: 'HEAD' });
    host.on({ times: 1 }, { status: 404 });
    expect((await read(host.url)).end).toBe('complete');
    expect((await read(host.url)).end).toBe('aborted');
  });

  test('drop the connection before any answer', async () => {
    const host = await started();
    host.on({ times: 1 }, { drop: 'rst' });
    host.on({ times: 1 }, { drop: 'fin' });
    expect((await read(host.url)).end).toBe('ECONNRESET');
    expect((await read(host.url)).end).toBe('ECONNRESET');
    expect(host.requests.map(({ status }) => status)).toEqual([undefined, undefined]);
  });

  test('hang until the client leaves, and log that it did', async () => {
    const host = await started();
    host.on({}, { hang: true });
    const controller = new AbortController();
    const hanging = fetch(host.url, { signal: controller.signal });
    await expect.poll(() => host.count()).toBe(1);
    controller.abort();
    await expect(hanging).rejects.toThrow();
    await expect.poll(() => host.requests[0]?.aborted).toBe(true);
    expect(host.requests[0]?.status).toBeUndefined();
  });

  test('stall after some bytes with the connection open', async () => {
    const host = await started();
    host.on({}, { stallAfter: 4 });
    const controller = new AbortController();
    const answer = await fetch(host.url, { signal: controller.signal });
    const reader = answer.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('0123');
    expect(host.requests[0]?.aborted).toBe(false);
    controller.abort();
    await expect(reader?.read()).rejects.toThrow();
    await expect.poll(() => host.requests[0]?.aborted).toBe(true);
  });

  test('flip one byte and no other', async () => {
    const host = await started();
    host.on({}, { corruptAt: 3 });
    const bytes = Buffer.from(await (await fetch(host.url)).arrayBuffer());
    expect([...bytes].flatMap((byte, i) => (byte === body[i] ? [] : [i]))).toEqual([3]);
    expect(bytes).toHaveLength(10);
  });

  test('say so when there is no byte to flip', async () => {
    const host = await started();
    host.on({}, { corruptAt: 10 });
    expect((await read(host.url)).end).not.toBe('complete');
  });

  test('hold a request at a gate and then answer it, with any other fault', async () => {
    const host = await started();
    const held = gate();
    host.on({}, { gate: held });
    host.on({}, { cutAfter: 2, how: 'fin' });
    const reading = read(host.url);
    await held.reached;
    expect(host.requests[0]?.status).toBeUndefined();
    held.open();
    expect(await reading).toEqual({ status: 200, text: '01', end: 'aborted' });
  });

  test('let a body through chunk by chunk', async () => {
    const host = await started();
    const throttle = chunkGate(4);
    host.on({}, { throttle });
    const reader = (await fetch(host.url)).body?.getReader();
    throttle.allow();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('0123');
    expect(host.requests[0]?.sentBytes).toBe(4);
    throttle.open();
    let rest = '';
    for (let part = await reader?.read(); part?.value; part = await reader?.read()) rest += Buffer.from(part.value);
    expect(rest).toBe('456789');
  });
});
