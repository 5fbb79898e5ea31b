import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { discard } from '../runtime/bytes.ts';
import { createResponseBody, type JoinThrottle, type ResponseBody } from './response-body.ts';

const chunk = (size: number) => new Uint8Array(size);

function make(join?: JoinThrottle): {
  body: ResponseBody;
  calls: string[];
  unread: number[];
  clock: ReturnType<typeof manualClock>;
} {
  const calls: string[] = [];
  const unread: number[] = [];
  const clock = manualClock();
  const source = {
    pause: () => calls.push('pause'),
    resume: () => calls.push('resume'),
    abandon: () => calls.push('abandon'),
    unread: (chunk: Uint8Array) => unread.push(chunk.byteLength),
  };
  const body = createResponseBody(source, { clock, ms: 1_000, error: () => new Error('idle') }, join);
  return { body, calls, unread, clock };
}

/** A throttle of one, by hand. */
function byHand() {
  let mayGoOn = true;
  const steps: { goOn(): void; taken: number[]; left: number } = { goOn: () => undefined, taken: [], left: 0 };
  const join: JoinThrottle = (goOn) => {
    steps.goOn = goOn;
    return {
      took(bytes) {
        steps.taken.push(bytes);
        return mayGoOn;
      },
      leave: () => void steps.left++,
    };
  };
  return { join, steps, forbid: () => (mayGoOn = false) };
}

describe('a response body that may not read on', () => {
  it('holds its source until it may, and counts none of that as idle', async () => {
    const { join, steps, forbid } = byHand();
    const { body, calls, clock } = make(join);
    const iterator = body.bytes[Symbol.asyncIterator]();
    body.push(chunk(1_000));
    forbid();
    body.push(chunk(2_000));
    expect([steps.taken, calls]).toEqual([[1_000, 2_000], ['pause']]);
    await iterator.next();
    await iterator.next();
    const next = iterator.next();
    await clock.advance(60_000);
    steps.goOn();
    expect(calls).toEqual(['pause', 'resume']);
    const late = expect(next).rejects.toThrow('idle');
    await clock.advance(1_000);
    await late;
    expect(steps.left).toBeGreaterThan(0);
  });

  it('is not let go on by its reader, nor a slow reader’s by its share', async () => {
    const { join, steps, forbid } = byHand();
    const { body, calls } = make(join);
    forbid();
    body.push(chunk(300 * 1024));
    await body.bytes[Symbol.asyncIterator]().next();
    expect(calls.filter((call) => call === 'resume')).toEqual([]);
    steps.goOn();
    expect(calls.at(-1)).toBe('resume');
    body.push(chunk(300 * 1024));
    const before = calls.length;
    steps.goOn();
    expect(calls).toHaveLength(before);
  });

  it('leaves when it ends, fails or is given up', async () => {
    for (const end of [
      ({ body }: ReturnType<typeof make>) => body.end(),
      ({ body }: ReturnType<typeof make>) => body.fail(new Error('broken')),
      ({ body }: ReturnType<typeof make>) => discard(body.bytes),
    ]) {
      const { join, steps, forbid } = byHand();
      const made = make(join);
      forbid();
      made.body.push(chunk(10));
      await end(made);
      expect(steps.left).toBe(1);
      steps.goOn();
      expect(made.calls).not.toContain('resume');
    }
  });
});

describe('a response body', () => {
  it('pauses its source at 256 KiB and resumes it when 64 KiB are left', async () => {
    const { body, calls } = make();
    const iterator = body.bytes[Symbol.asyncIterator]();
    for (let pushed = 0; pushed < 8; pushed++) body.push(chunk(32 * 1024));
    expect(calls).toEqual(['pause']);
    for (let read = 0; read < 5; read++) await iterator.next();
    expect(calls).toEqual(['pause']);
    await iterator.next();
    expect(calls).toEqual(['pause', 'resume']);
  });

  it('made of single bytes pauses its source long before they fill the memory, and is given in one piece', async () => {
    const { body, calls } = make();
    const iterator = body.bytes[Symbol.asyncIterator]();
    let pushed = 0;
    while (calls.length === 0) body.push(Uint8Array.of(pushed++));
    expect(pushed).toBe(1024);
    body.push(chunk(1000));
    body.push(Uint8Array.of(7));
    const expected = Buffer.from(Array.from({ length: pushed }, (_, at) => at));
    expect((await iterator.next()).value).toEqual(expected);
    expect((await iterator.next()).value).toEqual(chunk(1000));
    expect((await iterator.next()).value).toEqual(Uint8Array.of(7));
    expect(calls).toEqual(['pause', 'resume']);
  });

  it('gives what came before its end and before an error', async () => {
    const { body } = make();
    const iterator = body.bytes[Symbol.asyncIterator]();
    body.push(chunk(1));
    body.fail(new Error('broken'));
    expect(await iterator.next()).toMatchObject({ done: false });
    await expect(iterator.next()).rejects.toThrow('broken');
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('closes its source when it is returned from, also before it was read, and only once', async () => {
    const { body, calls } = make();
    await discard(body.bytes);
    await discard(body.bytes);
    expect(calls).toEqual(['abandon']);
    body.push(chunk(1));
    body.end();
    expect(await body.bytes[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
  });

  it('leaves its source alone when it is returned from after its end', async () => {
    const { body, calls } = make();
    body.push(chunk(1));
    body.end();
    await discard(body.bytes);
    expect(calls).toEqual([]);
  });

  it('tells its source what nobody will read, whose memory may be used again', async () => {
    const { body, unread } = make();
    const iterator = body.bytes[Symbol.asyncIterator]();
    for (const size of [1_000, 2_000, 3_000]) body.push(chunk(size));
    await iterator.next();
    expect(unread).toEqual([]);
    await iterator.return?.();
    body.push(chunk(4_000));
    expect(unread).toEqual([2_000, 3_000, 4_000]);
  });

  it('ends a reader that waits while it is returned from', async () => {
    const { body } = make();
    const waiting = body.bytes[Symbol.asyncIterator]().next();
    await discard(body.bytes);
    expect(await waiting).toEqual({ done: true, value: undefined });
  });

  it('fails a reader that waits too long, and closes its source', async () => {
    const { body, calls, clock } = make();
    const waiting = expect(body.bytes[Symbol.asyncIterator]().next()).rejects.toThrow('idle');
    await clock.advance(1_000);
    await waiting;
    expect(calls).toEqual(['abandon']);
    expect(clock.pending()).toBe(0);
  });
});
