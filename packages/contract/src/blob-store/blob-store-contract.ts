import type { Contract } from '../contract.ts';
import type { MakeBlobStore } from './harness.ts';
import { listingCases } from './listing.ts';
import { quarantineCases } from './quarantine.ts';
import { readingCases } from './reading.ts';
import { storingCases } from './storing.ts';

/** What every `BlobStore` of `@proxycache/core` must do. */
export const blobStoreContract: Contract<MakeBlobStore> = [
  ...storingCases,
  ...readingCases,
  ...listingCases,
  ...quarantineCases,
];
