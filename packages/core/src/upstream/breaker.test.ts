import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type Attempted,
  type Breaker,
  type BreakerStatus,
  createBreaker,
  type EndAttempt,
  type Sign,
} from './breaker.ts';

const never = Number.POSITIVE_INFINITY;
const alive: Sign = { kind: 'alive' };
const refused: Sign = { kind: 'failed', waited: never, isSudden: true };
const nothing: Sign = { kind: 'nothing' };
const inVain = (waited: number): Sign => ({ kind: 'failed', waited });
const errorAt = (path: string): Sign => ({ kind: 'failed', waited: never, path, isSudden: true });

let clock: ManualClock;
let changes: BreakerStatus[];
let breaker: Breaker;

beforeEach(() => {
  clock = manualClock();
  changes = [];
  breaker = createBreaker(
    { failures: 3, openForMs: 2_000, maxOpenForMs: 60_000 },
    { now: () => clock.monotonic(), changed: (status) => changes.push(status) },
  );
});

const asked = (more: Partial<Attempted> = {}): Attempted => ({ path: '/a', patience: 10_000, ...more });

function begin(more?: Partial<Attempted>): EndAttempt {
  const admitted = breaker.admit(asked(more));
  if ('retryAt' in admitted) throw new Error(`refused until ${admitted.retryAt}`);
  return admitted.end;
}

const isRefused = (more?: Partial<Attempted>) => breaker.refusedUntil(asked(more)) !== undefined;
const states = () => changes.map(({ state }) => state);

function fail(times = 3, sign = refused, more?: Partial<Attempted>): void {
  for (let i = 0; i < times; i++) begin(more)(sign);
}

describe('closed', () => {
  it('opens with the last of so many failures in a row, and says until when', () => {
    fail(2);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 2 });
    fail(1);
    expect(breaker.status()).toEqual({ state: 'open', failures: 3, retryAt: 2_000 });
    expect(changes).toEqual([{ state: 'open', failures: 3, retryAt: 2_000 }]);
    expect(breaker.admit(asked())).toEqual({ retryAt: 2_000 });
  });

  it('stays so when answers come in between', () => {
    for (let i = 0; i < 10; i++) {
      fail(2);
      begin()(alive);
    }
    expect(breaker.status()).toEqual({ state: 'closed', failures: 0 });
  });

  it('takes no notice of what says nothing, in either direction', () => {
    fail(2);
    for (let i = 0; i < 10; i++) begin()(nothing);
    expect(breaker.status().failures).toBe(2);
    fail(1);
    expect(breaker.status().state).toBe('open');
  });

  it('counts each request once, however often it is said to have ended', () => {
    const end = begin();
    for (let i = 0; i < 5; i++) end(refused);
    expect(breaker.status().failures).toBe(1);
  });
});

describe('open', () => {
  it('lets one request through when its time is over, and closes by its answer', async () => {
    fail();
    await clock.advance(1_999);
    expect(isRefused()).toBe(true);
    await clock.advance(1);
    expect(breaker.status()).toEqual({ state: 'half-open', failures: 3 });
    const end = begin();
    expect(breaker.admit(asked())).toEqual({ retryAt: 2_250 });
    expect(breaker.status()).toEqual({ state: 'half-open', failures: 3, isProbed: true });
    end(alive);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 0 });
    expect(states()).toEqual(['open', 'half-open', 'closed']);
  });

  it('stays open twice as long after each probe that fails, up to its limit, and starts anew once it was closed', async () => {
    fail();
    const lengths: number[] = [];
    for (let i = 0; i < 7; i++) {
      const { retryAt } = breaker.status();
      lengths.push(retryAt! - clock.monotonic());
      await clock.advance(lengths.at(-1)!);
      begin()(refused);
    }
    expect(lengths).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    await clock.advance(60_000);
    begin()(alive);
    fail();
    expect(breaker.status().retryAt).toBe(clock.monotonic() + 2_000);
  });

  it('is not moved by what was asked before it opened, neither by an answer nor by a failure', async () => {
    const [one, two, probeLike] = [begin(), begin(), begin()];
    fail();
    one(alive);
    two(refused);
    expect(breaker.status()).toEqual({ state: 'open', failures: 3, retryAt: 2_000 });
    await clock.advance(2_000);
    const probe = begin();
    probeLike(refused);
    expect(breaker.status().state).toBe('half-open');
    probe(alive);
    expect(breaker.status().state).toBe('closed');
  });

  it('is not opened again by failures of what was asked before it closed', async () => {
    const late = [begin(), begin(), begin(), begin()];
    fail();
    await clock.advance(2_000);
    begin()(alive);
    for (const end of late) end(refused);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 0 });
  });
});

describe('one event that many requests meet', () => {
  const begun = (count: number) => Array.from({ length: count }, () => begin());

  it.each([
    ['connections reset', refused],
    ['errors', errorAt('/a')],
  ])('(%s) counts once, so that a load balancer’s restart stops nobody', (_what, sign) => {
    for (const end of begun(40)) end(sign);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 1 });
  });

  it('is told from an outage by those that begin after it', () => {
    for (let wave = 0; wave < 3; wave++) for (const end of begun(40)) end(refused);
    expect(breaker.status()).toMatchObject({ state: 'open', failures: 3 });
  });

  it('is not what timeouts are, which count each', () => {
    for (const end of begun(3)) end({ kind: 'failed', waited: never });
    expect(breaker.status().state).toBe('open');
  });
});

