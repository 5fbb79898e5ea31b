import { createHash } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { type Feed, feed, manualClock, seededBytes } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { type Bytes, bytesOf } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { createResponseBody } from '../upstream/response-body.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from '../upstream/upstream-error.ts';
import { type SteadyRequest, steadyBody } from './steady-body.ts';

const bytes = seededBytes('steady', 1000);
const digest = digestOf(bytes);
const total = bytes.byteLength;
const failure = (code: UpstreamErrorCode = 'unreachable', retryAt?: number) =>
  new UpstreamError(code, `the ${code}`, { upstream: 'up', ...(retryAt !== undefined && { retryAt }) });

/** Bytes `from` to before `to`, and then the end, or a failure. */
function body(from: number, to: number, then?: Error): Feed {
  const fed = feed(...(to > from ? [bytes.subarray(from, to)] : []));
  if (then) fed.fail(then);
  else fed.end();
  return fed;
}

const found = (start: number, of: Feed, more: Partial<FetchedBlob> = { total }): Reply<FetchedBlob> => ({
  kind: 'found',
  value: { start, ...more, body: of.bytes },
});

type Step = Reply<FetchedBlob> | Error | ((signal: AbortSignal) => Promise<Reply<FetchedBlob>>);

/** A steady body whose later parts are these. */
function start(first: Reply<FetchedBlob>, steps: Step[], changes: Partial<SteadyRequest> = {}) {
  const clock = manualClock();
  const asked: [from: number, ifMatch: string | undefined, at: number][] = [];
  const events: { from?: number; attempt?: number; error?: string }[] = [];
  const stop = new AbortController();
  const request: SteadyRequest = {
    upstream: 'up',
    repository: 'team/app',
    digest,
    from: 0,
    withinMs: 120_000,
    firstByteAt: 60_000,
    async fetch(from, signal, ifMatch) {
      asked.push([from, ifMatch, clock.monotonic()]);
      const step = steps.length > 1 ? steps.shift() : steps[0];
      if (step instanceof Error) throw step;
      if (typeof step === 'function') return step(signal);
      return step!;
    },
    signal: stop.signal,
    ...changes,
  };
  if (first.kind !== 'found') throw new Error('the first reply is found');
  const random = () => 0.5;
  const steady = steadyBody(first.value, request, { clock, random, observe: (event) => events.push(event as never) });
  return { steady, clock, asked, events, stop };
}

/** All of it, with the clock moved on as long as it waits. */
async function readAll(steady: Bytes, clock: ReturnType<typeof manualClock>): Promise<Buffer> {
  let over = false;
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of steady) chunks.push(chunk);
  })().finally(() => {
    over = true;
  });
  reading.catch(() => undefined);
  while (!over) await clock.advance(1_000);
  await reading;
  return Buffer.concat(chunks);
}

