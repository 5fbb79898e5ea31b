import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { collect } from '../runtime/bytes.ts';
import { composeUpstream } from './endpoints.ts';
import type { UpstreamEvent } from './events.ts';
import type { FetchedBlob, Query, Referrers, Reply, TagPage, Upstream, UpstreamStatus } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

const digest = `sha256:${'a'.repeat(64)}` as const;
const absent = { kind: 'absent', code: 'BLOB_UNKNOWN', message: 'no' } as const;
const denied = { kind: 'denied', status: 403, message: 'no' } as const;
const found = { kind: 'found', value: { size: 3, named: true } } as const;

let clock: ManualClock;
let events: UpstreamEvent[];
let statuses: Map<string, UpstreamStatus>;
let asked: { name: string; at: number; deadlineAt: number; cursor?: string | undefined }[];

beforeEach(() => {
  clock = manualClock();
  events = [];
  asked = [];
  statuses = new Map();
});

function statusOf(name: string, state: UpstreamStatus['state'], retryAt?: number): UpstreamStatus {
  const at = retryAt === undefined ? {} : { retryAt };
  return { key: 'up', mode: 'normal', state, ...at, hosts: [{ host: `${name}.example`, state, failures: 3, ...at }] };
}

function error(
  code: UpstreamErrorCode,
  more: { status?: number; retryAfter?: number; host?: string } = {},
): UpstreamError {
  const { status, retryAfter, host } = more;
  return new UpstreamError(code, `${code} of it`, {
    upstream: 'up',
    ...(status !== undefined && { status }),
    ...(host !== undefined && { host }),
    ...(retryAfter !== undefined && { retryAt: clock.now() + retryAfter }),
  });
}

type Step = UpstreamError | Reply<unknown> | (() => Promise<Reply<unknown>>) | (() => UpstreamError);

/** A step that takes so long. */
const after = (ms: number, reply: Reply<unknown>) => async () => {
  await new Promise<void>((resolve) => void clock.after(ms, resolve));
  return reply;
};

/** A client that answers by a script, its last step for ever. */
function scripted(name: string, ...steps: Step[]): { url: string; client: Upstream } {
  let at = 0;
  async function answer(query: Omit<Query, 'repository'> & { cursor?: string }): Promise<never> {
    asked.push({ name, at: clock.monotonic(), deadlineAt: query.deadlineAt, cursor: query.cursor });
    const step = steps[Math.min(at++, steps.length - 1)]!;
    const outcome = typeof step === 'function' ? await step() : step;
    if (outcome instanceof UpstreamError) throw outcome;
    return outcome as never;
  }
  const client: Upstream = new Proxy({} as Upstream, {
    get: (_target, method) => {
      if (method === 'close') return async () => undefined;
      if (method === 'state') return () => statuses.get(name)?.state ?? 'closed';
      return method === 'status' ? () => statuses.get(name) ?? { key: 'up', state: 'closed', hosts: [] } : answer;
    },
  });
  return { url: `https://${name}.example`, client };
}

function compose(clients: { url: string; client: Upstream }[], retry: object = {}): Upstream {
  const settings = { key: 'up', retry: { attempts: 3, minWait: 100, maxWait: 5_000, budget: 0.2, ...retry } };
  return composeUpstream(clients, settings, { clock, observe: (event) => events.push(event), random: () => 0.5 });
}

const query = (within = 10_000, signal = new AbortController().signal) => ({
  repository: 'app',
  scope: '-',
  deadlineAt: clock.monotonic() + within,
  signal,
});
const manifest = (upstream: Upstream, within?: number) =>
  upstream.fetchManifest({ ...query(within), reference: { kind: 'tag', tag: '1' } });
const stat = (upstream: Upstream, within = 60_000) => upstream.statBlob({ ...query(within), digest });
const names = () => asked.map(({ name }) => name);

