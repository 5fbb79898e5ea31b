import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  createDigestHash,
  type Digest,
  digestAlgorithm,
  digestHex,
  digestOf,
  finishDigest,
  isDigest,
} from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { makeFolder } from '../store/make-folder.ts';

/** An image as `index.json` lists it. All that others wrote beside it is kept. */
export interface LayoutEntry {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations?: Readonly<Record<string, string>>;
}

/** The annotation by which tools name an image of a layout (OCI image-spec, annotations.md). */
export const refName = 'org.opencontainers.image.ref.name';

const layoutVersion = '1.0.0';
// As long as the longest manifest that upstreams may give by default.
const mostIndexBytes = 4 * 1024 * 1024;
const mostEntries = 10_000;
/** Others read it too, as far as the process's umask lets them. */
const layoutMode = 0o777;

/** Where a layout has some content. */
export function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', digestAlgorithm(digest), digestHex(digest));
}

/**
 * Opens a file of a layout, which is where its name says: a link may lead anywhere.
 *
 * @param directory as `realpath` gives it
 * @returns `undefined` where there is none
 * @throws ProxyCacheError `layout-invalid` for what is no file, or a link
 */
export async function openLayoutFile(directory: string, path: string): Promise<FileHandle | undefined> {
  const shown = path.slice(directory.length + 1);
  let handle: FileHandle;
  try {
    if ((await realpath(path)) !== path) throw invalid(`${shown} is a link, or in a folder that is one`);
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'ELOOP') throw invalid(`${shown} is a link`);
    throw error;
  }
  const isFile = (await handle.stat()).isFile();
  if (isFile) return handle;
  await handle.close();
  throw invalid(`${shown} is no file`);
}

/** Reads a short file. @throws ProxyCacheError `layout-invalid` for a longer one */
async function readLayoutFile(directory: string, path: string, mostBytes: number): Promise<Uint8Array | undefined> {
  const handle = await openLayoutFile(directory, path);
  if (!handle) return undefined;
  try {
    const { size } = await handle.stat();
    if (size > mostBytes)
      throw invalid(`${path.slice(directory.length + 1)} has ${size} bytes, more than ${mostBytes}`);
    return await readFile(handle);
  } finally {
    await handle.close();
  }
}

/** Whether a file of a layout is there, and has the bytes that its name says. */
export async function hasDigest(
  directory: string,
  { digest, size, signal }: { digest: Digest; size?: number; signal: AbortSignal },
): Promise<boolean> {
  const handle = await openLayoutFile(directory, blobPath(directory, digest));
  if (!handle) return false;
  try {
    if (size !== undefined && (await handle.stat()).size !== size) return false;
    const hash = createDigestHash(digest);
    for await (const chunk of handle.createReadStream({ autoClose: false, signal })) hash.update(chunk);
    return finishDigest(hash, digestAlgorithm(digest)) === digest;
  } finally {
    await handle.close();
  }
}

/** A manifest by its descriptor. @throws ProxyCacheError `layout-invalid` for one of other bytes */
export async function readLayoutManifest(
  directory: string,
  { digest, size }: { digest: Digest; size: number },
  mostBytes: number,
): Promise<Uint8Array | undefined> {
  const bytes = await readLayoutFile(directory, blobPath(directory, digest), mostBytes);
  if (!bytes) return undefined;
  if (bytes.byteLength !== size) throw invalid(`${digest} has ${bytes.byteLength} bytes, and not ${size}`);
  if (digestOf(bytes, digestAlgorithm(digest)) !== digest)
    throw invalid(`${digest} has other bytes than its digest says`);
  return bytes;
}