describe('gives the whole where', () => {
  const cut = failure();
  const cases: [name: string, first: Reply<FetchedBlob>, steps: Step[], asked: number[]][] = [
    ['nothing goes wrong', found(0, body(0, 1000)), [], []],
    ['it is cut once', found(0, body(0, 400, cut)), [found(400, body(400, 1000))], [400]],
    [
      'it is cut five times',
      found(0, body(0, 1, cut)),
      [2, 300, 301, 999]
        .map((at, i) => found([1, 2, 300, 301][i]!, body([1, 2, 300, 301][i]!, at, cut)))
        .concat([found(999, body(999, 1000))]),
      [1, 2, 300, 301, 999],
    ],
    ['it is cut before its first byte', found(0, body(0, 0, cut)), [found(0, body(0, 1000))], [0]],
    ['it is cut after its last byte', found(0, body(0, 1000, cut)), [], []],
    ['it stalls', found(0, body(0, 10, failure('timeout'))), [found(10, body(10, 1000))], [10]],
    ['it ends early', found(0, body(0, 10)), [found(10, body(10, 1000))], [10]],
    ['the range is ignored', found(0, body(0, 10, cut)), [found(0, body(0, 1000))], [10]],
    [
      'the range is ignored, and what was skipped is cut again',
      found(0, body(0, 500, cut)),
      [found(0, body(0, 200, cut)), found(0, body(0, 600, cut)), found(600, body(600, 1000))],
      [500, 500, 600],
    ],
    ['the rest starts earlier', found(0, body(0, 10, cut)), [found(7, body(7, 1000))], [10]],
    [
      'the rest starts later, once',
      found(0, body(0, 10, cut)),
      [found(11, body(11, 1000)), found(10, body(10, 1000))],
      [10, 10],
    ],
    [
      'it comes in small parts',
      found(0, body(0, 400)),
      [found(400, body(400, 800)), found(800, body(800, 1000))],
      [400, 800],
    ],
    ['nobody tells its size', found(0, body(0, 10, cut), {}), [found(10, body(10, 1000), {})], [10]],
    [
      'its size is told when it goes on',
      found(0, body(0, 10, cut), {}),
      [found(10, body(10, 20)), found(20, body(20, 1000))],
      [10, 20],
    ],
    ['all was here but nobody had told its size', found(0, body(0, 1000, cut), {}), [found(1000, body(0, 0))], [1000]],
    [
      'it is not had in between',
      found(0, body(0, 10, cut)),
      [failure(), failure('server-error'), failure('timeout'), found(10, body(10, 1000))],
      [10, 10, 10, 10],
    ],
    [
      'a lagging member knows nothing of it',
      found(0, body(0, 10, cut)),
      [{ kind: 'absent', code: 'BLOB_UNKNOWN', message: '' }, found(10, body(10, 1000))],
      [10, 10],
    ],
    [
      'another size is told once',
      found(0, body(0, 10, cut)),
      [found(10, body(10, 20), { total: 20 }), found(10, body(10, 1000))],
      [10, 10],
    ],
  ];

  it.each(cases)('%s', async (_, first, steps, expected) => {
    const { steady, clock, asked } = start(first, steps);
    expect((await readAll(steady, clock)).equals(bytes)).toBe(true);
    expect(asked.map(([from]) => from)).toEqual(expected);
    expect(clock.pending()).toBe(0);
  });
});

it('gives a part and no more, wherever it is cut', async () => {
  const whole = body(0, 1000);
  const parts = { from: 100, to: 599 };
  const { steady, clock, asked } = start(
    found(100, body(100, 200, failure())),
    [found(200, body(200, 300)), found(0, whole)],
    parts,
  );
  expect((await readAll(steady, clock)).equals(bytes.subarray(100, 600))).toBe(true);
  expect(asked.map(([from]) => from)).toEqual([200, 300]);
  expect(whole.closed).toBe(true);
});

it('asks by the validator it was given last, and by none after that failed', async () => {
  const of = (start: number, to: number, validator: string) =>
    found(start, body(start, to, failure()), { total, validator });
  const { steady, clock, asked } = start(of(0, 10, '"a"'), [
    of(10, 20, '"b"'),
    found(20, body(20, 30, failure())),
    failure(),
    failure(),
    of(30, 40, '"c"'),
    found(40, body(40, 1000)),
  ]);
  await readAll(steady, clock);
  expect(asked.map(([, ifMatch]) => ifMatch)).toEqual(['"a"', '"b"', '"b"', undefined, undefined, '"c"']);
});

it('asks at once, then after ever longer times, and says when it goes on', async () => {
  const { steady, clock, asked, events } = start(found(0, body(0, 10, failure())), [
    failure(),
    failure(),
    failure(),
    found(10, body(10, 500, failure('timeout'))),
    found(500, body(500, 1000)),
  ]);
  await readAll(steady, clock);
  expect(asked.map(([, , at]) => at)).toEqual([0, 50, 150, 350, 350]);
  const same = { type: 'ingest-resumed', upstream: 'up', repository: 'team/app', digest };
  expect(events).toEqual([
    { ...same, from: 10, attempt: 4, error: 'the unreachable' },
    { ...same, from: 500, attempt: 1, error: 'the timeout' },
  ]);
});

