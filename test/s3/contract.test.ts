import { blobStoreContract, casesOf, type SkippedCase } from '@proxycache/contract';
import { s3Blobs } from '@proxycache/s3';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type S3Program, type S3Server, s3Programs, startS3Server } from './s3-server.ts';

/** What a server of the tests does not keep, though the store asks it rightly; and what a store that redirects does not. */
const skipped: Readonly<Record<S3Program | 'redirectReads', readonly SkippedCase[]>> = {
  versitygw: [],
  s3rver: [
    {
      case: 'has a blob whole or not at all that is stored and deleted at the same time',
      reason: 's3rver ends now and then when an object goes away that it is about to read',
    },
    {
      case: 'shows a blob whole or not at all while it is stored',
      reason: 's3rver gives what it has of an object while that is still being written',
    },
    {
      case: 'gives every range of a blob, with the size of the whole',
      reason: 's3rver answers a range that ends at byte 0 with the whole object, which the store refuses',
    },
    {
      case: 'stores verified bytes in the place of rotten ones, and disturbs no reader of those',
      reason: 's3rver writes an object in place, which cuts off whoever still reads it',
    },
  ],
  redirectReads: [
    {
      case: 'stores verified bytes in the place of rotten ones, and disturbs no reader of those',
      reason: 'with redirectReads a large blob is asked for when it is first read: that gives what is there then',
    },
  ],
};

const kinds = s3Programs().flatMap((program): { program: S3Program; redirectReads: boolean }[] => {
  const plain = { program, redirectReads: false };
  return program === 's3rver' ? [plain] : [plain, { program, redirectReads: true }];
});

describe.each(kinds)('blobs in S3, by $program, redirectReads: $redirectReads', ({ program, redirectReads }) => {
  let server: S3Server;
  let stores = 0;

  beforeAll(async () => {
    server = await startS3Server(program);
  });
  afterAll(() => server?.close());

  const make = async () => {
    const { config: options, bucket } = server;
    const prefix = `contract-${stores++}/`;
    // A machine under load takes its time.
    const store = s3Blobs({ options, bucket, prefix, redirectReads, answerWithin: '60s', idleWithin: '60s' });
    return { store, close: () => store.close() };
  };
  const skip = [...skipped[program], ...(redirectReads ? skipped.redirectReads : [])];
  for (const { name, run } of casesOf(blobStoreContract, { skip })) test(name, () => run(make));
});
