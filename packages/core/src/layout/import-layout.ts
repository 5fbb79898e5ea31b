import { realpath } from 'node:fs/promises';
import { expectStored } from '../pull/expect-stored.ts';
import { shownFailure } from '../pull/keep-image.ts';
import type { PullParts } from '../pull/pull-parts.ts';
import type { FindImage } from '../pull/warm.ts';
import { attempt } from '../runtime/attempt.ts';
import type { ProxyCacheError } from '../runtime/errors.ts';
import { expectFunction, expectText, invalidOption } from '../runtime/expect-option.ts';
import { createSlots } from '../runtime/slots.ts';
import { createUntilClosed } from '../runtime/until-closed.ts';
import { type ImportRun, importImage, type TakenImage } from './import-image.ts';
import { invalid, type LayoutEntry, readLayout, refName } from './layout-files.ts';
import type { ImportedImage, ImportLayoutOptions, ImportProgress, ImportReport } from './layout-report.ts';

/** Takes the images of OCI image layouts in. */
export interface Imports {
  run(options: ImportLayoutOptions, find: FindImage): Promise<ImportReport>;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

const blobsAtOnce = 4;

export function createImports(parts: PullParts, maxManifestBytes: () => number): Imports {
  const { clock } = parts;
  const work = createUntilClosed();

  async function importAll(
    { directory: given, as, onProgress }: ImportLayoutOptions,
    { find, signal }: { find: FindImage; signal: AbortSignal },
  ): Promise<ImportReport> {
    const startedAt = clock.monotonic();
    const directory = await realpath(given).catch(() => given);
    const entries = await readLayout(directory);
    if (!entries) throw invalid(`there is no oci-layout in ${given}`);
    if (typeof as === 'string' && entries.length !== 1) {
      throw invalid(`it lists ${entries.length} images; say by their names which is what (as: { name: reference })`);
    }
    const soFar: ImportProgress = {
      images: { total: entries.length, done: 0, failed: 0 },
      contents: 0,
      bytes: 0,
      durationMs: 0,
    };
    const tell = () => {
      soFar.durationMs = clock.monotonic() - startedAt;
      attempt(() => onProgress?.({ ...soFar, images: { ...soFar.images } }));
    };
    const slots = createSlots(blobsAtOnce);
    const images: (ImportedImage & { taken: TakenImage | undefined })[] = [];
    for (const entry of entries) {
      const before = soFar.bytes;
      const run: ImportRun = {
        slots,
        signal,
        maxManifestBytes: maxManifestBytes(),
        took(bytes) {
          soFar.contents++;
          soFar.bytes += bytes;
          tell();
        },
      };
      const reference = referenceOf(entry, as);
      const { digest } = entry;
      let error: ImportedImage['error'];
      let taken: TakenImage | undefined;
      try {
        if (reference === undefined) throw unnamed(entry);
        const image = await find(reference);
        image.target.upstream.names?.check(image.target.place.repository, image.reference);
        taken = await importImage(parts, { ...image, entry, directory }, run);
      } catch (cause) {
        signal.throwIfAborted();
        error = shownFailure(cause);
        soFar.images.failed++;
      }
      soFar.images.done++;
      images.push({
        ...(reference !== undefined && { reference }),
        digest,
        outcome: error ? 'failed' : 'imported',
        bytes: soFar.bytes - before,
        ...(error && { error }),
        taken,
      });
      tell();
    }
    const told: ImportedImage[] = [];
    for (const { taken, ...image } of images) {
      const error = taken && (await missing(taken, { slots, signal }));
      told.push(error ? { ...image, outcome: 'failed', error } : image);
      if (!error) continue;
      soFar.images.failed++;
      tell();
    }
    return { images: told, failed: soFar.images.failed, bytes: soFar.bytes, durationMs: soFar.durationMs };
  }

  /** What of an image made way again for the images after it. What is whole is served. */
  async function missing(
    { contents, serve }: TakenImage,
    run: Pick<ImportRun, 'slots' | 'signal'>,
  ): Promise<ImportedImage['error']> {
    try {
      await expectStored(parts, contents, run);
      await serve();
      return undefined;
    } catch (error) {
      run.signal.throwIfAborted();
      return shownFailure(error);
    }
  }

  return {
    async run(options, find) {
      expectText('importLayout: directory', options.directory);
      expectFunction('importLayout: onProgress', options.onProgress);
      checkAs(options.as);
      return await work.run(options.signal, (signal) => importAll(options, { find, signal }));
    },
    close: work.close,
  };
}

function checkAs(as: unknown): void {
  if (as === undefined || typeof as === 'string') return;
  const isRecord = typeof as === 'object' && as !== null && !Array.isArray(as);
  if (isRecord && Object.values(as).every((value) => typeof value === 'string')) return;
  throw invalidOption('importLayout: as', 'a reference, or references by names', as);
}

function referenceOf({ annotations }: LayoutEntry, as: ImportLayoutOptions['as']): string | undefined {
  if (typeof as === 'string') return as;
  const name = annotations?.[refName];
  if (typeof name !== 'string') return undefined;
  return as && Object.hasOwn(as, name) ? as[name] : name;
}

function unnamed({ digest }: LayoutEntry): ProxyCacheError {
  return invalid(`${digest} has no ${refName}; say what it is (as: "<key>/<name>:<tag>")`);
}