it('waits as long as the upstream says', async () => {
  const { steady, clock, asked } = start(found(0, body(0, 10, failure())), [
    failure('rate-limited', manualClock().now() + 30_000),
    found(10, body(10, 1000)),
  ]);
  await readAll(steady, clock);
  expect(asked.map(([, , at]) => at)).toEqual([0, 30_000]);
});

describe('is given up', () => {
  const failing = async (steps: Step[], changes: Partial<SteadyRequest> = {}) => {
    const started = start(found(0, body(0, 10, failure())), steps, changes);
    const error = await readAll(started.steady, started.clock).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(started.clock.pending()).toBe(0);
    return { ...started, error };
  };

  it('where nothing new comes for long enough, with what happened last', async () => {
    const last = failure('server-error');
    const { error, clock, asked } = await failing([failure(), failure(), last]);
    expect(error).toMatchObject({ code: 'server-error', upstream: 'up', cause: last });
    expect((error as Error).message).toBe(
      `up broke off after 10 bytes of ${digest} of team/app and did not go on: the server-error`,
    );
    expect(clock.monotonic()).toBeGreaterThan(115_000);
    expect(clock.monotonic()).toBeLessThan(125_000);
    expect(asked.length).toBeLessThan(60);
  });

  it('where the upstream is silent for so long', async () => {
    let over = false;
    const { error, clock } = await failing([
      (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            over = true;
            reject(signal.reason);
          });
        }),
    ]);
    expect(error).toMatchObject({ code: 'timeout', cause: { code: 'timeout' } });
    expect(clock.monotonic()).toBeLessThan(125_000);
    expect(over).toBe(true);
  });

  it('where a byte comes each time', async () => {
    let at = 10;
    const { error, asked } = await failing([async () => found(at, body(at, ++at, failure()))]);
    expect(error).toMatchObject({ code: 'unreachable' });
    expect(asked).toHaveLength(16);
  });

  it.each(['credentials-rejected', 'address-refused'] as const)('at once by what does not mend (%s)', async (code) => {
    const last = failure(code);
    const { error, asked } = await failing([last]);
    expect(error).toMatchObject({ code, cause: last });
    expect(asked).toHaveLength(1);
  });

  it.each([
    ['absent', { kind: 'absent', code: 'BLOB_UNKNOWN', message: '' }, 'server-error', 404],
    ['denied', { kind: 'denied', status: 403, message: '' }, 'server-error', 403],
    ['of another size', found(10, body(10, 20), { total: 20 }), 'digest-mismatch', undefined],
    ['smaller than what came', found(10, body(0, 0), { total: 5 }), 'digest-mismatch', undefined],
  ] as const)('where it is said twice to be %s', async (_, reply, code, status) => {
    const { error, asked } = await failing([reply as Reply<FetchedBlob>]);
    expect(error).toMatchObject({ code, status });
    expect(asked).toHaveLength(2);
  });

  it('where it is said twice to have fewer bytes than came', async () => {
    const started = start(found(0, body(0, 10, failure()), {}), [found(10, body(0, 0), { total: 5 })]);
    await expect(readAll(started.steady, started.clock)).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(started.asked).toHaveLength(2);
  });

  it('at once by what is no failure of an upstream', async () => {
    const bug = new TypeError('a bug');
    const { error, asked } = await failing([bug]);
    expect(error).toBe(bug);
    expect(asked).toHaveLength(1);
  });

  it('where it may not resume at all', async () => {
    const { error, asked } = await failing([found(10, body(10, 1000))], { withinMs: 0 });
    expect(error).toMatchObject({ code: 'unreachable', cause: { message: 'the unreachable' } });
    expect(asked).toHaveLength(0);
  });
});