describe('an outage that nobody looked into for long', () => {
  it('is old news: all are let through, and one failure is enough to believe in it again, for longer', async () => {
    fail();
    await clock.advance(2_000 + 4_999);
    expect(breaker.status()).toEqual({ state: 'half-open', failures: 3 });
    await clock.advance(1);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 2 });
    expect(states()).toEqual(['open']);
    const [one] = [begin(), begin(), begin()];
    expect(states()).toEqual(['open', 'closed']);
    one(refused);
    expect(breaker.status()).toEqual({ state: 'open', failures: 3, retryAt: clock.monotonic() + 4_000 });
  });

  it('is forgotten after as long again as it was open, and anew where the host answers', async () => {
    fail();
    for (const ms of [2_000, 4_000, 8_000]) {
      await clock.advance(ms);
      begin()(refused);
    }
    await clock.advance(16_000 + 15_999);
    expect(breaker.status().state).toBe('half-open');
    await clock.advance(1);
    begin()(alive);
    fail();
    expect(breaker.status()).toEqual({ state: 'open', failures: 3, retryAt: clock.monotonic() + 2_000 });
  });

  it('is so also where the last probe came to nothing, and not while one is out', async () => {
    fail();
    await clock.advance(2_000);
    const probe = begin();
    await clock.advance(60_000);
    expect(breaker.status()).toEqual({ state: 'half-open', failures: 3 });
    probe(nothing);
    await clock.advance(4_999);
    expect(breaker.status().state).toBe('half-open');
    await clock.advance(1);
    expect(breaker.status().state).toBe('closed');
  });
});

describe('half-open', () => {
  beforeEach(async () => {
    fail();
    await clock.advance(2_000);
  });

  it.each([
    ['whose caller left', nothing],
    ['that found no connection', nothing],
  ])('a probe %s makes room for the next one, at once', (_why, sign) => {
    for (let i = 0; i < 5; i++) begin()(sign);
    expect(breaker.status().state).toBe('half-open');
    begin()(alive);
    expect(breaker.status().state).toBe('closed');
  });

  it('a probe that hangs is followed by another after a while, whose answer counts', async () => {
    const hanging = begin();
    await clock.advance(1_999);
    expect(isRefused()).toBe(true);
    await clock.advance(1);
    const second = begin();
    expect(isRefused()).toBe(true);
    second(alive);
    hanging(refused);
    expect(breaker.status()).toEqual({ state: 'closed', failures: 0 });
  });

  it('of several probes that hang, the first to fail opens it again, and the others do not add to that', async () => {
    const first = begin();
    await clock.advance(2_000);
    const second = begin();
    await clock.advance(2_000);
    const third = begin();
    first(inVain(4_000));
    expect(breaker.status()).toMatchObject({ state: 'open', retryAt: 10_000 });
    await clock.advance(4_000);
    const fourth = begin();
    second(refused);
    third(refused);
    expect(breaker.status().state).toBe('half-open');
    fourth(refused);
    expect(breaker.status()).toMatchObject({ state: 'open', retryAt: 18_000 });
  });
});

describe('what failures do not speak for is let through', () => {
  it('who waits much longer than those who waited in vain may get an answer, and closes it', () => {
    fail(3, inVain(2_000), { patience: 2_000 });
    expect([isRefused({ patience: 2_000 }), isRefused({ patience: 3_999 }), isRefused({ patience: 10_000 })]).toEqual([
      true,
      true,
      false,
    ]);
    begin({ patience: 10_000 })(alive);
    expect(breaker.status().state).toBe('closed');
  });

  it('but not once as many of them waited in vain, too', async () => {
    fail(3, inVain(2_000), { patience: 2_000 });
    fail(2, inVain(10_000));
    expect(isRefused()).toBe(false);
    fail(1, inVain(10_000));
    expect(isRefused()).toBe(true);
    expect(isRefused({ patience: 30_000 })).toBe(false);
    fail(3, refused, { patience: 30_000 });
    expect(isRefused({ patience: never })).toBe(true);
    // Its time is still that of the first failures.
    expect(breaker.status().retryAt).toBe(2_000);
  });

  it('their failures count although short probes failed meanwhile', async () => {
    fail(3, inVain(2_000), { patience: 2_000 });
    const patient = [begin(), begin(), begin()];
    await clock.advance(2_000);
    begin({ patience: 2_000 })(inVain(2_000));
    for (const end of patient) end(inVain(10_000));
    expect(isRefused()).toBe(true);
  });

  it('a path that gets errors says nothing of the others, until one of them does', () => {
    fail(3, errorAt('/a'));
    expect([isRefused(), isRefused({ path: '/b' })]).toEqual([true, false]);
    begin({ path: '/b' })(errorAt('/b'));
    expect(isRefused({ path: '/c' })).toBe(true);
  });

  it('another path’s answer closes it', () => {
    fail(3, errorAt('/a'));
    begin({ path: '/b' })(alive);
    expect([breaker.status().state, isRefused()]).toEqual(['closed', false]);
  });

  it('errors of several paths, and errors among lost connections, are the host’s', () => {
    fail(2, errorAt('/a'));
    fail(1);
    expect(isRefused({ path: '/b' })).toBe(true);
  });
});

it('looking whether a request would leave takes no probe’s place', async () => {
  fail();
  await clock.advance(2_000);
  for (let i = 0; i < 3; i++) expect(isRefused()).toBe(false);
  begin()(alive);
  expect(states()).toEqual(['open', 'half-open', 'closed']);
});
