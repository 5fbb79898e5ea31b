export { type Answer, type Exchange, htmlPage, jsonAnswer, ociError } from './answer.ts';
export type { BasicAuth, BearerAuth, FakeAuth } from './auth.ts';
export { type Content, sha256 } from './content.ts';
export { type CredentialFiles, credentialFiles } from './credential-files.ts';
export { type FakeCdn, type FakeCdnOptions, startFakeCdn } from './fake-cdn.ts';
export { type FakeHost, type FakeHostOptions, type LoggedRequest, startFakeHost } from './fake-host.ts';
export {
  type FakeUpstream,
  type FakeUpstreamOptions,
  startFakeUpstream,
  type UpstreamSettings,
} from './fake-upstream.ts';
export type { Fault, RequestMatch, Step } from './fault.ts';
export { type Feed, feed } from './feed.ts';
export { type FlakyStorage, flakyStore, type StoreOperation } from './flaky-store.ts';
export { type ChunkGate, chunkGate, type Gate, gate } from './gate.ts';
export { type AddedImage, absentDigest, type ImageOptions, type ReferrerOptions, seededBytes } from './image.ts';
export { type ManualClock, manualClock } from './manual-clock.ts';
export { openFiles } from './open-files.ts';
export { type Personality, type PersonalityName, personalities, type Refusal } from './personality.ts';
export { type SelfSigned, selfSigned } from './self-signed.ts';
export type { FakeUser, TokenServiceOptions } from './token-service.ts';
export type { Trouble } from './trouble.ts';
