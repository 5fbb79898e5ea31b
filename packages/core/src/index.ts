export { type AccessRule, type AccessRulesOptions, accessRules } from './access/access-rules.ts';
export type { AccessEvent } from './access/events.ts';
export type * from './access/hooks.ts';
export { allOf } from './admission/all-of.ts';
export type {
  AdmissionContext,
  AdmissionDecision,
  AdmissionOptions,
  Admit,
} from './admission/hook.ts';
export { maxSize } from './admission/max-size.ts';
export { minimumAge } from './admission/minimum-age.ts';
export { platforms } from './admission/platforms.ts';
export { requireSignature, type SignedContent, type VerifySignature } from './admission/require-signature.ts';
export type { ProxyCache } from './cache-interface.ts';
export type { ScrubOptions, ScrubReport } from './catalog/scrub.ts';
export type { RecordsReport } from './catalog/scrub-records.ts';
export type { CloseOptions } from './close-cache.ts';
export type { ProxyCacheEvent } from './events.ts';
export type { GroupOptions, GroupPin } from './group/group-options.ts';
export type { GroupControl } from './group/groups.ts';
export type { Pin } from './group/pins.ts';
export type { Handle, HandleBeside, HttpRequest, HttpResponse } from './http/message.ts';
export type * from './layout/layout-report.ts';
export type { Descriptor } from './oci/descriptor.ts';
export { type Digest, digestOf, isDigest, parseDigest } from './oci/digest.ts';
export type { BlobDescriptor, ChildDescriptor, ParsedManifest, Platform } from './oci/manifest.ts';
export type { TagOrDigest } from './oci/name.ts';
export type { AccessOptions, ProxyCacheOptions } from './options.ts';
export { createProxyCache } from './proxy-cache.ts';
export type { Contents, ContentsPage, StoredManifest, StoredTag } from './pull/contents.ts';
export type { WarmedReference, WarmOptions, WarmProgress, WarmReport } from './pull/warm-report.ts';
export type { RemovalReason } from './retention/events.ts';
export type { Purge, PurgeOptions, PurgeReport } from './retention/purge-report.ts';
export type { RetentionOptions, RetentionRule } from './retention/retention-options.ts';
export type { Removal, SweepReport } from './retention/sweep-report.ts';
export type { SweepOptions } from './retention/sweeps.ts';
export type { PersistUpstreamsOptions } from './roster/persist-upstreams-options.ts';
export type { Roster } from './roster/roster.ts';
export type { UpstreamChange } from './roster/upstream-change.ts';
export type { AuthSummary, UpstreamSummary } from './roster/upstream-summary.ts';
export { afterRunning } from './runtime/after-running.ts';
export { attempt } from './runtime/attempt.ts';
export type { ByteRange } from './runtime/byte-range.ts';
export { type Bytes, isWhole, type WholeBytes } from './runtime/bytes.ts';
export { type Clock, systemClock } from './runtime/clock.ts';
export { type Duration, parseDuration } from './runtime/duration.ts';
export { type ErrorCode, isProxyCacheError, ProxyCacheError } from './runtime/errors.ts';
export { textOf } from './runtime/kept-texts.ts';
export { pause } from './runtime/pause.ts';
export type { Span, SpanAttributes, SpanStart, Tracing } from './runtime/tracing.ts';
export type { BlobLocation, BlobStore, OpenBlob, StoredBlob } from './store/blob-store.ts';
export type { Coordinator, Lease } from './store/coordinator.ts';
export type { BlobFlaw } from './store/events.ts';
export { type FileStorageOptions, fileStorage } from './store/file-storage.ts';
export type { KeyvLike } from './store/keyv-access.ts';
export { type KeyvMetadataOptions, keyvMetadata } from './store/keyv-metadata.ts';
export { type FileBlobs, type FileBlobsOptions, fileBlobs } from './store/local-blobs.ts';
export { localCoordinator } from './store/local-coordinator.ts';
export { memoryStorage } from './store/memory-storage.ts';
export { checkMetadataKey, keyOrder, prefixSegments } from './store/metadata-key.ts';
export type { MetadataEntry, MetadataStore, SetOptions } from './store/metadata-store.ts';
export type { BlobsReport, WrongBlob } from './store/scrub-blobs.ts';
export type { Storage } from './store/storage.ts';
export { type Tiers, tiered } from './store/tiered.ts';
export type { BreakerState } from './upstream/breaker.ts';
export type { CheckFailure, EndpointCheck, UpstreamCheck } from './upstream/check.ts';
export type {
  Credential,
  CredentialProvider,
  CredentialQuery,
  SecretOf,
  UpstreamAuth,
} from './upstream/credentials.ts';
export type { UpstreamMode } from './upstream/mode.ts';
export {
  type ArtifactRegistryOptions,
  artifactRegistry,
  dockerHub,
  type EcrOptions,
  ecr,
  ghcr,
  gitlab,
  harbor,
  kubernetes,
  type PresetOverrides,
  quay,
  registry,
} from './upstream/presets.ts';
export type { QuotaReading } from './upstream/quota.ts';
export type * from './upstream/upstream.ts';
export {
  isUpstreamError,
  UpstreamError,
  type UpstreamErrorCode,
  type UpstreamFailure,
} from './upstream/upstream-error.ts';
export type { UpstreamEndpoint, UpstreamOptions, UpstreamTls } from './upstream/upstream-options.ts';
export type { CheckOptions } from './upstream-checks.ts';