describe('ends at once, and leaves no timer', () => {
  const gone = new Error('gone');
  const silent: Step = () => new Promise(() => undefined);

  it.each([
    ['while it waits', [failure()]],
    ['while the upstream is asked', [silent]],
  ] as [string, Step[]][])('on its signal, %s', async (_, steps) => {
    const { steady, clock, stop } = start(found(0, body(0, 10, failure())), steps);
    const iterator = steady[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    await clock.untilPending(1);
    stop.abort(gone);
    await expect(next).rejects.toBe(gone);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(clock.pending()).toBe(0);
  });

  it.each([
    ['while it waits', [failure()]],
    ['while the upstream is asked', [silent]],
  ] as [string, Step[]][])('when its reader leaves %s', async (_, steps) => {
    const { steady, clock } = start(found(0, body(0, 10, failure())), steps);
    const iterator = steady[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    await clock.untilPending(1);
    await iterator.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(clock.pending()).toBe(0);
  });

  it('closing what comes too late', async () => {
    const late = body(10, 1000);
    let give: (reply: Reply<FetchedBlob>) => void = () => undefined;
    const { steady, clock } = start(found(0, body(0, 10, failure())), [
      () => new Promise((resolve) => (give = resolve)),
    ]);
    const iterator = steady[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    await clock.untilPending(1);
    await iterator.return?.();
    await next;
    give(found(10, late));
    await expect.poll(() => late.closed).toBe(true);
  });

  it('when its reader leaves before the first byte', async () => {
    const first = feed();
    const { steady, clock } = start(found(0, first), []);
    await steady[Symbol.asyncIterator]().return?.();
    expect(first.closed).toBe(true);
    expect(clock.pending()).toBe(0);
  });

  it('when its reader leaves while it waits for bytes', async () => {
    const first = feed();
    const iterator = start(found(0, first), []).steady[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(first.closed).toBe(true);
  });

  it('closing what breaks off, also where it goes on', async () => {
    const first = body(0, 10, failure('timeout'));
    const second = body(10, 20);
    const { steady, clock, stop } = start(found(0, first), [found(10, second), found(20, body(20, 1000))]);
    await readAll(steady, clock);
    expect([first.closed, second.closed]).toEqual([true, true]);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  });

  it('closing what breaks off, and what it asked for in vain', async () => {
    const first = body(0, 10, failure());
    const other = body(10, 20);
    const { steady, clock } = start(found(0, first), [found(10, other, { total: 20 })]);
    await expect(readAll(steady, clock)).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect([first.closed, other.closed]).toEqual([true, true]);
  });
});

it('stalls by the idle time of the body, not by a total one', async () => {
  const bodyOf = (clock: Clock) => {
    const source = {
      pause: () => undefined,
      resume: () => undefined,
      abandon: () => undefined,
      unread: () => undefined,
    };
    return createResponseBody(source, { clock, ms: 30_000, error: () => failure('timeout') });
  };
  const clock = manualClock();
  const slow = bodyOf(clock);
  const request: SteadyRequest = {
    ...{ upstream: 'up', repository: 'team/app', digest, from: 0, withinMs: 120_000, firstByteAt: 60_000 },
    fetch: async (from) => found(from, body(from, 1000)),
    signal: new AbortController().signal,
  };
  const events: unknown[] = [];
  const steady = steadyBody({ start: 0, total, body: slow.bytes }, request, {
    clock,
    observe: (event) => events.push(event),
  });
  const reading = (async () => {
    const hash = createHash('sha256');
    for await (const chunk of steady) hash.update(chunk);
    return `sha256:${hash.digest('hex')}`;
  })();
  for (let at = 0; at < 10; at++) {
    await clock.advance(29_999);
    slow.push(bytes.subarray(at, at + 1));
  }
  expect(events).toEqual([]);
  await clock.advance(30_000);
  expect(await reading).toBe(digest);
  expect(events).toEqual([expect.objectContaining({ from: 10, attempt: 1, error: 'the timeout' })]);
  expect(clock.pending()).toBe(0);
});

it("gives chunks that are the reader's to keep, without a copy", async () => {
  const chunk = bytes.subarray(0, 1000);
  const { steady } = start({ kind: 'found', value: { start: 0, total, body: bytesOf(chunk) } }, []);
  const { value } = await steady[Symbol.asyncIterator]().next();
  expect(value!.buffer).toBe(chunk.buffer);
});
