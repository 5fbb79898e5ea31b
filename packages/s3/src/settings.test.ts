import { inspect } from 'node:util';
import { S3Client } from '@aws-sdk/client-s3';
import { isProxyCacheError } from '@proxycache/core';
import { expect, test } from 'vitest';
import { checkS3Options, type S3BlobsOptions } from './settings.ts';

const client = new S3Client({ region: 'us-east-1' });

/** The error of options that are refused, with all that hangs on it. */
function refusal(options: unknown): string {
  try {
    checkS3Options(options as S3BlobsOptions);
  } catch (error) {
    expect(isProxyCacheError(error) && error.code).toBe('invalid-options');
    return inspect(error, { depth: 10, showHidden: true });
  }
  return expect.unreachable();
}

test('what is left out has its default', () => {
  expect(checkS3Options({ client, bucket: 'a' })).toMatchObject({
    ...{ client, isOwnClient: false, bucket: 'a', prefix: 'proxycache/', answerWithinMs: 2_000, idleWithinMs: 15_000 },
    ...{ partSize: 16 * 1024 * 1024, parallelParts: 4, upload: {} },
  });
});

test('a client is made by the options, which come before ours', async () => {
  const own = checkS3Options({
    bucket: 'a',
    options: { region: 'eu-west-1', requestChecksumCalculation: 'WHEN_REQUIRED' },
  });
  expect(own.isOwnClient).toBe(true);
  expect(await own.client.config.region()).toBe('eu-west-1');
  expect(await own.client.config.requestChecksumCalculation()).toBe('WHEN_REQUIRED');
  expect(await own.client.config.responseChecksumValidation()).toBe('WHEN_REQUIRED');
  const other = checkS3Options({ bucket: 'a', options: { region: 'x', responseChecksumValidation: 'WHEN_SUPPORTED' } });
  expect(await other.client.config.responseChecksumValidation()).toBe('WHEN_SUPPORTED');
});

test.each([
  [undefined, 'expected an object with "bucket"'],
  [{}, 'bucket: expected the name'],
  [{ bucket: '' }, 'bucket: expected the name'],
  [{ bucket: 'a', region: 'x' }, 'region: there is no such option'],
  [{ bucket: 'a', client, options: {} }, 'not both'],
  [{ bucket: 'a', client: {} }, 'client: expected an S3Client'],
  [{ bucket: 'a', options: 'x' }, 'options: expected what an S3Client is made with'],
  [{ bucket: 'a', prefix: 'x' }, 'prefix: expected names'],
  [{ bucket: 'a', prefix: '/' }, 'prefix: expected names'],
  [{ bucket: 'a', prefix: '../' }, 'prefix: expected names'],
  [{ bucket: 'a', prefix: 'a//' }, 'prefix: expected names'],
  [
    { bucket: 'a', client, partSize: 1_000 },
    'partSize: expected a whole number from 5242880 to 1073741824, received 1000',
  ],
  [{ bucket: 'a', client, parallelParts: 0 }, 'parallelParts: expected a whole number from 1 to 32'],
  [{ bucket: 'a', client, answerWithin: 0 }, 'answerWithin: expected 1 ms to 10 m, received 0'],
  [{ bucket: 'a', client, idleWithin: '1h' }, 'idleWithin: expected'],
  [{ bucket: 'a', client, idleWithin: 'soon' }, 'expected a duration'],
  [{ bucket: 'a', client, redirectReads: 'yes' }, 'redirectReads: expected true, false or an object, received "yes"'],
  [{ bucket: 'a', client, redirectReads: { for: 1 } }, 'redirectReads.for: there is no such option'],
  [{ bucket: 'a', client, redirectReads: { client: {} } }, 'redirectReads.client: expected an S3Client'],
  [{ bucket: 'a', client, redirectReads: { validFor: '8d' } }, 'redirectReads.validFor: expected 1 s to 7 d'],
])('%j: %s', (options, message) => {
  expect(refusal(options)).toContain(message);
});

test.each(['', 'a/', 'a-b/c_d/'])('the prefix %j is one', (prefix) => {
  expect(checkS3Options({ client, bucket: 'a', prefix }).prefix).toBe(prefix);
});

test('who is sent to S3 gets URLs of the store, or of a client of its own', () => {
  const own = new S3Client({ region: 'us-east-1' });
  const redirectsBy = (redirectReads: S3BlobsOptions['redirectReads']) =>
    checkS3Options({ client, bucket: 'a', ...(redirectReads !== undefined && { redirectReads }) }).redirectReads;
  expect(redirectsBy(undefined)).toBeUndefined();
  expect(redirectsBy(false)).toBeUndefined();
  expect(redirectsBy(true)).toEqual({ client, validForSeconds: 600 });
  expect(redirectsBy({ client: own, validFor: '1m' })).toEqual({ client: own, validForSeconds: 60 });
});

test('no secret of the options is shown when they are refused', () => {
  const options = { credentials: { accessKeyId: 'id', secretAccessKey: 'hunter2' } };
  expect(refusal({ bucket: 'a', options, partSize: 'x' })).not.toContain('hunter2');
  expect(refusal({ bucket: options })).not.toContain('hunter2');
  expect(refusal({ bucket: 'a', prefix: options })).not.toContain('hunter2');
});

test('what an observer throws is dropped', () => {
  const observer = () => {
    throw new Error('a defect of the host');
  };
  const { tell } = checkS3Options({ client, bucket: 'a', observer });
  tell({ type: 's3-read-resumed', digest: 'sha256:x', position: 1, error: new Error('x') });
});
