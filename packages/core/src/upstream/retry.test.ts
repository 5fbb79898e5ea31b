import { describe, expect, it } from 'vitest';
import { isLeftAlone, nextTry, type RetryContext, retryRulesOf } from './retry.ts';
import type { HostStatus } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

const now = Date.UTC(2026, 0, 1);
const rules = { attempts: 100, minWaitMs: 100, maxWaitMs: 5_000 };
const error = (code: UpstreamErrorCode, more: { status?: number; retryAt?: number } = {}) =>
  new UpstreamError(code, 'x', { upstream: 'up', ...more });
const ask = (failure: UpstreamError, context: Partial<RetryContext> = {}) =>
  nextTry(failure, { rules, tries: 1, leftMs: 10_000, now, patient: false, random: () => 0.5, ...context });

describe('whether an endpoint is asked again', () => {
  it.each<[UpstreamErrorCode, { status?: number; retryAt?: number }, boolean]>([
    ['unreachable', {}, true],
    ['timeout', {}, true],
    ['digest-mismatch', {}, true],
    ['server-error', {}, true],
    ['server-error', { status: 500 }, true],
    ['server-error', { status: 503 }, true],
    ['server-error', { status: 599 }, true],
    ['server-error', { status: 408 }, true],
    ['server-error', { status: 425 }, true],
    ['server-error', { status: 501 }, false],
    ['server-error', { status: 505 }, false],
    ['server-error', { status: 405 }, false],
    ['server-error', { status: 304 }, false],
    ['token-failed', { status: 502 }, true],
    ['token-failed', { status: 200 }, false],
    ['token-failed', { status: 403 }, false],
    ['token-failed', {}, false],
    ['rate-limited', { status: 429, retryAt: now + 1_000 }, true],
    ['rate-limited', { status: 429 }, false],
    ['foreign-answer', { status: 503 }, false],
    ['credentials-rejected', { status: 401, retryAt: now + 5 }, false],
    ['address-refused', {}, false],
    ['too-large', {}, false],
    ['busy', {}, false],
  ])('%s %j: %s', (code, more, expected) => {
    expect(ask(error(code, more)) !== undefined).toBe(expected);
  });
});

it('is asked no more often than `attempts`', () => {
  const attempts = { rules: { ...rules, attempts: 3 } };
  expect(ask(error('unreachable'), { ...attempts, tries: 2 })).toBeDefined();
  expect(ask(error('unreachable'), { ...attempts, tries: 3 })).toBeUndefined();
});

describe('how long to wait before it', () => {
  it.each([
    [1, 0, 0],
    [1, 0.5, 50],
    [1, 1, 100],
    [2, 1, 200],
    [3, 1, 400],
    [7, 1, 5_000],
    [60, 1, 5_000],
  ])('after %i tries, with %f of the jitter: %i ms', (tries, random, waitMs) => {
    expect(ask(error('unreachable'), { tries, random: () => random })).toEqual({ waitMs, isRetry: true });
  });

  it('is never less than the upstream said', () => {
    for (const random of [0, 0.5, 0.999]) {
      const next = ask(error('server-error', { status: 503, retryAt: now + 1_000 }), { random: () => random });
      expect(next?.waitMs).toBeGreaterThan(1_000);
      expect(next?.waitMs).toBeLessThan(1_200);
    }
  });

  it.each([
    ['fits', 2_000, 2_200, true],
    ['leaves no time for an answer', 2_000, 2_100, false],
    ['is past the deadline', 30_000, 10_000, false],
  ])('what it said %s', (_what, retryAfter, leftMs, expected) => {
    for (const [code, status] of [
      ['server-error', 503],
      ['rate-limited', 429],
    ] as const) {
      const failure = error(code, { status, retryAt: now + retryAfter });
      expect(ask(failure, { leftMs, random: () => 0 }) !== undefined).toBe(expected);
    }
  });

  it('leaves time for an answer, and there is none without', () => {
    expect(ask(error('timeout'), { tries: 9, leftMs: 300, random: () => 1 })?.waitMs).toBe(200);
    expect(ask(error('timeout'), { leftMs: 99, random: () => 0 })).toBeUndefined();
    expect(ask(error('timeout'), { leftMs: -5, random: () => 0 })).toBeUndefined();
  });

  it('of an instant that is past counts as now', () => {
    expect(ask(error('server-error', { status: 503, retryAt: now - 60_000 }), { random: () => 0 })?.waitMs).toBe(1);
  });
});

