import type { Readable } from 'node:stream';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { type BlobStore, type ByteRange, type Digest, type OpenBlob, ProxyCacheError } from '@proxycache/core';
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

/** What is read of an object to which clients may be sent: all of a small one, to which nobody is. */
const smallSize = 65_536;

/** What is read of one that is only looked at: servers take an end of 0 for none. */
const lookSize = 2;

/** Opens a blob; `undefined`: it is not stored. Its body goes on where it broke off, as long as it is the same object. */
export async function openObject(
  parts: ReadParts,
  { digest, range, forBytes = true, signal }: { digest: Digest } & Parameters<BlobStore['open']>[1],
): Promise<OpenBlob | undefined> {
  const { settings, keys } = parts;
  const mayRedirect = settings.redirectReads !== undefined && range === undefined;
  const isLook = mayRedirect || (!forBytes && range === undefined);
  const seen = isLook
    ? await look(parts, { digest, mostKept: mayRedirect && forBytes ? smallSize : 0, signal })
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
  return first || !mayRedirect || size <= smallSize
    ? blob
    : { ...blob, elsewhere: { url: () => presigned(settings, keys.blob(digest)) } };
}

/** An object, and its body unless nobody may want to have it from here. */
type Seen = Pick<ObjectAnswer, 'size' | 'etag'> & { first?: ObjectAnswer };

function seenWhole(answer: ObjectAnswer | undefined): Seen | undefined {
  return answer && { size: answer.size, etag: answer.etag, first: answer };
}

/** All of an object up to so many bytes, or what a larger one is: an answer to HEAD would not say what it is that is not there. */
async function look(
  parts: ReadParts,
  { digest, mostKept, signal }: { digest: Digest; mostKept: number; signal: AbortSignal },
): Promise<Seen | undefined> {
  try {
    const answer = await ask(parts, { digest, range: { from: 0, to: Math.max(mostKept, lookSize) - 1 }, signal });
    if (answer?.size === 0) answer.leave();
    else if (answer === undefined || answer.size <= mostKept) return seenWhole(answer);
    else {
      await readOff(parts, answer, { key: parts.keys.blob(digest), signal });
      return { size: answer.size, etag: answer.etag };
    }
  } catch (error) {
    // RFC 9110 14.1.2: no range of nothing can be satisfied. Some servers give one of which nothing comes.
    if (!(error instanceof ProxyCacheError) || refusalOf(error.cause)?.status !== 416) throw error;
  }
  return seenWhole(await ask(parts, { digest, signal }));
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
  if (Number(size) === 0) return 0;
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
