import { sha256 } from '@proxycache/test-kit';
import { beforeEach, expect, it } from 'vitest';
import type { BodyFault } from '../peers/body-fault.ts';
import { buildImage, type Content, type Image } from '../peers/image-builder.ts';
import type { ImageReference, PullClient } from './pull-client.ts';
import { upstreamKey, type World } from './world.ts';

const MiB = 1024 * 1024;

/** How long the cache waits for the next byte, so that a test need not wait for long. */
export const idle = '1s';

/** What a client must be set up to do when a layer came wrong. */
export interface WrongLayer {
  /** What it takes to have it pull again. */
  by: string;
  pull(world: World<PullClient>, reference: ImageReference): Promise<void>;
}

const cut = (how: 'fin' | 'rst', cutAfter = 3 * MiB): BodyFault => ({ cutAfter, how });
const troubles: readonly (readonly [string, readonly BodyFault[]])[] = [
  ['is cut off once', [cut('fin')]],
  ['is cut off five times', Array.from({ length: 5 }, () => cut('fin', MiB))],
  ['is reset once', [cut('rst')]],
  ['is reset five times', Array.from({ length: 5 }, () => cut('rst', MiB))],
  ['stalls', [{ stallAfter: 3 * MiB }]],
];

/** What each client must see while the upstream's connections break. Each test has a repository of its own. */
export function faultScenarios(world: World<PullClient>, wrongLayer: WrongLayer): void {
  let pulls = 0;
  const planned = new Map<string, number>();
  let image: Image;
  let reference: ImageReference;
  beforeEach(() => {
    world.deadEnd.takeAttempts();
    planned.clear();
  });

  const publish = async (ballast: number): Promise<Content> => {
    const name = `broken-${++pulls}`;
    reference = { repository: `library/${name}`, tag: '1.0' };
    image = buildImage({ name, message: name, program: world.program, compression: 'none', ballast });
    await world.upstream.push(reference.repository, reference.tag, image);
    world.upstream.takeRequests();
    return image.blobs.at(-1)!;
  };
  const befall = (digest: string, faults: readonly BodyFault[]) => {
    planned.set(digest, faults.length);
    world.upstream.befall(digest, faults);
  };
  /** Each fault befell a request, one more was right, and of all bytes of the image so many came from the upstream. */
  const expectMoved = (most: number) => {
    const requests = world.upstream.takeAllRequests();
    for (const [digest, faults] of planned) {
      expect(requests.filter(({ method, path }) => method === 'GET' && path.endsWith(digest))).toHaveLength(faults + 1);
    }
    const moved = requests.reduce((sum, { bytes }) => sum + bytes, 0);
    const all = [image.manifest, ...image.blobs].reduce((sum, { size }) => sum + size, 0);
    expect(moved).toBeGreaterThanOrEqual(all);
    expect(moved / all).toBeLessThanOrEqual(most);
  };
  /** The client asked for each blob once, and had one whole answer: it did not have to try again. */
  const expectOneAnswerEach = async () => {
    const answers = () =>
      world.cache.served().filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
    const ours = () => answers().filter(({ path }) => image.blobs.some(({ digest }) => path.endsWith(digest)));
    await expect.poll(() => ours().length).toBe(image.blobs.length);
    expect(new Set(ours().map(({ path }) => path)).size).toBe(image.blobs.length);
    expect(ours().filter(({ status, cutOff }) => status !== 200 || cutOff)).toEqual([]);
  };
  const expectStoredRight = async () => {
    for (const { digest } of image.blobs) {
      const answer = await fetch(`${world.cache.url}/v2/${upstreamKey}/${reference.repository}/blobs/${digest}`);
      expect(sha256(new Uint8Array(await answer.arrayBuffer()))).toBe(digest);
    }
    expect(world.upstream.takeRequests()).toEqual([]);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  };

  it.each(troubles)(
    'pulls at the first try a layer that %s on its way, each byte of it moved once',
    async (_, faults) => {
      const layer = await publish(6 * MiB);
      befall(layer.digest, faults);
      expect(await world.client.pull(reference)).toBe(image.manifest.digest);
      await expectOneAnswerEach();
      expectMoved(1.05);
      await expectStoredRight();
    },
  );

  it('pulls at the first try while the upstream goes away in the middle of a layer and comes back', async () => {
    const layer = await publish(6 * MiB);
    befall(layer.digest, [{ stallAfter: 3 * MiB }]);
    const pulled = world.client.pull(reference);
    const moved = () => world.upstream.requests().find(({ path }) => path.endsWith(layer.digest))?.bytes;
    await expect.poll(moved, { timeout: 20_000 }).toBe(3 * MiB);
    await world.upstream.stop();
    await world.upstream.start();
    expect(await pulled).toBe(image.manifest.digest);
    await expectOneAnswerEach();
    expectMoved(1.05);
    await expectStoredRight();
  });

  it('pulls at the first try an image of which every part is cut off once', async () => {
    await publish(500_000);
    for (const { digest, size } of image.blobs) befall(digest, [cut('fin', Math.floor(size / 2))]);
    world.upstream.befall('/manifests/', [cut('fin', 100)]);
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await expectOneAnswerEach();
    expectMoved(1.05);
    await expectStoredRight();
  });

  it('pulls at the first try an image of which every part is answered with 503 once', async () => {
    await publish(500_000);
    const busy = { status: 503, headers: {} };
    for (const { digest } of image.blobs) befall(digest, [busy]);
    world.upstream.befall('/manifests/', [busy]);
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await expectOneAnswerEach();
    expectMoved(1.05);
    await expectStoredRight();
  });

  it('pulls at the first try a layer of at most 1 MiB of which a byte was wrong, and does not notice', async () => {
    const layer = await publish(900_000);
    expect(layer.size).toBeLessThanOrEqual(MiB);
    befall(layer.digest, [{ corruptAt: Math.floor(layer.size / 2) }]);
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await expectOneAnswerEach();
    expectMoved(2);
    await expectStoredRight();
  });

  it(`pulls a longer layer of which a byte was wrong ${wrongLayer.by}`, async () => {
    const layer = await publish(8 * MiB);
    befall(layer.digest, [{ corruptAt: Math.floor(layer.size / 2) }]);
    await wrongLayer.pull(world, reference);
    expectMoved(2);
    await expectStoredRight();
  });
}
