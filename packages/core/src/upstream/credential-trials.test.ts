import {
  type FakeUpstream,
  gate,
  type ManualClock,
  manualClock,
  type Step,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createClient } from './client.ts';
import type { UpstreamEvent } from './events.ts';
import type { Upstream } from './upstream.ts';

const ann = { password: 'correct horse', repositories: ['library/alpine'] };
const refusal = { status: 401 };

let clock: ManualClock;
let events: UpstreamEvent[];

beforeEach(() => {
  clock = manualClock();
  events = [];
});

type Kind = 'basic' | 'bearer';

/** A registry that took the credential a moment ago, and says 401 of all repositories but one. */
async function start(kind: Kind): Promise<{ registry: FakeUpstream; upstream: Upstream }> {
  const users = { ann };
  const auth = kind === 'basic' ? { basic: { users } } : { bearer: { users, public: [], expiresIn: 300 } };
  const registry = await startFakeUpstream({ clock, auth });
  onTestFinished(registry.stop);
  registry.addImage('library/alpine', { tag: '1' });
  const settings = upstreamSettings({
    key: 'hub',
    url: registry.url,
    auth: { username: 'ann', password: ann.password },
  });
  const upstream = createClient(settings, { clock, observe: (event) => events.push(event) });
  onTestFinished(() => upstream.close());
  expect(await pull(upstream, 'library/alpine')).toMatchObject({ kind: 'found' });
  registry.clear();
  return { registry, upstream };
}

const pull = (upstream: Upstream, repository: string, { signal } = new AbortController()) =>
  upstream.resolve({ repository, tag: '1', scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal });

/** What is answered, in order: the registry refuses Basic by itself, a token service what it is told to. */
function script(registry: FakeUpstream, kind: Kind, steps: readonly (typeof refusal | { trial: Step })[]): void {
  const path = kind === 'basic' ? '/v2/' : '/token';
  const inOrder = steps.flatMap((step) => ('trial' in step ? step.trial : kind === 'bearer' ? step : []));
  registry.script({ path }, inOrder);
}

const trials = (registry: FakeUpstream) =>
  registry.requests.filter(({ path, query }) => path === '/v2/' || (path === '/token' && query.get('scope') === null));
const refusals = (registry: FakeUpstream) => registry.requests.filter(({ status }) => status === 401);
const rejections = () => events.filter(({ type }) => type === 'credentials-rejected');
const denied = { kind: 'denied', status: 401 };

describe.each(['basic', 'bearer'] as const)('a good credential that is refused some repositories, by %s,', (kind) => {
  it('is tried once for all that are refused meanwhile, and locked out for none of them', async () => {
    const { registry, upstream } = await start(kind);
    const held = gate();
    script(registry, kind, [refusal, { trial: { gate: held } }, refusal]);
    const first = pull(upstream, 'library/secret');
    await held.reached;
    const second = pull(upstream, 'library/private');
    await expect.poll(() => refusals(registry)).toHaveLength(2);
    held.open();
    expect(await Promise.all([first, second])).toMatchObject([denied, denied]);
    expect(trials(registry)).toHaveLength(1);
    expect(await pull(upstream, 'library/alpine')).toMatchObject({ kind: 'found' });
    expect(rejections()).toEqual([]);
  });

  it('is not refused by what comes late to one that was asked before the trial ended', async () => {
    const { registry, upstream } = await start(kind);
    const late = gate();
    if (kind === 'basic') registry.script({ method: 'HEAD' }, [{ gate: late }]);
    else registry.script({ path: '/token' }, [[{ gate: late }, refusal], refusal]);
    const first = pull(upstream, 'library/secret');
    await late.reached;
    expect(await pull(upstream, 'library/private')).toMatchObject(denied);
    late.open();
    expect(await first).toMatchObject(denied);
    expect(trials(registry)).toHaveLength(1);
    expect(rejections()).toEqual([]);
  });

  it.each([503, 429])('is not locked out by a trial that is answered by %i, which could not say', async (status) => {
    const { registry, upstream } = await start(kind);
    script(registry, kind, [refusal, { trial: { status } }, refusal, { trial: 'ok' }]);
    const code = { 429: 'rate-limited', 503: kind === 'basic' ? 'server-error' : 'token-failed' }[status];
    await expect(pull(upstream, 'library/secret')).rejects.toMatchObject({ code, status });
    expect(rejections()).toEqual([]);
    await clock.advance(60_000);
    expect(await pull(upstream, 'library/alpine')).toMatchObject({ kind: 'found' });
    expect(await pull(upstream, 'library/secret')).toMatchObject(denied);
    expect(rejections()).toEqual([]);
  });

  it('is tried on for the others when the first of them leaves', async () => {
    const { registry, upstream } = await start(kind);
    const held = gate();
    script(registry, kind, [refusal, { trial: { gate: held } }, refusal]);
    const leaving = new AbortController();
    const first = pull(upstream, 'library/secret', leaving);
    await held.reached;
    const second = pull(upstream, 'library/private');
    await expect.poll(() => refusals(registry)).toHaveLength(2);
    leaving.abort(new Error('left'));
    await expect(first).rejects.toThrow('left');
    held.open();
    expect(await second).toMatchObject(denied);
    expect(rejections()).toEqual([]);
  });
});

describe('a credential whose tokens are used on', () => {
  it('counts as taken since, so that what is denied again is no second refusal in a row', async () => {
    const { registry, upstream } = await start('bearer');
    script(registry, 'bearer', [refusal, { trial: 'ok' }, refusal, { trial: 'ok' }]);
    for (let round = 0; round < 2; round++) {
      expect(await pull(upstream, 'library/secret')).toMatchObject(denied);
      expect(await pull(upstream, 'library/alpine')).toMatchObject({ kind: 'found' });
    }
    expect(registry.tokenCalls()).toBe(4);
    expect(rejections()).toEqual([]);
  });

  it('is left alone for longer each time where it is wrong now', async () => {
    const { registry, upstream } = await start('bearer');
    registry.on({ path: '/token' }, refusal);
    for (const seconds of [5, 10, 20]) {
      const rejected = { code: 'credentials-rejected', retryAt: clock.now() + seconds * 1_000 };
      await expect(pull(upstream, 'library/secret')).rejects.toMatchObject(rejected);
      await clock.advance(seconds * 1_000);
      expect(await pull(upstream, 'library/alpine')).toMatchObject({ kind: 'found' });
    }
  });
});
