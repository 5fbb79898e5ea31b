import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { isDead, ownerName, parseOwner, thisOwner } from '../runtime/process-owner.ts';
import { removeFile, removeFolder, renameFile, statFile, systemCode, unlessMissing, writeNew } from './file-system.ts';
import { makeFolder } from './make-folder.ts';

/** A file with the content of a digest. */
export interface WaitingFile {
  path: string;
  digest: Digest;
  size: number;
}

/** Where verified files wait for a store; they outlive their process. */
export interface WaitingFolder {
  /** Moves a file of the same file system here, by one rename. @throws what the system says; the file is where it was then */
  take(file: string, content: { digest: Digest; size: number }): Promise<string>;
  /** A new file that holds the bytes. @throws what the system says; nothing is left behind then */
  write(bytes: Uint8Array, digest: Digest): Promise<string>;
  /**
   * Makes what processes that are gone have left this process's own, and tells what it is, the oldest first. Two that ask
   * never get the same. What cannot be taken now may be the next time.
   *
   * @throws what the system says of the folder of all owners
   */
  takeOver(): Promise<WaitingFile[]>;
  /** Leaves what is here to whoever asks next. Never rejects. */
  leave(): Promise<void>;
}

/** In an owner's folder: of a cache that runs, as long as the owner does. */
const ownPrefix = 'verified-';

/** Of a cache that was closed, whose process may go on: anybody's. */
const leftPrefix = 'waiting-';

/** `<algorithm>-<hex>.<size>.<number>`, so that two files of one blob have two names. */
const filePattern = /^(sha256|sha512)-([0-9a-f]+)\.(\d{1,16})\.[0-9a-z]+$/;

/** Whether a dead owner's folder of this name holds what is still of use. */
export const isWaitingFolder = (name: string): boolean => name.startsWith(ownPrefix) || name.startsWith(leftPrefix);

/** @param directory the spool's, which owners share */
export function createWaitingFolder(directory: string, clock: Pick<Clock, 'now'>): WaitingFolder {
  const owned = join(directory, ownerName(thisOwner()));
  const newFolder = () => join(owned, `${ownPrefix}${randomBytes(9).toString('base64url')}`);
  const folder = newFolder();
  const folders = new Set([folder]);
  let unread: string[] = [];
  let made = 0;

  const pathOf = (digest: Digest, size: number) =>
    join(folder, `${digestAlgorithm(digest)}-${digestHex(digest)}.${size}.${(made++).toString(36)}`);

  /** Cleaners of temporary folders take what is empty, and so does this: it is made when there is something for it. */
  async function inFolder<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      await makeFolder(folder);
      return await work();
    }
  }

  async function leftBy(name: string): Promise<void> {
    const owner = parseOwner(name);
    if (!owner) return;
    const theirs = join(directory, name);
    const stats = await statFile(theirs).catch(unlessMissing);
    if (!stats) return;
    const dead = theirs !== owned && isDead(owner, stats.mtimeMs, clock.now());
    for (const found of await namesIn(theirs)) {
      if (!found.startsWith(leftPrefix) && !(dead && found.startsWith(ownPrefix))) continue;
      const taken = newFolder();
      // Another process that looks takes it too: one of the two finds it gone.
      const isTaken = await renameFile(join(theirs, found), taken).then(() => true, unlessMissing);
      if (!isTaken) continue;
      folders.add(taken);
      unread.push(taken);
    }
    if (dead) await removeFolder(theirs).catch(() => undefined);
  }

  return {
    async take(file, { digest, size }) {
      const path = pathOf(digest, size);
      await inFolder(() => renameFile(file, path));
      return path;
    },
    async write(bytes, digest) {
      const path = pathOf(digest, bytes.byteLength);
      try {
        await inFolder(() => writeNew(path, bytes, { mode: 0o600, flush: false }));
      } catch (error) {
        await removeFile(path).catch(() => undefined);
        throw error;
      }
      return path;
    },
    async takeOver() {
      await makeFolder(owned);
      for (const name of await namesIn(directory)) await leftBy(name).catch(() => undefined);
      const files: AgedFile[] = [];
      const taken = unread;
      unread = [];
      for (const found of taken) {
        const listed = await filesIn(found).catch(() => void unread.push(found));
        files.push(...(listed ?? []));
      }
      return files.sort((one, other) => one.mtimeMs - other.mtimeMs);
    },
    async leave() {
      for (const own of folders) {
        await removeFolder(own).catch(async (error) => {
          if (systemCode(error) === 'ENOENT') return;
          const left = join(owned, leftPrefix + own.slice(own.lastIndexOf(ownPrefix) + ownPrefix.length));
          // What cannot be renamed is taken over when this process is gone.
          await renameFile(own, left).catch(() => undefined);
        });
      }
    },
  };
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(unlessMissing)) ?? [];
}

type AgedFile = WaitingFile & { mtimeMs: number };

async function filesIn(folder: string): Promise<AgedFile[]> {
  const files: AgedFile[] = [];
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const [, algorithm, hex, size] = filePattern.exec(name) ?? [];
    const digest = `${algorithm}:${hex}`;
    const stats = await statFile(path).catch(unlessMissing);
    if (stats && isDigest(digest)) files.push({ path, digest, size: Number(size), mtimeMs: stats.mtimeMs });
  }
  return files;
}
