import { expect, test } from 'vitest';
import { createUsage } from '../retention/usage.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { notedPulls, type Pulls } from './noted-pulls.ts';
import type { Target } from './target.ts';

const digestOf = (pair: string) => `sha256:${pair.repeat(32)}` as const;
const target = { place: { upstream: 'up', scope: '-', repository: 'a', generation: 'g' } } as Target;
const { signal } = new AbortController();

/** Pulls that answer with what the tag stands for now, and when each thing was last used. */
function make() {
  const state = { now: 0, digest: digestOf('a1'), fails: false, isHeld: true };
  const answer = async () => {
    if (state.fails) throw new Error('no');
    return { descriptor: { digest: state.digest } };
  };
  const clock = { now: () => state.now, monotonic: () => state.now, after: () => () => undefined };
  const usage = createUsage({ metadata: memoryStorage().metadata, observe: () => undefined, clock });
  const inner = {
    heldManifests: () => () => (state.isHeld ? { descriptor: { digest: state.digest } } : undefined),
    pullTag: { pull: answer, recentTagOf: () => 'recent' },
    pullDigest: answer,
    pullBlob: answer,
  } as unknown as Pulls;
  const pulls = notedPulls(inner, { ...usage, now: clock.now });
  const last = (kind: 'tag' | 'manifest' | 'blob', tagOrDigest: string) =>
    usage.held({ place: target.place, kind, tagOrDigest });
  return { state, pulls, last };
}

test('a pull by tag is a use of the tag and of what it stands for at that time', async () => {
  const { state, pulls, last } = make();
  const pull = () => pulls.pullTag.pull({ target, tag: '1', want: 'descriptor', signal });
  state.now = 10;
  await pull();
  state.now = 20;
  state.digest = digestOf('b2');
  await pull();
  expect([last('tag', '1'), last('manifest', digestOf('a1')), last('manifest', digestOf('b2'))]).toEqual([20, 10, 20]);
  expect(pulls.pullTag.recentTagOf(target, state.digest)).toBe('recent');
});

test('a pull by digest, and of a blob, is a use of it as what it was asked for', async () => {
  const { state, pulls, last } = make();
  const { digest } = state;
  state.now = 10;
  await pulls.pullDigest({ target, digest, want: 'bytes', signal });
  expect([last('manifest', digest), last('blob', digest)]).toEqual([10, undefined]);
  await pulls.pullBlob({ target, digest, want: 'descriptor', signal });
  expect(last('blob', digest)).toBe(10);
});

test('a pull that fails is no use', async () => {
  const { state, pulls, last } = make();
  const { digest } = state;
  state.fails = true;
  await expect(pulls.pullTag.pull({ target, tag: '1', want: 'bytes', signal })).rejects.toThrow();
  await expect(pulls.pullDigest({ target, digest, want: 'bytes', signal })).rejects.toThrow();
  await expect(pulls.pullBlob({ target, digest, want: 'bytes', signal })).rejects.toThrow();
  expect([last('tag', '1'), last('manifest', digest), last('blob', digest)]).toEqual([undefined, undefined, undefined]);
});

test('what is answered from memory is used each time that it is, and only then', () => {
  const { state, pulls, last } = make();
  const byTag = pulls.heldManifests(target, { kind: 'tag', tag: '1' });
  const byDigest = pulls.heldManifests(target, { kind: 'digest', digest: digestOf('b2') });
  expect(last('tag', '1')).toBeUndefined();
  byTag('bytes', 10);
  byTag('descriptor', 20);
  expect([last('tag', '1'), last('manifest', digestOf('a1'))]).toEqual([20, 20]);
  state.digest = digestOf('b2');
  byTag('bytes', 30);
  expect([last('tag', '1'), last('manifest', digestOf('a1')), last('manifest', digestOf('b2'))]).toEqual([30, 20, 30]);
  byDigest('bytes', 40);
  expect([last('tag', '1'), last('manifest', digestOf('b2'))]).toEqual([30, 40]);
  state.isHeld = false;
  expect(byTag('bytes', 50)).toBeUndefined();
  expect(last('tag', '1')).toBe(30);
});
