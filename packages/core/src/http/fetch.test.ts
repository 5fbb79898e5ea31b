import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import type { Bytes } from '../runtime/bytes.ts';
import { answerFetch as answerFetchBy, readWebRequest } from './fetch.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';

const response = (body: HttpResponse['body'], rest: Partial<HttpResponse> = {}): HttpResponse => ({
  status: 200,
  headers: {},
  body,
  ...rest,
});

const answerFetch = (request: Request, handle: Handle) => answerFetchBy(request, handle, { clock: manualClock() });

const answer = (body: HttpResponse['body'], rest?: Partial<HttpResponse>) =>
  answerFetch(new Request('http://cache.example/v2/'), async () => response(body, rest));

describe('readWebRequest', () => {
  it('takes path and query as they stand, without the fragment', () => {
    const read = (url: string) => readWebRequest(new Request(url)).url;
    expect(read('http://cache.example/v2/a%2Fb/manifests/1?ns=x%3A1#frag')).toBe('/v2/a%2Fb/manifests/1?ns=x%3A1');
    expect(read('https://cache.example')).toBe('/');
    expect(read('https://cache.example?x=1')).toBe('/?x=1');
  });

  it('finds the host in the header, else in the URL', () => {
    const host = (headers: Record<string, string>) =>
      readWebRequest(new Request('http://cache.example:5000/v2/', { headers })).headers.get('host');
    expect(host({})).toBe('cache.example:5000');
    expect(host({ host: 'ghcr.io' })).toBe('ghcr.io');
  });

  it('gives null for a header that is not there', () => {
    const { headers } = readWebRequest(new Request('http://cache.example/v2/', { headers: { Range: 'bytes=0-1' } }));
    expect(headers.get('range')).toBe('bytes=0-1');
    expect(headers.get('if-range')).toBeNull();
  });

  it('reads the body up to a limit', async () => {
    const post = () => readWebRequest(new Request('http://cache.example/v2/', { method: 'POST', body: 'hello' }));
    expect(Buffer.from(await post().body(5)).toString()).toBe('hello');
    await expect(post().body(4)).rejects.toMatchObject({ code: 'body-too-large' });
    const none = readWebRequest(new Request('http://cache.example/v2/'));
    expect((await none.body(0)).byteLength).toBe(0);
  });
});