/** What a layout lists. `undefined`: there is none in the directory. @throws ProxyCacheError `layout-invalid` */
export async function readLayout(directory: string): Promise<readonly LayoutEntry[] | undefined> {
  const marker = await readLayoutFile(directory, join(directory, 'oci-layout'), mostIndexBytes);
  if (!marker) return undefined;
  const { imageLayoutVersion } = parsed('oci-layout', marker);
  if (imageLayoutVersion !== layoutVersion) throw invalid(`oci-layout: its version is not ${layoutVersion}`);
  const manifests = await readIndex(directory);
  if (!manifests) throw invalid('there is no index.json');
  return manifests;
}

/**
 * What a directory lists that is a layout, or is to be one: another `index.json` than that of images is not ours to replace.
 *
 * @throws ProxyCacheError `layout-invalid`
 */
export async function readLayoutToBe(directory: string): Promise<readonly LayoutEntry[]> {
  return (await readLayout(directory)) ?? (await readIndex(directory)) ?? [];
}

async function readIndex(directory: string): Promise<readonly LayoutEntry[] | undefined> {
  const index = await readLayoutFile(directory, join(directory, 'index.json'), mostIndexBytes);
  if (!index) return undefined;
  const { manifests } = parsed('index.json', index);
  if (!Array.isArray(manifests)) throw invalid('index.json: it has no list of manifests');
  if (manifests.length > mostEntries) throw invalid(`index.json: it lists more than ${mostEntries} manifests`);
  for (const [at, entry] of manifests.entries())
    if (!isEntry(entry)) throw invalid(`index.json: manifests[${at}] is no descriptor`);
  return manifests;
}

/** Makes the directory of a layout, where it is not there. @returns it as `realpath` gives it */
export async function makeLayout(directory: string): Promise<string> {
  await makeFolder(directory, { mode: layoutMode });
  return await realpath(directory);
}

/** Makes the folder of some content, where it is not there. @throws ProxyCacheError `layout-invalid` for a link to elsewhere */
export async function makeBlobFolder(directory: string, digest: Digest): Promise<void> {
  const folder = dirname(blobPath(directory, digest));
  await makeFolder(folder, { mode: layoutMode });
  if ((await realpath(folder)) !== folder) throw invalid(`${folder.slice(directory.length + 1)} is a link`);
}

/** Lists images in place of those of the same names, at once: a reader finds the old list or the new one. */
export async function writeLayoutIndex(directory: string, added: readonly LayoutEntry[]): Promise<void> {
  const known = await readLayoutToBe(directory);
  const names = new Set(added.map(({ annotations }) => annotations?.[refName]));
  const manifests = [...known.filter(({ annotations }) => !names.has(annotations?.[refName])), ...added];
  // A longer list could not be read any more, with all that it has.
  if (manifests.length > mostEntries) throw invalid(`its index.json would list more than ${mostEntries} manifests`);
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests };
  const text = JSON.stringify(index);
  if (Buffer.byteLength(text) > mostIndexBytes)
    throw invalid(`its index.json would have more than ${mostIndexBytes} bytes`);
  await replace(directory, 'index.json', text);
  await replace(directory, 'oci-layout', JSON.stringify({ imageLayoutVersion: layoutVersion }));
}

async function replace(directory: string, name: string, text: string): Promise<void> {
  const temporary = join(directory, temporaryName());
  try {
    await writeFile(temporary, text, { flag: 'wx' });
    await rename(temporary, join(directory, name));
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A name that nothing else in a layout has. */
export const temporaryName = () => `.proxycache-${randomUUID()}`;

export function invalid(why: string): ProxyCacheError {
  return new ProxyCacheError('layout-invalid', `the image layout cannot be used: ${why}`);
}

function parsed(name: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw invalid(`${name} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${name} is not a JSON object`);
  return value as Readonly<Record<string, unknown>>;
}

function isEntry(value: unknown): value is LayoutEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { mediaType, digest, size, annotations = {} } = value as Readonly<Record<string, unknown>>;
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) return false;
  if (!Number.isSafeInteger(size) || (size as number) < 0) return false;
  return typeof annotations === 'object' && annotations !== null;
}
