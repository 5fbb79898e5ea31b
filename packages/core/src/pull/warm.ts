import type { Digest } from '../oci/digest.ts';
import { isPlatform, parsePlatform } from '../oci/platform.ts';
import { allEnded } from '../runtime/all-ended.ts';
import { abortable } from '../runtime/collapse.ts';
import { expectEach, expectFunction, expectWhole, invalidOption } from '../runtime/expect-option.ts';
import { createSlots } from '../runtime/slots.ts';
import { createUntilClosed } from '../runtime/until-closed.ts';
import { expectStored } from './expect-stored.ts';
import { createKeepImage, type KeepRun, type KeptImage, shownFailure, type WantedImage } from './keep-image.ts';
import type { Pulls } from './noted-pulls.ts';
import type { PullParts } from './pull-parts.ts';
import { targetKey } from './target.ts';
import { watchProgress } from './warm-progress.ts';
import type { WarmedReference, WarmOptions, WarmReport } from './warm-report.ts';

/** Finds what a reference names. @throws ProxyCacheError */
export type FindImage = (reference: string) => Promise<WantedImage> | WantedImage;

/** What else is to be done with an image that is stored, before it counts as done. */
export type WithImage = (reference: string, image: KeptImage, run: KeepRun) => Promise<void>;

/** Has images stored before anybody pulls them. */
export interface Warms {
  run(references: readonly string[], options: WarmOptions, find: FindImage, then?: WithImage): Promise<WarmReport>;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

const defaultConcurrency = 4;
const mostReferences = 10_000;

/**
 * @param parts.isWaiting whether a blob waits for the store
 * @param pulls as clients have them: what is refused to those nobody knows is not brought in
 */
export function createWarms(parts: PullParts & { isWaiting(digest: Digest): boolean }, pulls: Pulls): Warms {
  const { clock, isWaiting } = parts;
  const keepImage = createKeepImage(parts, pulls);
  const work = createUntilClosed();

  async function warm(
    references: readonly string[],
    { platforms, concurrency = defaultConcurrency, onProgress }: WarmOptions,
    { find, then, signal }: { find: FindImage; then: WithImage | undefined; signal: AbortSignal },
  ): Promise<WarmReport> {
    const progress = watchProgress({ total: references.length, clock, onProgress });
    const run: KeepRun = { slots: createSlots(concurrency), signal, blobs: new Map(), begins: progress.begins };
    const images = new Map<string, Promise<KeptImage>>();
    const wanted = platforms?.map(parsePlatform);

    function keptOnce(image: WantedImage): Promise<KeptImage> {
      const { target, reference } = image;
      const key = `${targetKey(target)} ${reference.kind === 'tag' ? reference.tag : reference.digest}`;
      const kept = images.get(key) ?? keepImage({ ...image, platforms: wanted }, run);
      if (!images.has(key)) images.set(key, kept);
      return kept;
    }

    async function withImage(reference: string, image: KeptImage): Promise<KeptImage> {
      try {
        await then?.(reference, image, run);
        return image;
      } catch (error) {
        signal.throwIfAborted();
        return { ...image, failures: [shownFailure(error)] };
      }
    }

    async function one(reference: string): Promise<{ reference: string; kept: KeptImage }> {
      try {
        const image = await abortable(Promise.resolve(find(reference)), signal);
        const { upstream, place } = image.target;
        upstream.names?.check(place.repository, image.reference);
        const stored = await keptOnce(image);
        const kept = stored.failures.length > 0 ? stored : await withImage(reference, stored);
        progress.ended(kept.failures.length > 0);
        return { reference, kept };
      } catch (error) {
        signal.throwIfAborted();
        progress.ended(true);
        const failures = [shownFailure(error)];
        return { reference, kept: { root: undefined, warning: undefined, contents: [], bytes: 0, failures } };
      }
    }

    try {
      const kept: Awaited<ReturnType<typeof one>>[] = [];
      let next = 0;
      const worker = async () => {
        for (let at = next++; at < references.length; at = next++) kept[at] = await one(references[at] as string);
      };
      await allEnded(Array.from({ length: Math.min(concurrency, references.length) }, worker));
      const told: WarmedReference[] = [];
      const first = new Set<KeptImage>();
      for (const { reference, kept: image } of kept) {
        // What was done with it needs it stored no more.
        const failures = [...image.failures, ...(then ? [] : await missing(image, run))];
        const waiting = image.contents.filter(isWaiting).length;
        told.push(warmed(reference, { ...image, failures, bytes: first.has(image) ? 0 : image.bytes, waiting }));
        first.add(image);
      }
      const failed = told.filter(({ outcome }) => outcome === 'failed').length;
      const bytes = told.reduce((sum, reference) => sum + reference.bytes, 0);
      return { references: told, failed, bytes, durationMs: progress.durationMs() };
    } finally {
      progress.close();
    }
  }

  /** What made way again for something else, or was never taken by the store. */
  async function missing({ failures, contents }: KeptImage, run: KeepRun): Promise<typeof failures> {
    if (failures.length > 0) return [];
    try {
      await expectStored(parts, contents, run);
      return [];
    } catch (error) {
      run.signal.throwIfAborted();
      return [shownFailure(error)];
    }
  }

  return {
    async run(references, options, find, then) {
      checkWarm(references, options);
      return await work.run(options.signal, (signal) => warm(references, options, { find, then, signal }));
    },
    close: work.close,
  };
}

/** @throws ProxyCacheError `invalid-options` */
function checkWarm(references: unknown, options: WarmOptions): void {
  expectEach('warm: references', references, {
    is: 'a reference such as "docker-hub/library/alpine:3"',
    test: () => true,
  });
  const { length } = references as readonly string[];
  if (length > mostReferences) throw invalidOption('warm: references', `${mostReferences} or fewer`, length);
  expectEach('warm: platforms', options.platforms, { is: 'a platform such as "linux/amd64"', test: isPlatform });
  if (options.platforms?.length === 0) throw invalidOption('warm: platforms', 'at least one platform', []);
  expectWhole('warm: concurrency', options.concurrency, 1);
  expectFunction('warm: onProgress', options.onProgress);
}

function warmed(
  reference: string,
  { root, warning, bytes, failures, waiting }: KeptImage & { waiting: number },
): WarmedReference {
  const [error] = failures;
  return {
    reference,
    outcome: error ? 'failed' : bytes > 0 ? 'stored' : 'here',
    ...(root && { digest: root.digest }),
    bytes,
    ...(error && { error, failures: failures.length }),
    ...(waiting > 0 && { waiting }),
    ...(warning !== undefined && { warning }),
  };
}
