import { blobStoreContract, casesOf, type SkippedCase } from '@proxycache/contract';
import { s3Blobs } from '@proxycache/s3';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type S3Program, type S3Server, s3Programs, startS3Server } from './s3-server.ts';

/** What a server of the test does not keep, though the store asks it rightly. */
const skipped: Readonly<Record<S3Program, readonly SkippedCase[]>> = {
  versitygw: [],
  s3rver: [
    {
      case: 'shows a blob whole or not at all while it is stored',
      reason: 's3rver gives what it has of an object while that is still being written',
    },
    {
      case: 'gives every range of a blob, with the size of the whole',
      reason: 's3rver answers a range that ends at byte 0 with the whole object, which the store refuses',
    },
  ],
};

describe.each(s3Programs())('blobs in S3, by %s', (program) => {
  let server: S3Server;
  let stores = 0;

  beforeAll(async () => {
    server = await startS3Server(program);
  });
  afterAll(() => server?.close());

  const make = async () => {
    const { config: options, bucket } = server;
    // A machine under load takes its time.
    const store = s3Blobs({ options, bucket, prefix: `contract-${stores++}/`, answerWithin: '60s', idleWithin: '60s' });
    return { store, close: () => store.close() };
  };
  for (const { name, run } of casesOf(blobStoreContract, { skip: skipped[program] })) test(name, () => run(make));
});
