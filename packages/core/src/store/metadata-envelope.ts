import { ProxyCacheError } from '../runtime/errors.ts';

/** What a Keyv holds for a key: the value and what we must know of its writing. */
export interface Envelope {
  value: string;
  version: string;
  /** Ms since the epoch. */
  expiresAt: number | undefined;
  /** The token of the lease it was written under. */
  fence: number | undefined;
}

/** Raised when an older version could misread what is written. */
const envelopeFormat = '1';
const none = '-';

/** One line of facts, then the value as it is: JSON around JSON would escape every quote of it. */
export function encodeEnvelope({ value, version, expiresAt, fence }: Envelope): string {
  return `${envelopeFormat} ${version} ${expiresAt ?? none} ${fence ?? none}\n${value}`;
}

/** @throws ProxyCacheError `storage-format` for another format, `storage-damaged` for what is none of ours */
export function decodeEnvelope(key: string, text: unknown): Envelope {
  if (typeof text !== 'string') throw damaged(key);
  const end = text.indexOf('\n');
  const [format, version, expires, fence, ...rest] = text.slice(0, Math.max(end, 0)).split(' ');
  if (format !== undefined && format !== envelopeFormat && /^[1-9]\d*$/.test(format)) {
    throw new ProxyCacheError(
      'storage-format',
      `the record of ${key} has format ${format}, this version of proxycache reads format ${envelopeFormat}: upgrade it`,
    );
  }
  if (end < 0 || !version || rest.length > 0) throw damaged(key);
  return {
    value: text.slice(end + 1),
    version,
    expiresAt: numberOf(key, expires),
    fence: numberOf(key, fence),
  };
}

function numberOf(key: string, text: string | undefined): number | undefined {
  if (text === none) return undefined;
  const number = Number(text);
  if (text === undefined || text === '' || !Number.isFinite(number)) throw damaged(key);
  return number;
}

const damaged = (key: string) =>
  new ProxyCacheError(
    'storage-damaged',
    `the record of ${key} is damaged; the next write or delete of it repairs that`,
  );
