import type { Contract } from '../contract.ts';
import { conditionCases } from './conditions.ts';
import type { MakeMetadataStore } from './harness.ts';
import { listingCases } from './listing.ts';
import { valueCases } from './values.ts';

/** What every `MetadataStore` of `@proxycache/core` must do. */
export const metadataStoreContract: Contract<MakeMetadataStore> = [...valueCases, ...conditionCases, ...listingCases];
