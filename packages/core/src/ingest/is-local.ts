import { type ErrorCode, isProxyCacheError, type ProxyCacheError } from '../runtime/errors.ts';
import type { IngestEvent } from './events.ts';

/** Whether what failed is here rather than upstream: the bytes can still be had. */
export function isLocal(error: unknown): error is ProxyCacheError & { code: LocalCode } {
  return isProxyCacheError(error) && error.code in reasons;
}

/** Why a pull goes on without being cached. */
export type UncachedReason = Extract<IngestEvent, { type: 'passed-through' }>['reason'];

type LocalCode = Extract<ErrorCode, 'storage-full' | 'quota-exceeded' | 'storage-failed'>;

const reasons: Readonly<Record<LocalCode, UncachedReason>> = {
  'storage-full': 'min-free',
  'quota-exceeded': 'max-bytes',
  'storage-failed': 'spool-failed',
};

/** Why, by what failed. */
export function uncachedReason(error: unknown): UncachedReason {
  return isLocal(error) ? reasons[error.code] : 'spool-failed';
}
