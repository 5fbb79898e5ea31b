import { type Duration, parseDuration } from '../runtime/duration.ts';
import {
  expectBoolean,
  expectDuration,
  expectEach,
  expectKnown,
  expectObject,
  expectOneOf,
  expectShare,
  expectWhole,
  invalidOption,
} from '../runtime/expect-option.ts';
import { expectPatterns } from '../runtime/name-patterns.ts';
import { checkCredentials } from './check-credentials.ts';
import { checkEndpoint, checkEndpoints, hostText } from './check-endpoint.ts';
import { checkLimits, expectUnmoved } from './check-limits.ts';
import { upstreamModes } from './mode.ts';
import { checkUpstreamKey } from './upstream-key.ts';
import type { NamePatterns, UpstreamOptions, UpstreamSettings } from './upstream-options.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof UpstreamOptions, true>> = {
  key: true,
  url: true,
  endpoints: true,
  hosts: true,
  library: true,
  include: true,
  exclude: true,
  credentials: true,
  auth: true,
  tokenHosts: true,
  allowPrivate: true,
  mode: true,
  freshFor: true,
  staleIfErrorFor: true,
  staleWhileRevalidateFor: true,
  absentFor: true,
  onAbsent: true,
  onDenied: true,
  deniedMayMeanAbsent: true,
  linkValidFor: true,
  serveUnproven: true,
  coldRange: true,
  prefetch: true,
  timeouts: true,
  manifestWithin: true,
  blobWithin: true,
  resumeWithin: true,
  validateWithin: true,
  limits: true,
  segments: true,
  maxManifestBytes: true,
  maxBytes: true,
  rateLimit: true,
  breaker: true,
  retry: true,
  tls: true,
  proxy: true,
  ownVoice: true,
};

/** Smaller blobs would be asked for in vain: they are here before it is known what another connection brings. */
const leastSegmented = 1024 * 1024;

/**
 * Checks an upstream's options, also of a caller without types.
 *
 * @param path what it is called in messages, as in `upstreams[0]`
 * @param defaults what an option contradicts may be one that was not given
 * @throws ProxyCacheError `invalid-options`, naming the path, what was expected and what was received
 */
export function checkUpstream(
  path: string,
  upstream: UpstreamOptions,
  defaults: Pick<UpstreamSettings, 'breaker' | 'retry'>,
): void {
  expectObject(path, upstream);
  expectUnmoved(path, upstream);
  expectKnown(path, upstream, Object.keys(known));
  if (typeof upstream.key !== 'string') throw invalidOption(`${path}.key`, 'a key such as "docker-hub"', upstream.key);
  checkUpstreamKey(upstream.key, `${path}.key`);
  checkEndpoint(path, upstream);
  checkEndpoints(`${path}.endpoints`, upstream.endpoints);
  expectEach(`${path}.hosts`, upstream.hosts, hostText);
  expectEach(`${path}.ownVoice`, upstream.ownVoice, { is: 'a text', test: (text) => text !== '' });
  expectBoolean(`${path}.library`, upstream.library);
  expectBoolean(`${path}.deniedMayMeanAbsent`, upstream.deniedMayMeanAbsent);
  for (const name of ['include', 'exclude'] as const) expectNames(`${path}.${name}`, upstream[name]);
  expectBoolean(`${path}.serveUnproven`, upstream.serveUnproven);
  expectTimes(path, upstream);
  expectOneOf(`${path}.onAbsent`, upstream.onAbsent, ['refuse', 'serve-stale']);
  expectOneOf(`${path}.onDenied`, upstream.onDenied, ['refuse', 'serve-stale']);
  checkCredentials(path, upstream);
  expectOneOf(`${path}.mode`, upstream.mode, upstreamModes);
  expectOneOf(`${path}.coldRange`, upstream.coldRange, ['pass', 'verify']);
  expectOneOf(`${path}.prefetch`, upstream.prefetch, ['off', 'layers']);
  checkLimits(`${path}.limits`, upstream.limits);
  expectSegments(`${path}.segments`, upstream.segments);
  expectWhole(`${path}.maxManifestBytes`, upstream.maxManifestBytes, 1);
  expectWhole(`${path}.maxBytes`, upstream.maxBytes, 1);
  expectBreaker(`${path}.breaker`, upstream.breaker, defaults.breaker);
  if (upstream.rateLimit !== undefined) {
    expectObject(`${path}.rateLimit`, upstream.rateLimit);
    expectKnown(`${path}.rateLimit`, upstream.rateLimit, ['reserve']);
    expectShare(`${path}.rateLimit.reserve`, upstream.rateLimit.reserve);
  }
  expectRetry(`${path}.retry`, upstream.retry, defaults.retry);
}

