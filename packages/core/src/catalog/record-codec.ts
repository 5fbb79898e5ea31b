import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';

/** The version of the records' JSON; a higher one was written by a later release. */
const format = 1;

/** A record as text. */
export function encodeRecord(record: object): string {
  return JSON.stringify({ format, ...record });
}

/**
 * The record of a text.
 *
 * @throws ProxyCacheError `storage-format` for one of another release; SyntaxError or TypeError for one that is damaged
 */
export function decodeRecord<T>(key: string, text: string): T {
  const { format: found, ...record } = JSON.parse(text);
  if (typeof found !== 'number') throw new TypeError(`${key} is no record`);
  if (found !== format) {
    throw new ProxyCacheError(
      'storage-format',
      `${key} has format ${found}, this release reads ${format}; use the release that wrote it, or another folder`,
    );
  }
  return record as T;
}

/** Whether a record could not be decoded because it is another release's, which must not be overwritten. */
export function isOtherFormat(error: unknown): boolean {
  return isProxyCacheError(error) && error.code === 'storage-format';
}