/** The outcome, once the clock has moved on by `ms`. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | UpstreamError | undefined> {
  let outcome: T | UpstreamError | undefined;
  promise.then(
    (value) => {
      outcome = value;
    },
    (reason) => {
      outcome = reason;
    },
  );
  await clock.advance(ms);
  return outcome;
}

describe('one endpoint', () => {
  it('is asked once when it answers, and no timer is set', async () => {
    const upstream = compose([scripted('a', found)]);
    expect(await manifest(upstream)).toBe(found);
    expect([names(), clock.pending(), events]).toEqual([['a'], 0, []]);
  });

  it.each([absent, denied])('its $kind stands', async (reply) => {
    expect(await manifest(compose([scripted('a', reply)]))).toBe(reply);
    expect(names()).toEqual(['a']);
  });

  it('is asked again after a while, and an event says so', async () => {
    const upstream = compose([scripted('a', error('unreachable'), error('server-error', { status: 503 }), found)]);
    expect(await within(1_000, manifest(upstream))).toBe(found);
    expect(asked.map(({ at }) => at)).toEqual([0, 50, 150]);
    expect(events).toEqual([
      {
        type: 'upstream-retried',
        upstream: 'up',
        operation: 'manifest',
        repository: 'app',
        attempt: 2,
        error: 'unreachable',
        waitMs: 50,
      },
      expect.objectContaining({ attempt: 3, error: 'server-error', waitMs: 100 }),
    ]);
  });

  it('is asked `attempts` times at most', async () => {
    const failures = [error('unreachable'), error('unreachable'), error('timeout')];
    expect(await within(60_000, manifest(compose([scripted('a', ...failures)])))).toBe(failures[2]);
    expect(names()).toEqual(['a', 'a', 'a']);
    asked = [];
    expect(await within(60_000, manifest(compose([scripted('a', failures[0]!)], { attempts: 1 })))).toBe(failures[0]);
    expect(names()).toEqual(['a']);
  });

  it('is not asked again where that is in vain', async () => {
    const page = error('foreign-answer');
    expect(await within(60_000, manifest(compose([scripted('a', page, found)])))).toBe(page);
    expect(names()).toEqual(['a']);
  });

  it('had its first retry counted twice where a timer was early, and refused as one that the budget did not allow', async () => {
    const { after: punctual } = clock;
    clock.after = (ms, fn) => punctual(ms > 1 ? ms - 0.4 : ms, fn);
    const steps = Array.from({ length: 20 }, () => [error('unreachable'), found]).flat();
    const upstream = compose([scripted('a', ...steps)], { budget: 0 });
    for (let request = 0; request < 20; request++) expect(await within(1_000, manifest(upstream))).toBe(found);
    expect(events.map(({ type }) => type)).toEqual(Array(20).fill('upstream-retried'));
  });

  it('is asked again once by each request, and by no more than the budget allows beside', async () => {
    const upstream = compose([scripted('a', error('unreachable'))], { budget: 0, minWait: 0 });
    for (let request = 0; request < 100; request++) {
      const outcome = manifest(upstream).catch(() => undefined);
      await clock.advance(0);
      await outcome;
    }
    expect(asked.length).toBe(210);
  });

  it('that fails each of many requests once costs none of them its answer', async () => {
    const failing = new Set<number>();
    const steps = Array.from({ length: 40 }, () => error('unreachable'));
    const upstream = compose([scripted('a', ...steps, found)], { budget: 0 });
    const outcomes = steps.map((_step, index) =>
      manifest(upstream).catch(() => {
        failing.add(index);
      }),
    );
    await within(1_000, Promise.all(outcomes));
    expect([failing.size, asked.length]).toEqual([0, 80]);
  });

  it('earns nothing by requests that were not sent', async () => {
    const upstream = compose([scripted('a', ...Array(512).fill(error('unavailable')), error('unreachable'))], {
      budget: 1 / 32,
      minWait: 0,
    });
    for (let request = 0; request < 512; request++) await manifest(upstream).catch(() => undefined);
    asked = [];
    const outcomes = Array.from({ length: 96 }, () => manifest(upstream).catch(() => undefined));
    await clock.advance(0);
    await Promise.all(outcomes);
    // One retry of each, the reserve of ten, and the three that they earn themselves.
    expect(asked.length).toBe(96 + 96 + 10 + 3);
  });

  it('is left when nobody waits any more', async () => {
    const leaving = new AbortController();
    const upstream = compose([scripted('a', error('unreachable'))]);
    const outcome = upstream.statBlob({ ...query(60_000, leaving.signal), digest });
    await clock.untilPending(1);
    leaving.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
    expect([clock.pending(), names()]).toEqual([0, ['a']]);
  });

  it('is left when the upstream is closed', async () => {
    const upstream = compose([scripted('a', error('unreachable'))]);
    const outcome = stat(upstream);
    await clock.untilPending(1);
    await upstream.close();
    await expect(outcome).rejects.toMatchObject({ code: 'closed' });
    expect(clock.pending()).toBe(0);
  });

  it('passes on what is no failure of the upstream as it is', async () => {
    const defect = new TypeError('defect');
    const upstream = compose([scripted('a', () => Promise.reject(defect)), scripted('b', found)]);
    await expect(manifest(upstream)).rejects.toBe(defect);
    expect(names()).toEqual(['a']);
  });
});

describe('one that is known to be down', () => {
  it('fails a manifest at once', async () => {
    const down = error('unavailable', { retryAfter: 500 });
    await expect(manifest(compose([scripted('a', down)]))).rejects.toBe(down);
    expect([names(), clock.pending()]).toEqual([['a'], 0]);
  });

  it.each(['statBlob', 'fetchBlob'] as const)('is waited for by %s, until it is back', async (method) => {
    const down = () => error('unavailable', { retryAfter: 500 });
    const upstream = compose([scripted('a', down, down, down, down, found)], { budget: 0, attempts: 1 });
    const outcome: Promise<Reply<unknown>> = upstream[method]({ ...query(60_000), digest, from: 0 });
    expect(await within(5_000, outcome)).toBe(found);
    expect(asked.map(({ at }) => at)).toEqual([0, 600, 1_200, 1_800, 2_400]);
    expect(events).toEqual([]);
  });

  it('is waited for until the deadline, and then what is said is when to ask again', async () => {
    const upstream = compose([scripted('a', () => error('unavailable', { retryAfter: 700 }))]);
    expect(await within(3_000, stat(upstream, 3_000))).toMatchObject({ code: 'unavailable' });
    expect(asked.map(({ at }) => at)).toEqual([0, 800, 1_600, 2_400, 2_900]);
    expect(clock.pending()).toBe(0);
  });

  it('is waited for by a blob also where its own tries found it so', async () => {
    const refused = () => {
      statuses.set('a', statusOf('a', 'open', clock.now() + 2_000));
      void clock.after(2_000, () => statuses.set('a', statusOf('a', 'half-open')));
      return error('unreachable', { host: 'a.example' });
    };
    const upstream = compose([scripted('a', refused, refused, refused, found)], { attempts: 1, budget: 0 });
    expect(await within(10_000, stat(upstream))).toBe(found);
    expect(asked.map(({ at }) => at)).toEqual([0, 2_100, 4_200, 6_300]);
  });

  it('is not waited for where its tries failed and it is not known to be down, nor where it said when to come', async () => {
    const refused = error('unreachable');
    const one = compose([scripted('a', refused)], { attempts: 1 });
    expect(await within(10_000, stat(one))).toBe(refused);
    statuses.set('a', statusOf('a', 'open', clock.now() + 2_000));
    const later = error('server-error', { status: 503, retryAfter: 600_000 });
    expect(await within(10_000, stat(compose([scripted('a', later)])))).toBe(later);
    expect(await within(10_000, manifest(one))).toBe(refused);
    expect(names()).toEqual(['a', 'a', 'a']);
  });

  it.each([
    ['a blob', stat],
    ['a manifest', manifest],
  ])('(%s) does not let others be asked without end that failed for themselves', async (_what, ask) => {
    const refused = error('server-error', { status: 500, host: 'a.example' });
    const upstream = compose([scripted('a', refused)]);
    statuses.set('a', {
      ...statusOf('a', 'closed'),
      hosts: [
        { host: 'a.example', state: 'closed', failures: 1 },
        { host: 'cdn', state: 'half-open', failures: 3 },
      ],
    });
    expect(await within(10_000, ask(upstream) as Promise<Reply<unknown>>)).toBe(refused);
    expect(names()).toEqual(['a', 'a', 'a']);
  });

  it('costs those that lead to it nothing while it is waited for', async () => {
    const host = 'cdn.example';
    const upstream = compose([scripted('a', error('unavailable', { host, retryAfter: 20_000 }), found)]);
    statuses.set('a', { ...statusOf('a', 'closed'), hosts: statusOf('cdn', 'open', clock.now() + 20_000).hosts });
    const outcome = stat(upstream);
    await clock.advance(20_500);
    expect(names()).toEqual(['a']);
    statuses.set('a', {
      ...statusOf('a', 'closed'),
      hosts: [{ host, state: 'half-open', failures: 3, isProbed: true }],
    });
    await clock.advance(5_000);
    expect(names()).toEqual(['a']);
    statuses.delete('a');
    expect(await within(250, outcome)).toBe(found);
  });

  it('is waited for to the deadline by a blob also where it is left alone for longer than that', async () => {
    const failing = error('unreachable', { host: 'a.example' });
    const upstream = compose([scripted('a', failing, found)], { attempts: 1 });
    statuses.set('a', statusOf('a', 'open', clock.now() + 60_000));
    const outcome = stat(upstream, 6_000);
    await clock.advance(5_500);
    statuses.delete('a');
    expect(await within(450, outcome)).toBe(found);
    expect(asked.map(({ at }) => at)).toEqual([0, 5_900]);
  });

  it('is waited for by a manifest that was under way when it failed', async () => {
    const down = () => error('unavailable', { host: 'a.example', retryAfter: 2_000 });
    const upstream = compose([scripted('a', error('unreachable'), down, found)]);
    const outcome = manifest(upstream);
    await clock.advance(10);
    statuses.set('a', statusOf('a', 'open', clock.now() + 2_000));
    await clock.advance(2_000);
    statuses.set('a', statusOf('a', 'half-open'));
    expect(await within(1_000, outcome)).toBe(found);
    expect(names()).toEqual(['a', 'a', 'a']);
  });

  it('loses as an explanation to what it said before', async () => {
    const refused = error('unreachable');
    const upstream = compose([scripted('a', refused, error('unavailable', { retryAfter: 9_999_999 }))]);
    expect(await within(2_000, stat(upstream, 2_000))).toBe(refused);
  });
});

describe('several endpoints', () => {
  it('only the first is asked while it answers', async () => {
    const upstream = compose([scripted('a', found), scripted('b', found)]);
    await manifest(upstream);
    await stat(upstream);
    expect(names()).toEqual(['a', 'a']);
  });

  it.each<UpstreamErrorCode>([
    'unreachable',
    'timeout',
    'server-error',
    'rate-limited',
    'foreign-answer',
    'token-failed',
    'credentials-rejected',
    'address-refused',
    'digest-mismatch',
    'too-large',
    'busy',
    'unavailable',
  ])('the next one is asked at once after %s', async (code) => {
    const upstream = compose([scripted('a', error(code, { retryAfter: 1 })), scripted('b', found)]);
    expect(await manifest(upstream)).toBe(found);
    expect([names(), clock.pending()]).toEqual([['a', 'b'], 0]);
  });

  it('one that failed is asked last for half a minute, and then first again', async () => {
    const upstream = compose([scripted('a', error('timeout'), found), scripted('b', found)]);
    await manifest(upstream);
    await manifest(upstream);
    await clock.advance(29_999);
    await stat(upstream);
    expect(names()).toEqual(['a', 'b', 'b', 'b']);
    await clock.advance(1);
    await manifest(upstream);
    expect(names().at(-1)).toBe('a');
    expect(events).toEqual([{ type: 'endpoint-failed', upstream: 'up', host: 'a.example', error: 'timeout' }]);
  });

  it('one that failed has its place back as soon as it answers', async () => {
    const upstream = compose([scripted('a', error('timeout'), found), scripted('b', found, error('timeout'), found)]);
    await manifest(upstream);
    await manifest(upstream);
    await manifest(upstream);
    expect(names()).toEqual(['a', 'b', 'b', 'a', 'a']);
  });

  it.each<UpstreamErrorCode>(['rate-limited', 'too-large', 'busy'])('one is not passed over for %s', async (code) => {
    const upstream = compose([scripted('a', error(code), found), scripted('b', found)]);
    await manifest(upstream);
    await manifest(upstream);
    expect(names()).toEqual(['a', 'b', 'a']);
    expect(events).toEqual([]);
  });

  it('a silent one leaves the others their share of the time', async () => {
    const silent = async () => {
      await new Promise<void>((resolve) => void clock.after(asked.at(-1)!.deadlineAt - clock.monotonic(), resolve));
      throw error('timeout');
    };
    const upstream = compose([scripted('a', silent), scripted('b', silent), scripted('c', found)]);
    expect(await within(9_000, manifest(upstream, 9_000))).toBe(found);
    expect(asked.map(({ at, deadlineAt }) => [at, deadlineAt])).toEqual([
      [0, 9_000],
      [3_000, 9_000],
      [6_000, 9_000],
    ]);
    expect(events.map((event) => 'host' in event && event.host)).toEqual(['a.example', 'b.example']);
  });

  it.each<UpstreamErrorCode>(['unreachable', 'unavailable', 'foreign-answer'])(
    'a slow one is not cut off because there is another that fails (%s)',
    async (code) => {
      const upstream = compose([scripted('a', after(9_000, found)), scripted('b', error(code))]);
      expect(await within(9_000, manifest(upstream))).toBe(found);
      expect(names().filter((name) => name === 'a')).toEqual(['a']);
      asked = [];
      expect(await within(9_000, manifest(upstream))).toBe(found);
      expect(names()[0]).toBe('a');
    },
  );

  it('a slow one goes on while the next is asked, and the first that answers wins', async () => {
    const slow = { kind: 'found', value: 'slow' } as Reply<never>;
    const upstream = compose([scripted('a', after(6_000, slow)), scripted('b', after(2_000, found))]);
    expect(await within(10_000, manifest(upstream))).toBe(slow);
    const other = compose([scripted('a', after(8_000, slow)), scripted('b', after(2_000, found))]);
    expect(await within(10_000, manifest(other))).toBe(found);
  });

  it('the one that lost is let go, with the body it sends late, and only its silence is held against it', async () => {
    let lost: AbortSignal | undefined;
    let closed = false;
    const body: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: true, value: undefined }),
        return: async () => {
          closed = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const late = scripted('a', after(9_000, { kind: 'found', value: { start: 0, body } }));
    const client: Upstream = new Proxy(late.client, {
      get: (target, method) => (query: Query) => {
        lost = query.signal;
        return (target[method as keyof Upstream] as (query: Query) => unknown)(query);
      },
    });
    const blob = { kind: 'found', value: { start: 0, body } } as Reply<FetchedBlob>;
    const upstream = compose([{ ...late, client }, scripted('b', blob)]);
    const outcome = upstream.fetchBlob({ ...query(10_000), digest, from: 0 });
    expect(await within(4_999, outcome)).toBe(undefined);
    expect(lost?.aborted).toBe(false);
    expect(await within(1, outcome)).toMatchObject({ kind: 'found' });
    expect([lost?.aborted, closed]).toEqual([true, false]);
    expect(lost?.reason).toMatchObject({ name: 'AbortError' });
    await clock.advance(4_000);
    expect([closed, clock.pending()]).toEqual([true, 0]);
    expect(events).toEqual([{ type: 'endpoint-failed', upstream: 'up', host: 'a.example', error: 'timeout' }]);
  });

  it('one that failed for a moment is asked again beside another that is silent', async () => {
    const upstream = compose([scripted('a', error('unreachable'), found), scripted('b', after(60_000, found))]);
    expect(await within(9_000, manifest(upstream))).toBe(found);
    expect(asked.map(({ name, at }) => `${name} ${at}`)).toEqual(['a 0', 'b 0', 'a 5050']);
  });

  it('all are left when nobody waits any more', async () => {
    const leaving = new AbortController();
    const upstream = compose([scripted('a', after(9_000, found)), scripted('b', after(9_000, found))]);
    const outcome = upstream.statBlob({ ...query(10_000, leaving.signal), digest });
    await clock.advance(6_000);
    leaving.abort(new Error('gone'));
    await expect(outcome).rejects.toThrow('gone');
    expect(events).toEqual([]);
  });

  it('are asked round by round, those that may mend', async () => {
    const refused = error('unreachable');
    const upstream = compose([scripted('a', refused), scripted('b', error('foreign-answer')), scripted('c', refused)]);
    expect(await within(60_000, manifest(upstream))).toBe(refused);
    expect(names()).toEqual(['a', 'b', 'c', 'a', 'c', 'a', 'c']);
  });

  it('one that said when to ask again is not asked before', async () => {
    const later = error('server-error', { status: 503, retryAfter: 5_000 });
    const upstream = compose([scripted('a', later, found), scripted('b', error('unreachable'))]);
    expect(await within(20_000, manifest(upstream))).toBe(found);
    expect(asked.map(({ name, at }) => `${name} ${at}`)).toEqual(['a 0', 'b 0', 'b 50', 'b 150', 'a 5051']);
  });

  it.each([
    [['unreachable', 'server-error'], 0],
    [['foreign-answer', 'rate-limited'], 0],
    [['unavailable', 'rate-limited'], 1],
    [['unavailable', 'unreachable'], 1],
    [['unavailable', 'unavailable'], 1],
  ] as const)('of %j what is told is number %i', async ([one, other], telling) => {
    const errors = [error(one, { retryAfter: 90_000 }), error(other, { retryAfter: 80_000 })];
    const upstream = compose([scripted('a', errors[0]!), scripted('b', errors[1]!)]);
    expect(await within(60_000, manifest(upstream))).toBe(errors[telling]);
  });

  it('a blob waits for whichever is back first', async () => {
    const down = (retryAfter: number) => () => error('unavailable', { retryAfter });
    const upstream = compose([scripted('a', down(900), found), scripted('b', down(200), found)]);
    expect(await within(5_000, stat(upstream))).toBe(found);
    expect(asked.map(({ name, at }) => `${name} ${at}`)).toEqual(['a 0', 'b 0', 'b 300']);
  });
});

describe('what a name stands for', () => {
  const page = { kind: 'found', value: { tags: [], manifests: [{}] } } as Reply<never>;
  const changing: [string, (upstream: Upstream) => Promise<unknown>][] = [
    ['the HEAD of a tag', (upstream) => upstream.resolve({ ...query(), tag: '1' })],
    ['the manifest of a tag', (upstream) => manifest(upstream)],
    ['tags', (upstream) => upstream.listTags(query())],
    ['referrers', (upstream) => upstream.listReferrers({ ...query(), digest })],
    ['the ping', (upstream) => upstream.ping(query())],
  ];
  const byDigest = (upstream: Upstream) =>
    upstream.fetchManifest({ ...query(), reference: { kind: 'digest', digest } });

  it.each(changing)('is asked of url first although a blob failed there: %s', async (_what, ask) => {
    const upstream = compose([scripted('a', error('unreachable'), page), scripted('b', page)]);
    await stat(upstream);
    await ask(upstream);
    await stat(upstream);
    await byDigest(upstream);
    expect(names()).toEqual(['a', 'b', 'a', 'b', 'b']);
  });

  it.each<UpstreamErrorCode>(['foreign-answer', 'digest-mismatch', 'credentials-rejected', 'address-refused'])(
    'is asked of url first although one repository got %s there',
    async (code) => {
      const upstream = compose([scripted('a', error(code), page), scripted('b', page)]);
      for (const [, ask] of [...changing, ...changing].slice(0, 6)) await ask(upstream);
      expect(names()).toEqual(['a', 'b', 'a', 'a', 'a', 'a', 'a']);
    },
  );

  it('is asked of url again 5 s after it failed at once, for another may lag behind it', async () => {
    const upstream = compose([scripted('a', error('unreachable'), page), scripted('b', page)]);
    await manifest(upstream);
    await clock.advance(4_999);
    await manifest(upstream);
    await clock.advance(1);
    await manifest(upstream);
    expect(names()).toEqual(['a', 'b', 'b', 'a']);
  });
});

describe('that there is nothing', () => {
  const nothing = [absent, denied] as const;

  it.each(nothing)('is believed of the first endpoint ($kind)', async (reply) => {
    expect(await manifest(compose([scripted('a', reply), scripted('b', found)]))).toBe(reply);
    expect(names()).toEqual(['a']);
  });

  it.each(nothing)('is not believed of another one ($kind): then the first has failed', async (reply) => {
    const page = error('foreign-answer');
    await expect(manifest(compose([scripted('a', page), scripted('b', reply)]))).rejects.toBe(page);
    expect(names()).toEqual(['a', 'b']);
  });

  it('of another one lets the first be asked, also when that failed lately', async () => {
    const upstream = compose([scripted('a', error('timeout'), absent), scripted('b', found, denied)]);
    await manifest(upstream);
    expect(await manifest(upstream)).toBe(absent);
    expect(names()).toEqual(['a', 'b', 'b', 'a']);
  });

  it('of another one lets the third be asked', async () => {
    const upstream = compose([scripted('a', error('unreachable')), scripted('b', absent), scripted('c', found)]);
    expect(await manifest(upstream)).toBe(found);
  });

  it('refers to a manifest is not believed of another one either', async () => {
    const list = (manifests: object[]) => ({ kind: 'found', value: { manifests } }) as Reply<Referrers>;
    const refers = (upstream: Upstream) => upstream.listReferrers({ ...query(), digest });
    const page = error('foreign-answer');
    await expect(refers(compose([scripted('a', page), scripted('b', list([]))]))).rejects.toBe(page);
    const some = list([{ digest }]);
    expect(await refers(compose([scripted('a', page), scripted('b', some)]))).toBe(some);
    const none = list([]);
    expect(await refers(compose([scripted('a', none), scripted('b', some)]))).toBe(none);
  });
});

describe('the body of a blob', () => {
  const blob = (name: string, body: AsyncIterable<Uint8Array>) =>
    ({ kind: 'found', value: { start: 0, total: 3, validator: `"${name}"`, body } }) as Reply<FetchedBlob>;
  async function* whole() {
    yield new Uint8Array([1]);
    yield new Uint8Array([2, 3]);
  }
  async function* cut() {
    yield new Uint8Array([1]);
    throw error('unreachable');
  }
  const fetch = async (upstream: Upstream): Promise<FetchedBlob> => {
    const reply = await upstream.fetchBlob({ ...query(), digest, from: 0 });
    if (reply.kind !== 'found') throw new Error('not found');
    return reply.value;
  };

  it('comes as it is', async () => {
    const upstream = compose([scripted('a', blob('a', whole())), scripted('b', found)]);
    const { body, ...rest } = await fetch(upstream);
    expect(rest).toEqual({ start: 0, total: 3, validator: '"a"' });
    expect(await collect(body, 10)).toEqual(new Uint8Array([1, 2, 3]));
    expect(events).toEqual([]);
  });

  it('that breaks off lets another endpoint be asked next', async () => {
    const upstream = compose([scripted('a', blob('a', cut()), blob('a', whole())), scripted('b', blob('b', whole()))]);
    const { body } = await fetch(upstream);
    await expect(collect(body, 10)).rejects.toMatchObject({ code: 'unreachable' });
    expect((await fetch(upstream)).validator).toBe('"b"');
    expect(events).toEqual([expect.objectContaining({ type: 'endpoint-failed', host: 'a.example' })]);
  });

  it('that was not the right one lets another endpoint be asked for the whole next, for a minute', async () => {
    const clients = () => [
      scripted('a', blob('a', whole()), blob('a', whole())),
      scripted('b', blob('b', whole()), blob('b', whole())),
    ];
    const upstream = compose(clients());
    await collect((await fetch(upstream)).body, 10);
    expect((await fetch(upstream)).validator).toBe('"b"');
    const later = compose(clients());
    await collect((await fetch(later)).body, 10);
    await clock.advance(60_001);
    expect((await fetch(later)).validator).toBe('"a"');
  });

  it('that its reader leaves is closed, and nobody has failed', async () => {
    let closed = false;
    const body: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: new Uint8Array(1) }),
        return: async () => {
          closed = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const upstream = compose([scripted('a', blob('a', body)), scripted('b', found)]);
    await (await fetch(upstream)).body[Symbol.asyncIterator]().return?.();
    expect([closed, events]).toEqual([true, []]);
  });
});

describe('a page of tags', () => {
  const page = (tags: string[], next?: string) =>
    ({ kind: 'found', value: { tags, ...(next !== undefined && { next }) } }) as Reply<TagPage>;
  const list = (upstream: Upstream, cursor?: string) =>
    upstream.listTags({ ...query(), ...(cursor !== undefined && { cursor }) });
  const nextOf = (reply: Reply<TagPage>) => (reply.kind === 'found' ? reply.value.next : undefined);

  it('is gone on with where it came from', async () => {
    const upstream = compose([
      scripted('a', error('timeout'), page(['x'])),
      scripted('b', page(['one'], 'last=one&n=1'), page(['two'])),
    ]);
    const next = nextOf(await list(upstream));
    await clock.advance(60_000);
    expect(await list(upstream, next)).toEqual(page(['two']));
    expect(names()).toEqual(['a', 'b', 'b']);
    expect(asked.at(-1)?.cursor).toBe('last=one&n=1');
  });

  it('of the first endpoint stays there, also when that failed since', async () => {
    const upstream = compose([
      scripted('a', page(['one'], 'last=one'), error('foreign-answer'), page(['two'])),
      scripted('b', found),
    ]);
    const next = nextOf(await list(upstream));
    await manifest(upstream);
    expect(await list(upstream, next)).toEqual(page(['two']));
    expect(names()).toEqual(['a', 'a', 'b', 'a']);
  });

  it('is not asked of another endpoint when its own fails', async () => {
    const upstream = compose([scripted('a', page(['one'], 'last=one'), error('foreign-answer')), scripted('b', found)]);
    const next = nextOf(await list(upstream));
    await expect(list(upstream, next)).rejects.toMatchObject({ code: 'foreign-answer' });
    expect(names()).toEqual(['a', 'a']);
  });

  it.each([absent, denied])('begun elsewhere, $kind on a further page is a failure and no 404', async (reply) => {
    const upstream = compose([scripted('a', error('timeout')), scripted('b', page(['one'], 'last=one'), reply)]);
    const next = nextOf(await list(upstream));
    await expect(list(upstream, next)).rejects.toMatchObject({ code: 'server-error', upstream: 'up' });
    expect(names()).toEqual(['a', 'b', 'b']);
  });

  it('keeps a cursor that looks like a marked one', async () => {
    const upstream = compose([scripted('a', page(['one'], '~00000000~x'), page(['two']))]);
    await list(upstream, nextOf(await list(upstream)));
    expect(asked.at(-1)?.cursor).toBe('~00000000~x');
  });

  it('of an endpoint that is there no longer is refused', async () => {
    const before = compose([scripted('a', error('timeout')), scripted('b', page(['one'], 'last=one'))]);
    const next = nextOf(await list(before));
    const after = compose([scripted('a', page(['one']))]);
    await expect(list(after, next)).rejects.toMatchObject({ code: 'page-invalid' });
  });
});

describe('the status', () => {
  const pair = () => compose([scripted('a', found), scripted('b', found)]);
  const merged = () => pair().status();

  it('is that of the endpoint that is doing best, with the hosts of all', () => {
    const [closed, half] = [statusOf('a', 'closed'), statusOf('b', 'half-open')];
    const open = (name: string, inMs: number) => statusOf(name, 'open', clock.now() + inMs);
    for (const [one, other, expected] of [
      [closed, half, { state: 'closed' }],
      [open('a', 5), statusOf('b', 'closed'), { state: 'closed' }],
      [open('a', 5), half, { state: 'half-open' }],
      [open('a', 5), open('b', 3), { state: 'open', retryAt: clock.now() + 3 }],
      [open('a', 2), open('b', 3), { state: 'open', retryAt: clock.now() + 2 }],
    ] as const) {
      statuses.set('a', one).set('b', other);
      expect(merged()).toEqual({ key: 'up', mode: 'normal', ...expected, hosts: [...one.hosts, ...other.hosts] });
      expect(pair().state({ repository: 'team/app', scope: '-' })).toBe(expected.state);
    }
  });
});
