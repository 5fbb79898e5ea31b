export { type FlakyStorage, flakyStore, type StoreOperation } from './flaky-store.ts';
export { type ChunkGate, chunkGate, type Gate, gate } from './gate.ts';
export { type ManualClock, manualClock } from './manual-clock.ts';
export type { Trouble } from './trouble.ts';
