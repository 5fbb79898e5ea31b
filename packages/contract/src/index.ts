export { type AdapterHost, hostAnswer, type MountAdapter } from './adapter/adapter-case.ts';
export { adapterContract } from './adapter/adapter-contract.ts';
export { listenOnLoopback } from './adapter/listen.ts';
export { blobStoreContract } from './blob-store/blob-store-contract.ts';
export type { MakeBlobStore } from './blob-store/harness.ts';
export { type Contract, type ContractCase, casesOf, type SkippedCase } from './contract.ts';
export type { MakeMetadataStore } from './metadata-store/harness.ts';
export { metadataStoreContract } from './metadata-store/metadata-store-contract.ts';
