import type { Digest } from '../oci/digest.ts';
import type { RemovalReason } from './events.ts';

/** Something that goes, or would. */
export interface Removal {
  /** `file`: bytes that no repository has any more. */
  kind: 'tag' | 'manifest' | 'blob' | 'file';
  /** Missing of a file. */
  upstream?: string;
  /** As the upstream names it; missing of a file. */
  repository?: string;
  tagOrDigest: string | Digest;
  /** Its last use, or of what it belongs to, in ms since the epoch; of a file that nobody had, when it was stored. */
  usedAt?: number;
  /** Of a file. */
  bytes?: number;
  reason: RemovalReason;
}

/** What a sweep removed, so far or in all; of a dry run, what it would have. */
export interface SweepReport {
  dryRun: boolean;
  /** Another process that shares the storage is at it: nothing was done here. */
  elsewhere: boolean;
  /** Repositories that were looked at. */
  repositories: number;
  /** Records that are gone: a blob of two repositories counts twice. */
  tags: number;
  manifests: number;
  blobs: number;
  /** What left the store. */
  files: number;
  bytes: number;
  /** The first 1,000 of all these. */
  removals: Removal[];
  /** Upstreams whose content stays, as they fail. */
  paused: string[];
  /** Repositories of which something could not be read, so that all of them stays. The first 1,000. */
  unread: { upstream: string; repository: string }[];
  durationMs: number;
}

const mostListed = 1_000;

export function emptyReport(dryRun: boolean): SweepReport {
  const counts = { repositories: 0, tags: 0, manifests: 0, blobs: 0, files: 0, bytes: 0 };
  return { dryRun, elsewhere: false, ...counts, removals: [], paused: [], unread: [], durationMs: 0 };
}

const counters = { tag: 'tags', manifest: 'manifests', blob: 'blobs', file: 'files' } as const;

export function addRemoval(report: SweepReport, removal: Removal): void {
  report[counters[removal.kind]]++;
  report.bytes += removal.bytes ?? 0;
  if (report.removals.length < mostListed) report.removals.push(removal);
}

export function addUnread(report: SweepReport, repository: { upstream: string; repository: string }): void {
  if (report.unread.length < mostListed) report.unread.push(repository);
}

export function copyOf(report: SweepReport): SweepReport {
  const { removals, paused, unread } = report;
  return { ...report, removals: [...removals], paused: [...paused], unread: [...unread] };
}
