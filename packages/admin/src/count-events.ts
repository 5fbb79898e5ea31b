import type { ProxyCacheEvent } from '@proxycache/core';
import type { MetricId } from './metric-definitions.ts';

/** Where numbers go. */
export interface Numbers {
  /** Adds to a counter, or changes a gauge. */
  add(metric: MetricId, labels: readonly string[], amount?: number): void;
  /** Notes a duration. */
  took(metric: MetricId, labels: readonly string[], seconds: number): void;
}

type RequestEvent = Extract<ProxyCacheEvent, { type: 'request' }>;

/** Turns what an observer is told into numbers. */
export function countEvents({ add, took }: Numbers): (event: ProxyCacheEvent) => void {
  return (event) => {
    switch (event.type) {
      case 'request': {
        const { upstream = '', kind, status, durationMs, bytes } = event;
        const cache = cacheWord(event.cacheStatus);
        add('requests', [upstream, kind, classOf(status), cache]);
        if (bytes) add('sentBytes', [upstream, kind, cache], bytes);
        if (event.defect !== undefined) add('defects', []);
        took('requestSeconds', [kind, cache], durationMs / 1000);
        break;
      }
      case 'response-ended':
        add('sentBytes', [event.upstream, event.kind, cacheWord(event.cacheStatus)], event.bytes);
        if (!event.complete) add('brokenOff', [event.upstream]);
        break;
      case 'upstream-request': {
        const { upstream, operation, status, error, durationMs } = event;
        add('upstreamRequests', [upstream, operation, error ?? (status === undefined ? 'aborted' : classOf(status))]);
        took('upstreamSeconds', [operation], durationMs / 1000);
        break;
      }
      case 'upstream-received':
        add('receivedBytes', [event.upstream, event.operation], event.bytes);
        break;
      case 'upstream-retried':
        add('retries', [event.upstream, event.error]);
        break;
      default:
        for (const numbers of seldom(event)) add(...numbers);
    }
  };
}

/** What seldom happens: what to add to what. */
function seldom(event: ProxyCacheEvent): readonly Parameters<Numbers['add']>[] {
  switch (event.type) {
    case 'ingest-started':
      return [['runningIngests', [event.upstream]]];
    case 'ingest-ended':
      return [
        ['runningIngests', [event.upstream], -1],
        ['ingests', [event.upstream, event.outcome]],
      ];
    case 'passed-through':
      return [['passedThrough', [event.upstream, event.reason]]];
    case 'quota-exceeded':
      return [['quotaExceeded', [event.upstream, event.of]]];
    case 'sweep-ended':
      return event.dryRun ? [] : [['removedBytes', [event.reason], event.bytes]];
    case 'store-failed':
      return [['storeFailures', [event.operation]]];
    case 'coordinator-failed':
      return [['coordinatorFailures', []]];
    case 'upload-waiting':
      return [['waitingUploads', []]];
    case 'upload-done':
      return [['waitingUploads', [], -1]];
    case 'blob-quarantined':
      return [['quarantined', [event.reason]]];
    case 'admission':
      return [['admissions', [event.upstream, event.decision]]];
    case 'admission-failed':
      return [['admissions', [event.upstream, 'failed']]];
    case 'access-failed':
      return [['accessFailures', [event.hook]]];
  }
  return [];
}

/** How an answer came about, in one word. */
function cacheWord(status: RequestEvent['cacheStatus']): string {
  if (!status) return 'none';
  if (status.detail?.startsWith('stale-')) return 'stale';
  if (status.hit) return 'hit';
  if (status.collapsed) return 'collapsed';
  if (status.fwd !== 'stale') return status.fwd ?? 'miss';
  // The upstream was found and brought nothing new: it said that what is stored is right.
  return status.fwdStatus === 200 && !status.stored ? 'validated' : 'miss';
}

const classOf = (status: number) => `${Math.trunc(status / 100)}xx`;
