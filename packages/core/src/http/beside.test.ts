import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import type { AccessFailedEvent } from '../access/events.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createBeside } from './beside.ts';
import { bounded } from './bounded.ts';
import type { RequestEvent } from './events.ts';
import { readWebRequest } from './fetch.ts';
import type { HandleBeside, HttpResponse } from './message.ts';

const token: HttpResponse = { status: 200, headers: {}, body: Buffer.from('{}') };
const request = (path = '/token', init?: RequestInit) =>
  readWebRequest(new Request(`http://cache.example${path}`, init));

function make(handle: HandleBeside, { maxRequests = 9, isClosed = false } = {}) {
  const clock = manualClock();
  const events: (RequestEvent | AccessFailedEvent)[] = [];
  const observe = (event: RequestEvent | AccessFailedEvent) => void events.push(event);
  const beside = createBeside({ handle, within: '5s', anonymous: true, audit: true }, { clock, observe });
  const answers = bounded(async () => token, { maxRequests, closed: () => isClosed, beside, now: () => 0, observe });
  return { ...answers, clock, events };
}

describe('a path of access beside /v2/', () => {
  it('is answered, with its body and context in hand, and told of', async () => {
    const { handle, events } = make(async (asked) => {
      const body = await asked.body(100);
      return { ...token, body: Buffer.from(`${asked.method} ${asked.url} ${asked.context} ${Buffer.from(body)}`) };
    });
    const asked = { ...request('/token?a=b', { method: 'POST', body: 'grant' }), context: 'host' };
    expect(String((await handle(asked))?.body)).toBe('POST /token?a=b host grant');
    expect(events).toEqual([{ type: 'request', kind: 'access', method: 'POST', status: 200, durationMs: 0 }]);
  });

  it('is the host’s where it is none, and nobody is told', async () => {
    const { handle, events } = make(async () => undefined);
    expect(await handle(request('/metrics'))).toBeUndefined();
    expect(events).toEqual([]);
  });

  it('does not get those below /v2/', async () => {
    const asked: string[] = [];
    const { handle } = make(async ({ url }) => void asked.push(url));
    expect((await handle(request('/v2/')))?.status).toBe(200);
    expect((await handle(request('/v2')))?.status).toBe(200);
    expect(asked).toEqual([]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no keys');
      },
      503,
      'access-failed',
    ],
    ['rejects', () => Promise.reject(new Error('no keys')), 503, 'access-failed'],
    ['gives what is no response', async () => ({ status: '200' }), 503, 'access-failed'],
    [
      'finds too much to read',
      () => Promise.reject(new ProxyCacheError('body-too-large', 'over 100 bytes')),
      413,
      'body-too-large',
    ],
    [
      'has too much to do',
      () => Promise.reject(new ProxyCacheError('too-many-requests', 'later')),
      503,
      'too-many-requests',
    ],
  ])('that %s is refused', async (_, answer, status, error) => {
    const { handle, events } = make(answer as never);
    expect(await handle(request())).toMatchObject({ status });
    const failed = error === 'access-failed' ? [{ type: 'access-failed', hook: 'handle' }] : [];
    expect(events).toMatchObject([...failed, { type: 'request', kind: 'access', status, error }]);
  });

  it('that is late is refused, and the body that comes after that is closed', async () => {
    let answer: (response: HttpResponse) => void = () => undefined;
    const { handle, clock, idle } = make(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    );
    const asked = handle(request());
    await clock.untilPending(1);
    await clock.advance(5_000);
    expect((await asked)?.status).toBe(503);
    await idle();
    let isClosed = false;
    const iterator = {
      next: async () => ({ done: true as const, value: undefined }),
      async return() {
        isClosed = true;
        return { done: true as const, value: undefined };
      },
    };
    answer({ ...token, body: { [Symbol.asyncIterator]: () => iterator } });
    await expect.poll(() => isClosed).toBe(true);
  });

  it('whose client left is told as such', async () => {
    const client = new AbortController();
    const { handle, events } = make(async () => {
      client.abort();
      throw new Error('some consequence');
    });
    await handle(readWebRequest(new Request('http://cache.example/token', { signal: client.signal })));
    expect(events).toMatchObject([{ kind: 'access', error: 'aborted' }]);
  });

  it('that is its own is refused over the limit and once closed, and not left to the host', async () => {
    let asked = 0;
    const owns = (url: string) => url.startsWith('/token');
    const hang = () => {
      asked++;
      return new Promise<undefined>(() => undefined);
    };
    const held = make(Object.assign(hang, { owns }), { maxRequests: 1 });
    void held.handle(request());
    const refused = { status: 503, headers: { 'retry-after': '1' } };
    expect(await held.handle(request('/token?service=a'))).toMatchObject(refused);
    expect(held.events).toMatchObject([{ kind: 'access', method: 'GET', status: 503, error: 'too-many-requests' }]);
    expect(await held.handle(request('/metrics'))).toBeUndefined();
    const closed = make(Object.assign(hang, { owns }), { isClosed: true });
    expect(await closed.handle(request())).toMatchObject({ status: 503 });
    expect(closed.events).toMatchObject([{ kind: 'access', error: 'closed' }]);
    expect(await closed.handle(request('/metrics'))).toBeUndefined();
    expect(asked).toBe(1);
  });

  it('counts like any other, and over the limit or closed it is left to the host where it may be none of its own', async () => {
    let asked = 0;
    const held = make(
      () => {
        asked++;
        return new Promise(() => undefined);
      },
      { maxRequests: 1 },
    );
    void held.handle(request());
    expect(await held.handle(request())).toBeUndefined();
    expect((await held.handle(request('/v2/')))?.status).toBe(503);
    const closed = make(
      async () => {
        asked++;
        return token;
      },
      { isClosed: true },
    );
    expect(await closed.handle(request())).toBeUndefined();
    expect(asked).toBe(1);
  });
});
