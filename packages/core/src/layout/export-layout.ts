import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';
import type { PullParts } from '../pull/pull-parts.ts';
import type { FindImage, Warms, WithImage } from '../pull/warm.ts';
import type { WarmReport } from '../pull/warm-report.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { expectText } from '../runtime/expect-option.ts';
import { readOpenFile } from '../runtime/read-range.ts';
import { createUntilClosed } from '../runtime/until-closed.ts';
import {
  blobPath,
  hasDigest,
  type LayoutEntry,
  makeBlobFolder,
  makeLayout,
  readLayoutToBe,
  refName,
  temporaryName,
  writeLayoutIndex,
} from './layout-files.ts';
import type { ExportLayoutOptions } from './layout-report.ts';

/** Writes images into OCI image layouts. */
export interface Exports {
  run(references: readonly string[], options: ExportLayoutOptions, find: FindImage): Promise<WarmReport>;
  /** Ends what runs, once what is whole by then is listed. Never rejects. */
  close(): Promise<void>;
}

/** @param warms has what is wanted stored first */
export function createExports(parts: PullParts, warms: Warms): Exports {
  const work = createUntilClosed();
  // Lists that are being written, by directory: each begins with what the one before has left.
  const writing = new Map<string, Promise<void>>();

  async function list(directory: string, entries: readonly LayoutEntry[]): Promise<void> {
    const write = () => writeLayoutIndex(directory, entries);
    const written = (writing.get(directory) ?? Promise.resolve()).then(write, write);
    writing.set(directory, written);
    try {
      await written;
    } finally {
      if (writing.get(directory) === written) writing.delete(directory);
    }
  }

  async function exportAll(
    references: readonly string[],
    { directory: given, ...options }: ExportLayoutOptions,
    find: FindImage,
  ): Promise<WarmReport> {
    const directory = await makeLayout(given);
    // What is no layout of ours is found out before anything is fetched for it.
    await readLayoutToBe(directory);
    const entries: LayoutEntry[] = [];
    const written = new Map<Digest, Promise<void>>();

    const write: WithImage = async (reference, { root, contents }, { slots, signal }) => {
      if (!root) return;
      for (const digest of contents) {
        const writing = written.get(digest) ?? slots.run(() => writeBlob(parts, { directory, digest, signal }), signal);
        written.set(digest, writing);
        await writing;
      }
      const { mediaType, digest, size } = root;
      entries.push({ mediaType, digest, size, annotations: { [refName]: reference } });
    };

    try {
      return await warms.run(references, options, find, write);
    } finally {
      // Also of an export that was ended: what is whole need not be exported again.
      if (entries.length > 0) await list(directory, inOrder(entries, references));
    }
  }

  return {
    async run(references, options, find) {
      expectText('exportLayout: directory', options.directory);
      return await work.run(options.signal, (signal) => exportAll(references, { ...options, signal }, find));
    },
    close: work.close,
  };
}

function inOrder(entries: readonly LayoutEntry[], references: readonly string[]): LayoutEntry[] {
  return [...new Set(references)].flatMap((reference) => {
    const entry = entries.find(({ annotations }) => annotations?.[refName] === reference);
    return entry ? [entry] : [];
  });
}

/** Writes some content under its digest, which it is checked for; what is there and right stays. */
async function writeBlob(
  parts: PullParts,
  { directory, digest, signal }: { directory: string; digest: Digest; signal: AbortSignal },
): Promise<void> {
  const path = blobPath(directory, digest);
  const blob = await parts.blobs.open(digest, { signal });
  if (!blob) throw new ProxyCacheError('storage-failed', `${digest} has left the store before it could be written`);
  const { size } = blob;
  const body = blob.kind === 'file' ? readOpenFile(blob, { from: 0, to: size - 1 }, parts.buffers) : blob.body;
  const temporary = join(directory, temporaryName());
  try {
    if (await hasDigest(directory, { digest, size, signal })) return;
    await makeBlobFolder(directory, digest);
    const hash = createDigestHash(digest);
    await pipeline(Readable.from(hashed(body, hash)), createWriteStream(temporary, { flags: 'wx' }), { signal });
    if (finishDigest(hash, digestAlgorithm(digest)) !== digest) {
      throw new ProxyCacheError('storage-damaged', `${digest} has other bytes in the store than its digest says`);
    }
    await rename(temporary, path);
  } finally {
    await blob.close();
    await rm(temporary, { force: true });
  }
}

async function* hashed(body: Bytes, hash: ReturnType<typeof createDigestHash>): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    hash.update(chunk);
    // The chunk is the reader's until the next one is asked for; a stream reads ahead.
    yield Buffer.from(chunk);
  }
}
