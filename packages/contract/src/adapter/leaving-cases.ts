import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { adapterCase, type MountAdapter } from './adapter-case.ts';
import { ask, open, openRaw } from './client.ts';
import { chunks, found, scriptedBody, signal, wholeBody } from './scripted-body.ts';

const never = new Promise<undefined>(() => undefined);
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: registry\r\n\r\n`;

/** Clients that go away. */
export const leavingCases: Contract<MountAdapter> = [
  adapterCase('closes the body and fires the signal when its client leaves half-way', async ({ serve }) => {
    const body = scriptedBody(() => Buffer.alloc(65_536));
    const aborted = signal();
    const url = await serve((request) => {
      request.signal.addEventListener('abort', aborted.fire);
      return found(body);
    });
    const incoming = await open(`${url}/v2/app/blobs/1`);
    incoming.on('error', () => undefined).destroy();
    await Promise.all([body.closed, aborted.fired]);
  }),

  adapterCase('closes the body when its client leaves while a chunk is awaited', async ({ serve }) => {
    const body = scriptedBody((index) => (index === 0 ? Buffer.from('first') : never));
    const url = await serve(() => found(body));
    const { socket, received } = await openRaw(url);
    socket.write(get('/v2/app/blobs/1'));
    await received(/first/);
    socket.destroy();
    await body.closed;
  }),

  adapterCase(
    'fires the signal when a client leaves before the answer, and closes the body it will not get',
    async (bench) => {
      const asked = signal();
      const body = chunks('too late');
      const url = await bench.serve(async (request) => {
        const aborted = signal();
        request.signal.addEventListener('abort', aborted.fire);
        asked.fire();
        await aborted.fired;
        return found(body);
      });
      const { socket } = await openRaw(url);
      socket.write(get('/v2/app/manifests/1'));
      await asked.fired;
      socket.destroy();
      await body.closed;
      assert.equal(body.asked, 0);
    },
  ),

  adapterCase('gives a signal that has fired already to a cache that asks for it too late', async ({ serve }) => {
    const asked = signal();
    const left = signal();
    const seen: boolean[] = [];
    const url = await serve(async (request) => {
      if (request.url === '/v2/other') return found(chunks('other'));
      asked.fire();
      await left.fired;
      seen.push(request.signal.aborted);
      return undefined;
    });
    const { socket, ended } = await openRaw(url);
    socket.write(get('/v2/'));
    await asked.fired;
    socket.resetAndDestroy();
    await ended;
    // The server has seen the reset when it has answered a request that was sent after it.
    await ask(`${url}/v2/other`);
    await ask(`${url}/v2/other`);
    left.fire();
    await ask(`${url}/v2/other`);
    assert.deepEqual(seen, [true]);
  }),

  adapterCase('closes the body of a pipelined request that never had its turn', async ({ serve }) => {
    const first = scriptedBody((index) => (index === 0 ? Buffer.from('first') : never));
    const second = scriptedBody(() => Buffer.alloc(65_536));
    const url = await serve(({ url: path }) => found(path === '/v2/1' ? first : second));
    const { socket, received } = await openRaw(url);
    socket.write(get('/v2/1') + get('/v2/2'));
    await received(/first/);
    socket.destroy();
    await Promise.all([first.closed, second.closed]);
    assert.ok(second.asked <= 2, 'a response that has no connection yet was read ahead');
  }),

  adapterCase('closes a body in one piece of a pipelined request that never had its turn', async ({ serve }) => {
    const first = scriptedBody((index) => (index === 0 ? Buffer.from('first') : never));
    const second = wholeBody(Buffer.alloc(65_536));
    const asked = signal();
    const url = await serve(({ url: path }) => {
      if (path === '/v2/2') asked.fire();
      return path === '/v2/1' ? found(first) : found(second, { 'content-length': '65536' });
    });
    const { socket, received } = await openRaw(url);
    socket.write(get('/v2/1') + get('/v2/2'));
    await Promise.all([received(/first/), asked.fired]);
    socket.destroy();
    assert.equal(await second.over, false);
    await first.closed;
  }),

  adapterCase('lets other clients go on when one leaves', async ({ serve }) => {
    const gone = signal();
    const url = await serve(({ url: path }) => {
      if (path === '/v2/leaves') return found(scriptedBody(() => Buffer.alloc(65_536)));
      return found(
        scriptedBody((index) =>
          index === 0 ? Buffer.from('one ') : gone.fired.then(() => (index === 1 ? Buffer.from('two') : undefined)),
        ),
      );
    });
    const staying = ask(`${url}/v2/stays`);
    const leaving = await open(`${url}/v2/leaves`);
    leaving.on('error', () => undefined).destroy();
    gone.fire();
    assert.equal((await staying).body.toString(), 'one two');
  }),

  adapterCase('does not fire the signal of a request that was answered', async ({ serve }) => {
    const signals: AbortSignal[] = [];
    const url = await serve((request) => {
      signals.push(request.signal);
      return found(chunks('whole'), { 'content-length': '5' });
    });
    const { socket, received, ended } = await openRaw(url);
    socket.write(get('/v2/1'));
    await received(/whole/);
    socket.end(get('/v2/2'));
    await received(/whole[\s\S]*whole/);
    await ended;
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [false, false],
    );
  }),
];
