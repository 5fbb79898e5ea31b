import { ProxyCacheError } from '@proxycache/core';

/** What is stored for a key, as far as readers need it. */
export interface RecordText {
  value: string;
  version: string;
  expiresAt: number;
}

/** Raised when an older version could misread what is written. */
const recordFormat = '1';

/**
 * Parts the text of a record: one line `1 <version> <expiresAt or -> <fence or ->`, then the value as it is. The scripts
 * write it.
 *
 * @throws ProxyCacheError `storage-format` for another format, `storage-damaged` for what is none of ours
 */
export function parseRecordText(key: string, text: string): RecordText {
  const end = text.indexOf('\n');
  const [format, version, expires, fence, ...rest] = text.slice(0, Math.max(end, 0)).split(' ');
  if (format !== undefined && format !== recordFormat && /^[1-9]\d*$/.test(format)) {
    throw new ProxyCacheError(
      'storage-format',
      `the record of ${key} has format ${format}, this version of proxycache reads format ${recordFormat}: upgrade it`,
    );
  }
  const expiresAt = expires === '-' ? Number.POSITIVE_INFINITY : Number(expires || Number.NaN);
  if (format !== recordFormat || !version || Number.isNaN(expiresAt) || !fence || rest.length > 0) {
    throw new ProxyCacheError(
      'storage-damaged',
      `the record of ${key} is damaged; the next write or delete of it repairs that`,
    );
  }
  return { value: text.slice(end + 1), version, expiresAt };
}