describe('answerFetch', () => {
  it('answers 404 for what is not ours', async () => {
    const get = await answerFetch(new Request('http://cache.example/'), async () => undefined);
    expect([get.status, await get.text()]).toEqual([404, 'not found\n']);
    const head = await answerFetch(new Request('http://cache.example/', { method: 'HEAD' }), async () => undefined);
    expect([head.status, head.body]).toEqual([404, null]);
  });

  it('passes status, headers and bytes on', async () => {
    const got = await answer(Buffer.from('abc'), {
      status: 206,
      headers: { 'content-length': '3', warning: ['299 - "a"', '299 - "b"'] },
    });
    expect(got.status).toBe(206);
    expect(got.headers.get('content-length')).toBe('3');
    expect(got.headers.get('warning')).toBe('299 - "a", 299 - "b"');
    expect(await got.text()).toBe('abc');
  });

  it('gives a HEAD and a 304 no body, and keeps Content-Length', async () => {
    const head = await answer(null, { headers: { 'content-length': '2048' } });
    expect([head.body, head.headers.get('content-length')]).toEqual([null, '2048']);
    expect((await answer(null, { status: 304 })).status).toBe(304);
  });

  it('takes a chunk when one is wanted, and copies it, since its memory may be used again', async () => {
    const memory = Buffer.alloc(1);
    let taken = 0;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (const letter of 'abc') {
        taken++;
        memory.write(letter);
        yield memory;
      }
    }
    const got = await answer(chunks());
    expect(taken).toBe(0);
    const reader = got.body!.getReader();
    const first = await reader.read();
    expect(taken).toBe(1);
    const second = await reader.read();
    expect(taken).toBe(2);
    expect([first.value, second.value].map((value) => Buffer.from(value!).toString())).toEqual(['a', 'b']);
  });

  it('fails the body when its source fails', async () => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a');
      throw new Error('cut off');
    }
    await expect((await answer(chunks())).text()).rejects.toThrow('cut off');
  });

  it('closes the source when the body is cancelled before it was read', async () => {
    let returned = false;
    const body: Bytes = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: Buffer.from('a') }),
        async return() {
          returned = true;
          return { done: true, value: undefined };
        },
      }),
    };
    await (await answer(body)).body!.cancel();
    expect(returned).toBe(true);
  });

  it('tells a source that is waiting that the client has left', async () => {
    let request: HttpRequest | undefined;
    let ended = false;
    async function* chunks(signal: AbortSignal): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from('a');
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      } finally {
        ended = true;
      }
    }
    const got = await answerFetch(new Request('http://cache.example/v2/'), async (r) => {
      request = r;
      return response(chunks(r.signal));
    });
    const reader = got.body!.getReader();
    await reader.read();
    const pending = reader.read();
    await reader.cancel();
    expect(await pending).toMatchObject({ done: true });
    expect([request?.signal.aborted, ended]).toEqual([true, true]);
  });

  it("fires the request's signal when the caller aborts, also before it asked", async () => {
    for (const late of [true, false]) {
      const caller = new AbortController();
      if (!late) caller.abort();
      let signal: AbortSignal | undefined;
      await answerFetch(new Request('http://cache.example/v2/', { signal: caller.signal }), async (r) => {
        signal = r.signal;
        return response(null);
      });
      caller.abort();
      expect(signal?.aborted).toBe(true);
    }
  });

  it('closes a body that nobody reads when the caller aborts, and never ends it in good order', async () => {
    for (const read of [0, 1]) {
      let returned = 0;
      const body: Bytes = {
        [Symbol.asyncIterator]: () => ({
          next: async () => (returned ? { done: true, value: undefined } : { done: false, value: Buffer.from('a') }),
          async return() {
            returned++;
            return { done: true, value: undefined };
          },
        }),
      };
      const caller = new AbortController();
      const got = await answerFetch(new Request('http://cache.example/v2/', { signal: caller.signal }), async () =>
        response(body),
      );
      const reader = got.body!.getReader();
      for (let i = 0; i < read; i++) await reader.read();
      caller.abort();
      expect(returned).toBe(1);
      await expect(reader.read()).rejects.toMatchObject({ name: 'AbortError' });
    }
  });

  describe('a body of which nothing is read for 5 min', () => {
    /** A body of four chunks, each of which comes when the one before was read and the clock has moved on. */
    async function unread({ before = 0, slowSource = 0 } = {}) {
      const clock = manualClock();
      const seen = { left: false, closed: false };
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < 4; i++) {
          await new Promise<void>((resolve) => (slowSource ? clock.after(slowSource, resolve) : resolve()));
          yield Buffer.from('a');
        }
      }
      const handle = async ({ signal }: HttpRequest) => {
        signal.addEventListener('abort', () => {
          seen.left = true;
        });
        const source = chunks();
        const body: Bytes = {
          [Symbol.asyncIterator]: () => ({
            next: () => source.next(),
            return: () => {
              seen.closed = true;
              return source.return(undefined);
            },
          }),
        };
        return response(body);
      };
      const got = await answerFetchBy(new Request('http://cache.example/v2/'), handle, { clock });
      const reader = got.body!.getReader();
      for (let i = 0; i < before; i++) await reader.read();
      return { clock, seen, reader };
    }

    it.each([0, 1])('is closed and fails, after %i chunks of it', async (before) => {
      const { clock, seen, reader } = await unread({ before });
      await clock.advance(5 * 60_000 - 1);
      expect(seen).toEqual({ left: false, closed: false });
      await clock.advance(1);
      expect(seen).toEqual({ left: true, closed: true });
      await expect(reader.read()).rejects.toMatchObject({ code: 'aborted', message: expect.stringContaining('5 min') });
      expect(clock.pending()).toBe(0);
    });

    it('is let be while it is read, however slowly it is read and comes', async () => {
      const { clock, seen, reader } = await unread({ slowSource: 6 * 60_000 });
      for (let i = 0; i < 4; i++) {
        await clock.advance(4 * 60_000);
        const reading = reader.read();
        await clock.untilPending(1);
        await clock.advance(6 * 60_000);
        expect(await reading).toMatchObject({ done: false });
      }
      expect(await reader.read()).toMatchObject({ done: true });
      expect(seen).toEqual({ left: false, closed: false });
      expect(clock.pending()).toBe(0);
    });

    it('waits for nothing when it was cancelled', async () => {
      const { clock, seen, reader } = await unread({ before: 1 });
      await reader.cancel();
      expect(seen).toEqual({ left: true, closed: true });
      expect(clock.pending()).toBe(0);
    });
  });
});