describe('an endpoint that is known to be down', () => {
  const patient = (retryAt: number | undefined, random: number, leftMs = 10_000) =>
    ask(error('unavailable', retryAt === undefined ? {} : { retryAt }), {
      patient: true,
      leftMs,
      random: () => random,
    });

  it('is waited for where there is patience, and that is no retry', () => {
    expect(patient(now + 500, 0)).toEqual({ waitMs: 500, isRetry: false });
    expect(patient(now + 500, 0.5)).toEqual({ waitMs: 600, isRetry: false });
  });

  it('is not asked more often than every 50 ms', () => {
    expect(patient(now, 0)?.waitMs).toBe(50);
    expect(patient(now - 5_000, 1)?.waitMs).toBe(250);
    expect(patient(undefined, 0)?.waitMs).toBe(1_000);
  });

  it('may be found well by others, also before its time', () => {
    expect(patient(now + 60_000, 0)?.waitMs).toBe(1_000);
    expect(patient(now + 60_000, 1)?.waitMs).toBe(1_200);
  });

  it('is not waited for beyond the deadline', () => {
    expect(patient(now + 60_000, 1, 500)?.waitMs).toBe(400);
    expect(patient(now + 60_000, 1, 150)?.waitMs).toBe(50);
    expect(patient(now + 60_000, 0, 149)).toBeUndefined();
  });
});

describe('without patience', () => {
  const down = (retryAfter: number): HostStatus => ({
    host: 'cdn',
    state: 'open',
    failures: 3,
    retryAt: now + retryAfter,
  });
  const probed: HostStatus = { host: 'cdn', state: 'half-open', failures: 3, isProbed: true };
  const closed: HostStatus = { host: 'cdn', state: 'closed', failures: 0 };
  const unavailable = error('unavailable', { retryAt: now + 250 });
  const spent = { rules: { ...rules, attempts: 3 }, tries: 3 };

  it.each<[string, UpstreamError, Partial<RetryContext>, number | undefined]>([
    ['a request that was never sent fails at once', unavailable, { tries: 0 }, undefined],
    ['the same where its host is known', unavailable, { tries: 0, host: down(2_000) }, undefined],
    ['it waits for the end of a probe that is out', unavailable, { tries: 0, host: probed }, 50],
    ['it goes where the host is found up meanwhile', unavailable, { tries: 0, host: closed }, 50],
    ['one that was under way waits for the next probe', unavailable, { host: down(700) }, 700],
    ['looking again meanwhile', unavailable, { host: down(9_900) }, 1_000],
    ['but not where that comes too late', unavailable, { host: down(9_901) }, undefined],
    ['its own failures are waited out likewise', error('unreachable'), { ...spent, host: down(700) }, 700],
    [
      'not where a request is sent once',
      error('unreachable'),
      { rules: { ...rules, attempts: 1 }, host: down(700) },
      undefined,
    ],
    ['not for a host that is up', error('unreachable'), { ...spent, host: closed }, undefined],
    ['nor where none is known', error('unreachable'), spent, undefined],
  ])('%s', (_what, failure, context, waitMs) => {
    expect(ask(failure, { random: () => 0, ...context })?.waitMs).toBe(waitMs);
  });

  it('a host is left alone while it is not asked, and while a probe is out', () => {
    const halfOpen: HostStatus = { host: 'cdn', state: 'half-open', failures: 3 };
    expect([down(5), probed, halfOpen, closed, undefined].map(isLeftAlone)).toEqual([true, true, false, false, false]);
  });
});

it('takes its rules from the options', () => {
  expect(retryRulesOf({ attempts: 5, minWait: '1s', maxWait: 2_000, budget: 0 })).toEqual({
    attempts: 5,
    minWaitMs: 1_000,
    maxWaitMs: 2_000,
  });
});
