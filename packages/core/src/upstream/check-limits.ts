import { ProxyCacheError } from '../runtime/errors.ts';
import { expectDuration, expectKnown, expectObject, expectWhole } from '../runtime/expect-option.ts';
import type { UpstreamLimits } from './upstream-options.ts';

// A record, so that a new limit cannot be forgotten here.
const known: Readonly<Record<keyof UpstreamLimits, true>> = {
  maxConnections: true,
  queueFor: true,
  bytesPerSecond: true,
  maxBlobBytes: true,
};

/** With less than this nothing larger than a manifest comes before its clients give up. */
const leastRate = 1024;

/** What was an option of its own. */
const moved: Readonly<Record<string, keyof UpstreamLimits>> = {
  connections: 'maxConnections',
  maxConnections: 'maxConnections',
  queueFor: 'queueFor',
};

/** @throws ProxyCacheError `invalid-options` for an upstream's limit that stands beside its `limits` */
export function expectUnmoved(path: string, upstream: object): void {
  for (const name of Object.keys(upstream)) {
    if (!Object.hasOwn(moved, name)) continue;
    const message = `${path}.${name}: there is no such option; did you mean limits.${moved[name]}?`;
    throw new ProxyCacheError('invalid-options', message);
  }
}

/** @throws ProxyCacheError `invalid-options` */
export function checkLimits(path: string, limits: UpstreamLimits | undefined): void {
  if (limits === undefined) return;
  expectObject(path, limits);
  expectKnown(path, limits, Object.keys(known));
  expectWhole(`${path}.maxConnections`, limits.maxConnections, 1);
  expectWhole(`${path}.maxBlobBytes`, limits.maxBlobBytes, 1);
  expectWhole(`${path}.bytesPerSecond`, limits.bytesPerSecond, leastRate);
  // None at all would be a limit that nothing can keep.
  expectDuration(`${path}.queueFor`, limits.queueFor, 1);
}