function expectNames(path: string, names: NamePatterns | undefined): void {
  if (names === undefined) return;
  expectObject(path, names);
  expectKnown(path, names, ['repositories', 'tags']);
  expectPatterns(`${path}.repositories`, names.repositories);
  expectPatterns(`${path}.tags`, names.tags);
}

function expectSegments(path: string, segments: UpstreamOptions['segments']): void {
  if (segments === undefined || segments === false) return;
  if (typeof segments !== 'object' || segments === null) {
    throw invalidOption(path, 'false, or an object such as { connections: 8 }', segments);
  }
  expectObject(path, segments);
  expectKnown(path, segments, ['connections', 'minSize']);
  expectWhole(`${path}.connections`, segments.connections, 2);
  expectWhole(`${path}.minSize`, segments.minSize, leastSegmented);
}

function expectRetry(path: string, retry: UpstreamOptions['retry'], defaults: UpstreamSettings['retry']): void {
  if (retry === undefined) return;
  expectObject(path, retry);
  expectKnown(path, retry, ['attempts', 'minWait', 'maxWait', 'budget']);
  expectWhole(`${path}.attempts`, retry.attempts, 1);
  expectDuration(`${path}.minWait`, retry.minWait);
  expectEnd(`${path}.minWait`, retry.minWait);
  expectDuration(`${path}.maxWait`, retry.maxWait);
  expectOrder(
    path,
    { name: 'minWait', given: retry.minWait, unsaid: defaults.minWait },
    {
      name: 'maxWait',
      given: retry.maxWait,
      unsaid: defaults.maxWait,
    },
  );
  expectShare(`${path}.budget`, retry.budget);
}

function expectTimes(path: string, upstream: UpstreamOptions): void {
  const spans = [
    'freshFor',
    'staleIfErrorFor',
    'staleWhileRevalidateFor',
    'absentFor',
    'linkValidFor',
    'resumeWithin',
  ] as const;
  for (const name of spans) expectDuration(`${path}.${name}`, upstream[name]);
  // None at all would be a limit that nothing can keep.
  for (const name of ['manifestWithin', 'blobWithin', 'validateWithin'] as const) {
    expectDuration(`${path}.${name}`, upstream[name], 1);
  }
  const { timeouts } = upstream;
  if (timeouts === undefined) return;
  const names = ['connect', 'headers', 'idle'] as const;
  expectObject(`${path}.timeouts`, timeouts);
  expectKnown(`${path}.timeouts`, timeouts, names);
  for (const name of names) expectDuration(`${path}.timeouts.${name}`, timeouts[name], 1);
}

function expectBreaker(path: string, breaker: UpstreamOptions['breaker'], defaults: UpstreamSettings['breaker']): void {
  if (breaker === undefined) return;
  expectObject(path, breaker);
  expectKnown(path, breaker, ['failures', 'openFor', 'maxOpenFor']);
  expectWhole(`${path}.failures`, breaker.failures, 1);
  // A host that is down for good must not be left alone for good: every breaker ends.
  for (const name of ['openFor', 'maxOpenFor'] as const) {
    expectDuration(`${path}.${name}`, breaker[name], 1);
    expectEnd(`${path}.${name}`, breaker[name]);
  }
  expectOrder(
    path,
    { name: 'openFor', given: breaker.openFor, unsaid: defaults.openFor },
    {
      name: 'maxOpenFor',
      given: breaker.maxOpenFor,
      unsaid: defaults.maxOpenFor,
    },
  );
}

function expectEnd(path: string, value: Duration | undefined): void {
  if (value === Number.POSITIVE_INFINITY) throw invalidOption(path, 'a duration that ends', value);
}

/** A duration that has a default. */
interface Bound {
  name: string;
  given: Duration | undefined;
  unsaid: Duration;
}

/** Refuses a least that is above the most: one of the two would silently not hold. */
function expectOrder(path: string, least: Bound, most: Bound): void {
  const { given: low = least.unsaid } = least;
  const { given: high = most.unsaid } = most;
  if (parseDuration(low) <= parseDuration(high)) return;
  const of = (bound: Bound, value: Duration) =>
    `${bound.name}, which is ${JSON.stringify(value)}${bound.given === undefined ? ' by default' : ''}`;
  if (most.given === undefined) throw invalidOption(`${path}.${least.name}`, `at most ${of(most, high)}`, low);
  throw invalidOption(`${path}.${most.name}`, `at least ${of(least, low)}`, high);
}
