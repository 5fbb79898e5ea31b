import { type PutObjectCommandInput, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { attempt, type Clock, type Duration, ProxyCacheError, parseDuration, systemClock } from '@proxycache/core';
import type { S3Event } from './s3-event.ts';

/** What is said of each object that is stored. */
export type S3UploadOptions = Pick<
  PutObjectCommandInput,
  'ACL' | 'BucketKeyEnabled' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass' | 'Tagging'
>;

/** How clients get blobs from S3 themselves. */
export interface S3RedirectOptions {
  /** Signs the URLs, by the endpoint that clients reach S3 at. Default: the client of the store. */
  client?: S3Client;
  /** How long a URL may be used to begin a download, 1 s to 7 days. Default: 10 m. */
  validFor?: Duration;
}

/** Which bucket, and how it is used. At most one of `client` and `options` says how it is reached. */
export interface S3BlobsOptions {
  /** A client of the host's own. It is never closed, and its settings hold, but for the deadlines. */
  client?: S3Client;
  /** What a client is made with. Default: none, so that region and credentials are found as the SDK finds them. */
  options?: S3ClientConfig;
  bucket: string;
  /** What every key begins with; ends in `/`, or is empty. Default: `proxycache/`. */
  prefix?: string;
  /**
   * How long S3 may take to answer, and to accept a connection. What a pull waits for, such as a read, a cache gives up after 3 s,
   * whatever this says. Default: 2 s.
   */
  answerWithin?: Duration;
  /** How long an upload may stand still, and S3 take to say that it has a part; twice as long with each attempt. Default: 15 s. */
  idleWithin?: Duration;
  /** In bytes: larger blobs go up in parts of this size. 5 MiB to 1 GiB. Default: 16 MiB. */
  partSize?: number;
  /** Parts of one blob that go up at a time, 1 to 32. Default: 4. */
  parallelParts?: number;
  /** What is said of each object that is stored, such as its encryption or storage class. Default: nothing. */
  upload?: S3UploadOptions;
  /**
   * Whether clients get blobs from S3 themselves, by signed URLs: all of them must be able to reach it. Needs
   * `@aws-sdk/s3-request-presigner`. Default: false.
   */
  redirectReads?: boolean | S3RedirectOptions;
  /** Is told what is tried again. What it throws is dropped. */
  observer?: (event: S3Event) => void;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** The options, checked, with defaults. */
export interface S3Settings {
  client: S3Client;
  isOwnClient: boolean;
  bucket: string;
  prefix: string;
  answerWithinMs: number;
  idleWithinMs: number;
  partSize: number;
  parallelParts: number;
  upload: S3UploadOptions;
  redirectReads: { client: S3Client; validForSeconds: number } | undefined;
  clock: Clock;
  tell: (event: S3Event) => void;
}

const mebibyte = 1024 * 1024;
const longestDeadlineMs = 600_000;
/** S3 signs no longer ones. */
const longestUrlSeconds = 7 * 86_400;
const known = [
  ...['client', 'options', 'bucket', 'prefix', 'answerWithin', 'idleWithin'],
  ...['partSize', 'parallelParts', 'upload', 'redirectReads', 'observer', 'clock'],
];

/** @throws ProxyCacheError `invalid-options`, without what may be a secret */
export function checkS3Options(given: S3BlobsOptions): S3Settings {
  if (typeof given !== 'object' || given === null) throw wrong('expected an object with "bucket"');
  const stranger = Object.keys(given).find((name) => !known.includes(name));
  if (stranger !== undefined) throw wrong(`${stranger}: there is no such option`);
  const { client, options, bucket, prefix = 'proxycache/', upload = {}, observer, clock = systemClock } = given;
  if (client !== undefined && options !== undefined) throw wrong('expected one of "client" and "options", not both');
  if (client !== undefined && typeof client?.send !== 'function') throw wrong('client: expected an S3Client');
  if (options !== undefined && (typeof options !== 'object' || options === null)) {
    throw wrong('options: expected what an S3Client is made with');
  }
  if (typeof bucket !== 'string' || bucket === '') throw wrong('bucket: expected the name of a bucket');
  // A posix gateway takes keys for paths.
  if (!/^(?:[A-Za-z0-9!_'()*-][A-Za-z0-9!_.'()*-]*\/)*$/.test(prefix) || prefix.length > 500) {
    throw wrong(`prefix: expected names of [A-Za-z0-9!_.'()*-] that each end in "/", received ${shown(prefix)}`);
  }
  const { partSize = 16 * mebibyte, parallelParts = 4 } = given;
  expectWhole('partSize', partSize, { least: 5 * mebibyte, most: 1024 * mebibyte });
  expectWhole('parallelParts', parallelParts, { least: 1, most: 32 });
  const answerWithinMs = durationOf('answerWithin', given.answerWithin ?? '2s');
  const used = client ?? makeClient(options ?? {}, answerWithinMs);
  return {
    client: used,
    isOwnClient: client === undefined,
    bucket,
    prefix,
    answerWithinMs,
    idleWithinMs: durationOf('idleWithin', given.idleWithin ?? '15s'),
    partSize,
    parallelParts,
    upload,
    redirectReads: redirectsOf(given.redirectReads ?? false, used),
    clock,
    tell: (event) => attempt(() => observer?.(event)),
  };
}

function redirectsOf(
  given: boolean | S3RedirectOptions,
  used: S3Client,
): { client: S3Client; validForSeconds: number } | undefined {
  if (given === false) return undefined;
  if (given !== true && (typeof given !== 'object' || given === null)) {
    throw wrong(`redirectReads: expected true, false or an object, received ${shown(given)}`);
  }
  const { client = used, validFor = '10m', ...strange } = given === true ? {} : given;
  const [stranger] = Object.keys(strange);
  if (stranger !== undefined) throw wrong(`redirectReads.${stranger}: there is no such option`);
  if (typeof client?.send !== 'function') throw wrong('redirectReads.client: expected an S3Client');
  const validForSeconds = Math.floor(parseDuration(validFor) / 1_000);
  if (validForSeconds >= 1 && validForSeconds <= longestUrlSeconds) return { client, validForSeconds };
  throw wrong(`redirectReads.validFor: expected 1 s to 7 d, received ${shown(validFor)}`);
}

const silent = (): void => undefined;

function makeClient(options: S3ClientConfig, connectionTimeout: number): S3Client {
  // Readers keep theirs as long as their clients are slow, and of those the cache bounds the number: with any other bound the
  // next one would wait, and S3 be taken for silent.
  const agent = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY };
  try {
    return new S3Client({
      requestHandler: { connectionTimeout, httpAgent: agent, httpsAgent: agent },
      // Who reads a blob knows its digest.
      responseChecksumValidation: 'WHEN_REQUIRED',
      // It would take a new connection for each part.
      expectContinueHeader: false,
      // It would tell the console of each part that is sent again.
      logger: { trace: silent, debug: silent, info: silent, warn: silent, error: silent },
      ...options,
    });
  } catch (error) {
    // Neither the options nor what they hold are shown.
    throw wrong(`options: the S3Client refuses them: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function expectWhole(path: string, value: unknown, { least, most }: { least: number; most: number }): void {
  if (Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most) return;
  throw wrong(`${path}: expected a whole number from ${least} to ${most}, received ${shown(value)}`);
}

function durationOf(path: string, duration: Duration): number {
  const ms = parseDuration(duration);
  if (ms >= 1 && ms <= longestDeadlineMs) return ms;
  throw wrong(`${path}: expected 1 ms to 10 m, received ${shown(duration)}`);
}

const shown = (value: unknown) => (typeof value === 'object' ? 'an object' : (JSON.stringify(value) ?? String(value)));

const wrong = (message: string) => new ProxyCacheError('invalid-options', `s3: ${message}`);
