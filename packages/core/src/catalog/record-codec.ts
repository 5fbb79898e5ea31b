import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { systemCode } from '../store/file-system.ts';

/** The version of the records' JSON; a higher one was written by a later release. */
const format = 1;

/** A record as text. */
export function encodeRecord(record: object): string {
  return JSON.stringify({ format, ...record });
}

/**
 * The record of a text.
 *
 * @throws ProxyCacheError `storage-format` for one of another release, `storage-damaged` for what is no record
 */
export function decodeRecord<T>(key: string, text: string): T {
  const { format: found, ...record } = parse(key, text);
  if (typeof found !== 'number') throw damaged(key);
  if (found !== format) {
    throw new ProxyCacheError(
      'storage-format',
      `${key} has format ${found}, this release reads ${format}; use the release that wrote it, or another folder`,
    );
  }
  return record as T;
}

/** The same; `undefined` where it throws. */
export function readable<T>(key: string, text: string): T | undefined {
  try {
    return decodeRecord<T>(key, text);
  } catch {
    return undefined;
  }
}

/** Whether a record could not be decoded because it is another release's, which must not be overwritten. */
export function isOtherFormat(error: unknown): boolean {
  return isProxyCacheError(error) && error.code === 'storage-format';
}

/** Whether there is a record, and nobody can read it any more: whatever is written next replaces it. */
export function isDamaged(error: unknown): boolean {
  return isProxyCacheError(error) && error.code === 'storage-damaged';
}

/** Whether it was read, and is no record: it never will be. What a disk did not give may still be one. */
export function isLost(error: unknown): boolean {
  return isProxyCacheError(error) && isDamaged(error) && systemCode(error.cause) === undefined;
}

function parse(key: string, text: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(text) };
  } catch (cause) {
    throw damaged(key, cause);
  }
}

const damaged = (key: string, cause?: unknown) =>
  new ProxyCacheError('storage-damaged', `the record of ${key} is damaged; its next change replaces it`, { cause });
