import { describe, expect, it } from 'vitest';
import type { Outcome } from '../freshness/record.ts';
import type { Verdict } from '../freshness/settle.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { statusOf, warningOf } from './stale.ts';

const validatedAt = Date.UTC(2026, 0, 1, 12);
const served: Verdict<string> = { kind: 'serve', value: 'x', stored: true, validatedAt };
const failed = (status?: number): Outcome<string> => ({
  kind: 'failed',
  error: new UpstreamError('server-error', '', { upstream: 'hub', ...(status !== undefined && { status }) }),
});

describe('a warning', () => {
  it.each([
    ['failed', 'stale: hub is unavailable, last validated 2026-01-01T12:00:00.000Z'],
    ['absent', 'stale: hub has it no longer, last validated 2026-01-01T12:00:00.000Z'],
    ['denied', 'stale: hub denies it now, last validated 2026-01-01T12:00:00.000Z'],
    ['revalidating', undefined],
    [undefined, undefined],
  ] as const)('of what is stale because of %s: %s', (stale, warning) => {
    expect(warningOf('hub', { validatedAt, stale })).toBe(warning);
  });
});

describe('the cache status of what the upstream was asked for', () => {
  const ask = (outcome: Outcome<string> & { bytes?: unknown }, rest: Partial<Parameters<typeof statusOf>[0]> = {}) =>
    statusOf({ verdict: served, record: undefined, outcome, collapsed: false, ...rest } as Parameters<
      typeof statusOf
    >[0]);

  it('is a miss where nothing was stored, and stored where its bytes came', () => {
    expect(ask({ kind: 'found', value: 'x', stored: false })).toEqual({ hit: false, fwd: 'miss', fwdStatus: 200 });
    expect(ask({ kind: 'found', value: 'x', stored: true, bytes: 'x' })).toMatchObject({ fwd: 'miss', stored: true });
    expect(ask({ kind: 'found', value: 'x', stored: true }, { record: { stored: false } })).toMatchObject({
      fwd: 'miss',
    });
  });

  it('is stale where something was stored, and says why that was served', () => {
    const record = { stored: true };
    expect(ask({ kind: 'found', value: 'x', stored: true }, { record })).toMatchObject({ fwd: 'stale' });
    expect(ask(failed(503), { record, verdict: { ...served, stale: 'failed' } })).toEqual({
      hit: false,
      fwd: 'stale',
      fwdStatus: 503,
      detail: 'stale-failed',
    });
  });

  it('is a hit where it was not asked, and says that an older image is served', () => {
    const unasked = (verdict: object) =>
      statusOf({
        verdict: { ...served, ...verdict } as Verdict<string>,
        record: { stored: true },
        outcome: undefined,
        collapsed: false,
      });
    expect(unasked({})).toEqual({ hit: true });
    expect(unasked({ stale: 'absent' })).toEqual({ hit: true });
    expect(unasked({ stale: 'failed' })).toEqual({ hit: true, detail: 'stale-failed' });
  });

  it.each([
    [{ kind: 'absent', code: '', message: '' }, 404],
    [{ kind: 'denied', status: 401, message: '' }, 401],
    [failed(429), 429],
    [failed(), undefined],
    [{ kind: 'failed', error: new Error('no status') }, undefined],
  ] as const)('has the status that the upstream gave', (outcome, fwdStatus) => {
    expect(ask(outcome as Outcome<string>).fwdStatus).toBe(fwdStatus);
  });

  it('says when the request was shared', () => {
    expect(ask({ kind: 'found', value: 'x', stored: true }, { collapsed: true })).toMatchObject({ collapsed: true });
  });
});
