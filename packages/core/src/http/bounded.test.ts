import { gate } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import type { Bytes, WholeBytes } from '../runtime/bytes.ts';
import { bodyOf } from './body.ts';
import { type Bounds, bounded } from './bounded.ts';
import type { RequestEvent } from './events.ts';
import type { HttpRequest, HttpResponse } from './message.ts';

const request = (url = '/v2/', method = 'GET'): HttpRequest => ({
  method,
  url,
  basePath: '',
  headers: { get: () => null },
  signal: new AbortController().signal,
  body: async () => new Uint8Array(),
});
const response = (body: HttpResponse['body'] = null): HttpResponse => ({ status: 200, headers: {}, body });

function make(handle: (request: HttpRequest) => Promise<HttpResponse | undefined>, bounds: Partial<Bounds> = {}) {
  const events: RequestEvent[] = [];
  const observe = (event: RequestEvent) => void events.push(event);
  const {
    handle: answer,
    idle,
    cutOff,
  } = bounded(handle, {
    maxRequests: 1,
    closed: () => false,
    now: () => 0,
    observe,
    ...bounds,
  });
  return { events, answer, idle, cutOff, status: async (url?: string) => (await answer(request(url)))?.status };
}

async function* letters(text = 'abc'): AsyncGenerator<Uint8Array> {
  for (const letter of text) yield Buffer.from(letter);
}

const chunksOf = (got: HttpResponse | undefined) => (got!.body as Bytes)[Symbol.asyncIterator]();

describe('a request over maxRequests', () => {
  it('is 503 with Retry-After, and told to the observer', async () => {
    const held = gate();
    const { answer, events } = make(async () => {
      await held.pass();
      return response();
    });
    const first = answer(request());
    const second = await answer(request('/v2/up/app/manifests/1', 'HEAD'));
    expect(second).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, body: null });
    expect(events).toEqual([
      { type: 'request', method: 'HEAD', kind: 'invalid', status: 503, durationMs: 0, error: 'too-many-requests' },
    ]);
    held.open();
    expect((await first)?.status).toBe(200);
    expect((await answer(request()))?.status).toBe(200);
  });

  it('is not answered from memory either, nor is one to a closed cache', async () => {
    const held = gate();
    let isClosed = false;
    const handle = Object.assign(
      async () => {
        await held.pass();
        return response();
      },
      { fromMemory: () => response(Buffer.from('at once')) },
    );
    const { handle: answer } = bounded(handle, { maxRequests: 1, closed: () => isClosed, now: () => 0, observe() {} });
    expect(answer.fromMemory?.(request())).toBeDefined();
    const first = answer(request());
    expect(answer.fromMemory?.(request())).toBeUndefined();
    held.open();
    await first;
    expect(answer.fromMemory?.(request())).toBeDefined();
    isClosed = true;
    expect(answer.fromMemory?.(request())).toBeUndefined();
  });

  it.each(['/', '/v1/', '/v2x', '/v22/', '/v', '/metrics'])(
    'is none where the path is the host’s own: %s',
    async (url) => {
      const held = gate();
      const { answer, status } = make(async () => {
        await held.pass();
        return response();
      });
      const first = answer(request());
      expect(await status(url)).toBeUndefined();
      held.open();
      await first;
    },
  );

  it.each(['/v2', '/v2?x=1', '/v2/', '/v2/a'])('is any below /v2: %s', async (url) => {
    const held = gate();
    const { answer, status } = make(async () => {
      await held.pass();
      return response();
    });
    const first = answer(request());
    expect(await status(url)).toBe(503);
    held.open();
    await first;
  });
});

