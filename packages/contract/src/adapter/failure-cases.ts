import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { adapterCase, type Bench, type MountAdapter } from './adapter-case.ts';
import { type Answer, ask, openRaw } from './client.ts';
import { chunks, found, type ScriptedBody, type Step, scriptedBody, signal } from './scripted-body.ts';

const failing = () => Promise.reject(new Error('the spool broke'));

/** What is never to look like success. */
export const failureCases: Contract<MountAdapter> = [
  adapterCase('answers 500 with an OCI error when the cache rejects', async ({ serve }) => {
    const url = await serve(() => Promise.reject(new Error('secret detail')));
    assertInternalError(await ask(`${url}/v2/`));
  }),

  adapterCase(
    'answers 500 when a body fails before its first byte, with nothing of the answer it belonged to',
    async (bench) => {
      const url = await bench.serve(() => found(scriptedBody(failing), { 'content-length': '9', etag: '"sha256:1"' }));
      const answer = await ask(`${url}/v2/app/blobs/1`);
      assertInternalError(answer);
      assert.equal(answer.headers.etag, undefined);
    },
  ),

  adapterCase(
    'answers 500 when a body is not as long as its Content-Length before its first byte',
    async ({ serve }) => {
      const bodies = [Buffer.from('four'), null, chunks(), chunks('fourteen bytes')];
      const url = await serve(({ url: path }) => found(bodies[Number(path.at(-1))] ?? null, { 'content-length': '9' }));
      for (const index of bodies.keys()) assertInternalError(await ask(`${url}/v2/${index}`));
    },
  ),

  adapterCase('answers 500 when a header cannot be sent', async ({ serve }) => {
    const url = await serve(() => found(chunks('layer'), { link: 'a\r\nset-cookie: b' }));
    const answer = await ask(`${url}/v2/`);
    assertInternalError(answer);
    assert.equal(answer.headers['link'], undefined);
  }),

  adapterCase('resets the connection when a body fails after its first byte', async (bench) => {
    await assertReset(bench, () => Promise.reject(new Error('the spool broke')), { 'content-length': '8' });
  }),

  adapterCase('resets the connection when a body of unknown length fails after its first byte', async (bench) => {
    await assertReset(bench, () => Promise.reject(new Error('the spool broke')), {});
  }),

  adapterCase('resets the connection when a body ends before its Content-Length', async (bench) => {
    await assertReset(bench, () => undefined, { 'content-length': '8' });
  }),

  adapterCase('resets the connection when a body goes on after its Content-Length, and closes it', async (bench) => {
    const bodies = await assertReset(bench, () => Buffer.from('whole and more'), { 'content-length': '8' });
    await Promise.all(bodies.map(({ closed }) => closed));
  }),

  adapterCase('serves the next request after one that failed', async ({ serve }) => {
    const url = await serve(({ url: path }) => found(path === '/v2/bad' ? scriptedBody(failing) : chunks('good')));
    assert.equal((await ask(`${url}/v2/bad`)).status, 500);
    assert.equal((await ask(`${url}/v2/good`)).body.toString(), 'good');
  }),
];

function assertInternalError({ status, headers, body }: Answer): void {
  assert.equal(status, 500);
  assert.equal(headers['content-type'], 'application/json');
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; message: string }[] };
  assert.equal(errors[0]?.code, 'UNKNOWN');
  assert.ok(!body.includes('secret'), 'the cause of an internal error is not for clients');
}

async function assertReset(bench: Bench, rest: () => Step, headers: Record<string, string>): Promise<ScriptedBody[]> {
  const bodies: ScriptedBody[] = [];
  const halfSeen = signal();
  const url = await bench.serve(() => {
    const body = scriptedBody((index) => (index === 0 ? Buffer.from('half') : halfSeen.fired.then(rest)));
    bodies.push(body);
    return found(body, headers);
  });
  const { socket, received, ended } = await openRaw(url);
  socket.write('GET /v2/app/blobs/1 HTTP/1.1\r\nHost: registry\r\n\r\n');
  // Node reports a reset that arrives along with data as a clean end: the data must have been read before.
  await received(/half/);
  halfSeen.fire();
  assert.equal(await ended, 'ECONNRESET');
  await assert.rejects(ask(`${url}/v2/app/blobs/1`), 'the client took a broken body for a whole one');
  return bodies;
}
