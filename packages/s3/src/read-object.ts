import type { Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { type ByteRange, type Digest, type OpenBlob, ProxyCacheError } from '@proxycache/core';
import type { Calls } from './calls.ts';
import { type ObjectAnswer, objectBody } from './object-body.ts';
import type { ObjectKeys } from './object-keys.ts';
import { presigned } from './presigned.ts';
import { refusalOf } from './s3-failure.ts';
import type { S3Settings } from './settings.ts';

/** What reading needs. */
export interface ReadParts {
  settings: S3Settings;
  calls: Calls;
  keys: ObjectKeys;
}

type Asked = { digest: Digest; range?: ByteRange | undefined; ifMatch?: string | undefined; signal: AbortSignal };

/** What of an object is read to learn what it is, and all of a smaller one, to which nobody is sent. */
const lookSize = 65_536;

/** Opens a blob; `undefined`: it is not stored. Its body goes on where it broke off, as long as it is the same object. */
export async function openObject(
  parts: ReadParts,
  { digest, range, signal }: { digest: Digest; range: ByteRange | undefined; signal: AbortSignal },
): Promise<OpenBlob | undefined> {
  const { settings, keys } = parts;
  const mayRedirect = settings.redirectReads !== undefined && range === undefined;
  const seen = mayRedirect
    ? await look(parts, { digest, signal })
    : seenWhole(await ask(parts, { digest, range, signal }));
  if (seen === undefined) return undefined;
  const { size, etag, first } = seen;
  const body = objectBody(settings, {
    digest,
    size,
    ...(range ?? { from: 0, to: size - 1 }),
    ...(first && { first }),
    etag,
    ask: (rest, given) => ask(parts, { digest, range: rest, ...given }),
  });
  const blob = { kind: 'stream', size, body: body.bytes, close: async () => body.close() } as const;
  return first ? blob : { ...blob, elsewhere: { url: () => presigned(settings, keys.blob(digest)) } };
}

/** An object, and its body unless nobody may want to have it from here. */
type Seen = Pick<ObjectAnswer, 'size' | 'etag'> & { first?: ObjectAnswer };

function seenWhole(answer: ObjectAnswer | undefined): Seen | undefined {
  return answer && { size: answer.size, etag: answer.etag, first: answer };
}

/** A small object, or what a large one is: an answer to HEAD would not say what it is that is not there. */
async function look(
  parts: ReadParts,
  { digest, signal }: { digest: Digest; signal: AbortSignal },
): Promise<Seen | undefined> {
  try {
    const answer = await ask(parts, { digest, range: { from: 0, to: lookSize - 1 }, signal });
    if (answer === undefined || answer.size <= lookSize) return seenWhole(answer);
    await readOff(parts, answer, { key: parts.keys.blob(digest), signal });
    return { size: answer.size, etag: answer.etag };
  } catch (error) {
    // RFC 9110 14.1.2: no range of nothing can be satisfied.
    const isEmpty = error instanceof ProxyCacheError && refusalOf(error.cause)?.status === 416;
    if (isEmpty) return seenWhole(await ask(parts, { digest, signal }));
    throw error;
  }
}

/** Leaves a connection that can be used again. */
async function readOff(
  { calls }: ReadParts,
  { body, leave }: ObjectAnswer,
  { key, signal }: { key: string; signal: AbortSignal },
): Promise<void> {
  await calls.run({ operation: 'GetObject', key, signal }, async ({ abortSignal }) => {
    abortSignal.addEventListener('abort', leave, { once: true });
    for await (const _ of body);
  });
}

async function ask({ settings, calls, keys }: ReadParts, asked: Asked): Promise<ObjectAnswer | undefined> {
  const { digest, range, ifMatch, signal } = asked;
  const key = keys.blob(digest);
  const left = new AbortController();
  try {
    return await calls.run({ operation: 'GetObject', key, signal }, async ({ abortSignal }) => {
      abortSignal.addEventListener('abort', () => left.abort(), { once: true });
      const command = new GetObjectCommand({
        Bucket: settings.bucket,
        Key: key,
        ...(range && { Range: `bytes=${range.from}-${range.to}` }),
        ...(ifMatch !== undefined && { IfMatch: ifMatch }),
      });
      const { Body, ContentLength, ContentRange, ETag } = await settings.client.send(command, {
        abortSignal: left.signal,
      });
      const body = Body as Readable;
      // Whoever reads it is told.
      body.on('error', () => undefined);
      const answer = { etag: ETag, body, leave: () => leaveBody(body, left) };
      try {
        return { ...answer, size: sizeOf({ range, length: ContentLength, told: ContentRange }) };
      } catch (error) {
        left.abort();
        throw error;
      }
    });
  } catch (error) {
    if (error instanceof ProxyCacheError && refusalOf(error.cause)?.code === 'NoSuchKey') return undefined;
    throw error;
  }
}

/** RFC 9110 14.4, 14.1.2: an answer ends with the object. @returns the size of the whole object */
function sizeOf(answer: {
  range: ByteRange | undefined;
  length: number | undefined;
  told: string | undefined;
}): number {
  const { range, length, told } = answer;
  if (length === undefined) throw new ProxyCacheError('storage-failed', 'S3 did not say how long an object is');
  if (told === undefined) {
    // A range may be all there is.
    if (!range || (range.from === 0 && length <= range.to + 1)) return length;
    throw new ProxyCacheError('storage-failed', 'S3 answered a part with the whole object');
  }
  const [, from, to, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(told) ?? [];
  const last = Math.min(range?.to ?? Number.POSITIVE_INFINITY, Number(size) - 1);
  const isAsked = Number(from) === (range?.from ?? 0) && Number(to) === last && length === last - Number(from) + 1;
  if (isAsked) return Number(size);
  throw new ProxyCacheError('storage-failed', `S3 answered another part than it was asked for: ${told}`);
}

function leaveBody(body: Readable, left: AbortController): void {
  if (body.readableEnded || body.destroyed) return;
  // What has arrived already leaves a connection that can be used again.
  if ('complete' in body && body.complete) body.resume();
  else {
    left.abort();
    body.destroy();
  }
}