describe('a request counts until', () => {
  it('it is answered, where its body is bytes or none', async () => {
    const { answer, status } = make(async () => response(Buffer.from('abc')));
    expect((await answer(request()))?.body).toEqual(Buffer.from('abc'));
    expect(await status()).toBe(200);
  });

  it('it turns out to be the host’s', async () => {
    const { status } = make(async () => undefined);
    expect([await status(), await status()]).toEqual([undefined, undefined]);
  });

  it('it fails', async () => {
    let calls = 0;
    const { answer, status } = make(async () => {
      if (calls++ === 0) throw new Error('broken');
      return response();
    });
    await expect(answer(request())).rejects.toThrow('broken');
    expect(await status()).toBe(200);
  });

  it('its body was read to the end, not before', async () => {
    const { answer, status } = make(async () => response(letters()));
    const chunks = chunksOf(await answer(request()));
    for (let result = await chunks.next(); !result.done; result = await chunks.next()) expect(await status()).toBe(503);
    const next = await answer(request());
    expect(next?.status).toBe(200);
    await chunksOf(next).return?.();
  });

  it('its body, had as a whole, has been sent or will not be, also where it came from memory', async () => {
    const closed: boolean[] = [];
    const whole = () => bodyOf(Buffer.from('abc'), { close: async () => void closed.push(true) });
    const handle = Object.assign(async () => response(whole()), { fromMemory: () => response(whole()) });
    const { handle: answer, idle } = bounded(handle, {
      maxRequests: 1,
      closed: () => false,
      now: () => 0,
      observe() {},
    });
    for (const ask of [answer, answer.fromMemory!]) {
      for (const complete of [true, false]) {
        const got = (await ask(request()))!.body as WholeBytes;
        const { bytes, over } = got.takeWhole();
        expect(Buffer.from(bytes).toString()).toBe('abc');
        expect([(await answer(request()))?.status, answer.fromMemory?.(request())]).toEqual([503, undefined]);
        over(complete);
        over(complete);
        await idle();
      }
    }
    expect(closed).toHaveLength(4);
  });

  it('its body is returned from, read or not, and that counts once', async () => {
    const { answer } = make(async () => response(letters()), { maxRequests: 2 });
    for (let i = 0; i < 5; i++) {
      const chunks = chunksOf(await answer(request()));
      if (i % 2) await chunks.next();
      await chunks.return?.();
      await chunks.return?.();
      await chunks.next();
    }
    const open = [await answer(request()), await answer(request())];
    expect(open.map((got) => got?.status)).toEqual([200, 200]);
    expect((await answer(request()))?.status).toBe(503);
  });

  it('its body fails', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a');
      throw new Error('cut off');
    }
    const { answer, status } = make(async () => response(broken()));
    const chunks = chunksOf(await answer(request()));
    await chunks.next();
    await expect(chunks.next()).rejects.toThrow('cut off');
    expect(await status()).toBe(200);
  });
});

describe('once the cache is closed', () => {
  it('every request below /v2 is 503 and handled by nobody', async () => {
    let handled = 0;
    const { answer, status, events } = make(
      async () => {
        handled++;
        return response();
      },
      { closed: () => true },
    );
    expect(await answer(request())).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(await status('/v2x')).toBeUndefined();
    expect([handled, events.map(({ error }) => error)]).toEqual([0, ['closed']]);
  });
});

describe('idle', () => {
  it('resolves at once where nothing runs, else when the last body is through', async () => {
    const { answer, idle } = make(async () => response(letters('ab')));
    await idle();
    const chunks = chunksOf(await answer(request()));
    let isIdle = false;
    const waiting = idle().then(() => {
      isIdle = true;
    });
    await chunks.next();
    expect(isIdle).toBe(false);
    await chunks.next();
    await chunks.next();
    await waiting;
    expect(isIdle).toBe(true);
  });
});

describe('cutOff', () => {
  it('breaks off the bodies under way, once they have let go of their sources', async () => {
    const letGo = gate();
    const source: AsyncIterator<Uint8Array, undefined> = {
      next: async () => ({ done: false, value: Buffer.from('a') }),
      async return() {
        await letGo.pass();
        return { done: true, value: undefined };
      },
    };
    const { answer, cutOff } = make(async () => response({ [Symbol.asyncIterator]: () => source }));
    const chunks = chunksOf(await answer(request()));
    await chunks.next();
    let isOver = false;
    const cutting = cutOff().then(() => {
      isOver = true;
    });
    await letGo.reached;
    expect(isOver).toBe(false);
    await expect(chunks.next()).rejects.toMatchObject({ code: 'closed' });
    letGo.open();
    await cutting;
  });

  it('makes 503 of answers that come later, and lets go of their bodies', async () => {
    const held = gate();
    let isClosed = false;
    const source: AsyncIterator<Uint8Array, undefined> = {
      next: async () => ({ done: false, value: Buffer.from('a') }),
      async return() {
        isClosed = true;
        return { done: true, value: undefined };
      },
    };
    const { answer, cutOff } = make(async () => {
      await held.pass();
      return response({ [Symbol.asyncIterator]: () => source });
    });
    const answering = answer(request());
    const cutting = cutOff();
    held.open();
    expect((await answering)?.status).toBe(503);
    await cutting;
    expect(isClosed).toBe(true);
  });

  it('lets go of a body that was taken as a whole, and gives none of one that was not yet', async () => {
    const over: [number, boolean][] = [];
    let closed = 0;
    const whole = () =>
      bodyOf(Buffer.from('abc'), {
        close: async () => void closed++,
        over: (...told) => over.push(told),
      });
    const { answer, cutOff, idle } = make(async () => response(whole()), { maxRequests: 2 });
    const [taken, waiting] = [await answer(request()), await answer(request())].map((got) => got!.body as WholeBytes);
    const { over: late } = taken!.takeWhole();
    await cutOff();
    expect([over, closed]).toEqual([
      [
        [3, false],
        [0, false],
      ],
      2,
    ]);
    expect(() => waiting!.takeWhole()).toThrow('closed');
    late(true);
    await idle();
    expect([over.length, closed]).toEqual([2, 2]);
  });

  it('leaves alone what is through', async () => {
    const { answer, cutOff } = make(async () => response(letters('a')));
    const chunks = chunksOf(await answer(request()));
    await chunks.next();
    expect((await chunks.next()).done).toBe(true);
    await cutOff();
  });
});
