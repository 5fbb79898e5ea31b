import { expectOneOf, invalidOption } from '../runtime/expect-option.ts';
import type { UpstreamOptions } from './upstream-options.ts';

/**
 * Checks whose credential an upstream is asked with: what would give one caller what another was told is refused.
 *
 * @param path what it is called in messages, as in `upstreams[0]`
 * @throws ProxyCacheError `invalid-options`
 */
export function checkCredentials(path: string, upstream: UpstreamOptions): void {
  expectOneOf(`${path}.credentials`, upstream.credentials, ['own', 'caller']);
  if (upstream.credentials !== 'caller') return;
  const { auth = 'anonymous', endpoints = [], linkValidFor } = upstream;
  const beside = "beside credentials: 'caller'";
  if (auth !== 'anonymous') {
    throw invalidOption(`${path}.auth`, `no credential of our own ${beside}`, typeof auth === 'object' ? {} : auth);
  }
  // An endpoint that asks nobody, or somebody else, who he is says yes to all: that would be no proof.
  if (endpoints.length > 0) {
    throw invalidOption(`${path}.endpoints`, `none ${beside}, which were given for url alone`, endpoints);
  }
  if (linkValidFor === Number.POSITIVE_INFINITY) {
    throw invalidOption(`${path}.linkValidFor`, `a duration that ends ${beside}, as rights do`, linkValidFor);
  }
  // To one without the right a registry may say either.
  for (const name of ['onAbsent', 'onDenied'] as const) {
    if (upstream[name] === 'serve-stale') throw invalidOption(`${path}.${name}`, `"refuse" ${beside}`, upstream[name]);
  }
}
