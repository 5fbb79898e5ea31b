import type { ProxyCacheEvent } from '@proxycache/core';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { logEvents } from './log.ts';

/** The lines that an event makes at a level. */
function linesOf(event: ProxyCacheEvent, level = 'debug'): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => lines.push(JSON.parse(line)) };
  logEvents(pino({ level, base: null, formatters: { level: (label) => ({ level: label }) } }, stream))(event);
  return lines;
}

const asked = { type: 'upstream-request', upstream: 'hub', operation: 'head', host: 'h', method: 'HEAD' } as const;
const blob = { upstream: 'hub', repository: 'a', digest: 'sha256:0' } as const;
const scrubbed = { type: 'scrub-ended', blobs: 9, bytes: 9, flawed: 0, records: 9, damaged: 0, durationMs: 1 } as const;
const ended = { type: 'ingest-ended', ...blob, bytes: 1, durationMs: 1 } as const;

test.each<[string, ProxyCacheEvent]>([
  ['a warning of core', { type: 'warning', message: 'key "x" hides an account' }],
  ['refused credentials', { type: 'credentials-rejected', upstream: 'hub', host: 'h', retryAt: 0 }],
  ['an upstream that could not say', { ...asked, status: undefined, durationMs: 1, error: 'unreachable' }],
  ['a wrong blob', { type: 'blob-quarantined', digest: 'sha256:0', size: 1, reason: 'wrong-bytes' }],
  ['a scrub that found wrong blobs', { ...scrubbed, outcome: 'finished', flawed: 1 }],
  ['a scrub that could not go on', { ...scrubbed, outcome: 'failed', error: 'EIO' }],
  ['a store that failed', { type: 'store-failed', operation: 'adopt', subject: 'sha256:0', error: 'EIO' }],
  ['a quota that runs out', { type: 'rate-limit', upstream: 'hub', low: true, limit: 100, remaining: 9, windowMs: 1 }],
  ['a host that is left alone', { type: 'breaker-changed', upstream: 'hub', host: 'h', state: 'open', retryAt: 1 }],
  ['a full disk', { type: 'passed-through', ...blob, reason: 'min-free' }],
  [
    'a quota that is full',
    { type: 'quota-exceeded', upstream: 'hub', of: 'cache', maxBytes: 1, claimedBytes: 0, wantedBytes: 2 },
  ],
  ['a coordinator that is away', { type: 'coordinator-failed', operation: 'acquire', error: 'away' }],
  ['a transfer that failed', { ...ended, outcome: 'failed', error: 'timeout' }],
  ['a transfer that was not stored', { ...ended, outcome: 'unstored', error: 'EIO' }],
  [
    'a defect',
    {
      type: 'request',
      method: 'GET',
      kind: 'tags',
      status: 500,
      durationMs: 1,
      error: 'internal',
      defect: 'TypeError: x',
    },
  ],
  ['a peer that cannot be read from', { type: 'peer-failed', peer: 'http://10.0.0.7:5000', error: 'refused' }],
])('%s is a warning', (_, event) => {
  expect(linesOf(event)).toEqual([expect.objectContaining({ level: 'warn' })]);
});

test.each<[string, ProxyCacheEvent]>([
  ['an answer of an upstream', { ...asked, status: 200, durationMs: 1 }],
  [
    'a quota that recovered',
    { type: 'rate-limit', upstream: 'hub', low: false, limit: 100, remaining: 90, windowMs: 1 },
  ],
  ['a host that is tried again', { type: 'breaker-changed', upstream: 'hub', host: 'h', state: 'half-open' }],
  ['a scrub that found nothing', { ...scrubbed, outcome: 'finished' }],
  ['a transfer that began', { type: 'ingest-started', ...blob }],
  ['a transfer that goes on', { type: 'ingest-resumed', ...blob, from: 9, attempt: 1, error: 'cut' }],
  ['whom a transfer gets its bytes from', { type: 'ingest-shared', ...blob, role: 'follower', from: 0 }],
  ['a transfer that was stored', { ...ended, outcome: 'stored' }],
  [
    'a request, which the server logs itself',
    { type: 'request', method: 'GET', kind: 'ping', status: 200, durationMs: 1 },
  ],
])('%s is there for debugging only', (_, event) => {
  expect(linesOf(event)).toEqual([expect.objectContaining({ level: 'debug', msg: event.type })]);
  expect(linesOf(event, 'info')).toEqual([]);
});

test('an audit is told to whoever reads what the server does, and a hook that fails to whoever looks after it', () => {
  const audit = { decision: 'deny', reason: 'not for eve', identity: 'eve', kind: 'manifest', method: 'GET' } as const;
  const told = { ...audit, upstream: 'hub', repository: 'a', reference: '1', status: 403, bytes: 9, complete: true };
  expect(linesOf({ type: 'pull', ...told, durationMs: 1 }, 'info')).toMatchObject([{ ...told, msg: 'pull' }]);
  const failed: ProxyCacheEvent = { type: 'access-failed', hook: 'authorize', error: 'not done within 5000 ms' };
  expect(linesOf(failed, 'warn')).toMatchObject([{ hook: 'authorize', msg: 'access-failed' }]);
});

test('that a host is back is told to whoever read that it was gone', () => {
  const back: ProxyCacheEvent = { type: 'breaker-changed', upstream: 'hub', host: 'h', state: 'closed' };
  expect(linesOf(back, 'info')).toEqual([
    { level: 'info', time: expect.anything(), upstream: 'hub', host: 'h', state: 'closed', msg: 'breaker-changed' },
  ]);
});

test('a line has the fields of its event', () => {
  const event = { ...asked, repository: 'a', status: 429, durationMs: 12, error: 'rate-limited' } as const;
  const { type, ...fields } = event;
  expect(linesOf(event)).toEqual([expect.objectContaining({ ...fields, msg: type })]);
});
