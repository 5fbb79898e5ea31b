import type { Contract } from '../contract.ts';
import { blobCases } from './blobs.ts';
import { failureCases } from './failures.ts';
import type { MakeUpstream } from './harness.ts';
import { listCases } from './lists.ts';
import { manifestCases } from './manifests.ts';

/** What every `Upstream` of `@proxycache/core` must do. */
export const upstreamContract: Contract<MakeUpstream> = [...manifestCases, ...blobCases, ...listCases, ...failureCases];
