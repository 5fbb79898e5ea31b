import { isDeepStrictEqual } from 'node:util';
import { ProxyCacheError } from '../runtime/errors.ts';
import { expectObject, invalidOption } from '../runtime/expect-option.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import { type Entry, ownOptions } from './entry.ts';
import { hasSecret } from './secrets.ts';

/**
 * What is to change of an upstream: what is not named stays, and `undefined` or `null` takes an option back to its default. An
 * option of several parts (`limits`, `timeouts`) is replaced as a whole.
 */
export type UpstreamChange = {
  [Name in keyof Omit<UpstreamOptions, 'key'>]?: UpstreamOptions[Name] | undefined | null;
};

// Whoever may change these, but is not told the secret, could have it sent to himself.
export const waysOfSecrets = ['url', 'endpoints', 'tls', 'proxy', 'tokenHosts'] as const;

/**
 * An upstream's options after a change.
 *
 * @throws ProxyCacheError `invalid-options` for a change that is none, `secret-required` where a secret would go elsewhere,
 * or what cannot be read of it is not given anew
 */
export function changedOptions(
  key: string,
  { options, ...before }: Exclude<Entry, { kind: 'removed' }>,
  change: UpstreamChange,
): UpstreamOptions {
  // Of what cannot be read at all nothing can stay.
  if (!options) throw 'error' in before ? before.error : new ProxyCacheError('name-unknown', key);
  expectObject('change', change);
  if ('key' in change) throw invalidOption('change.key', 'none, as a key cannot be changed; add another upstream', key);
  const lost = 'lost' in before ? before.lost.filter((name) => !(name in change)) : [];
  if (lost.length > 0) {
    const message = `${key}: what is stored of it cannot be read; give ${lost.join(', ')} anew in the same change`;
    throw new ProxyCacheError('secret-required', message);
  }
  const changed = ownOptions({ ...options, ...(change as Partial<UpstreamOptions>) });
  const moved = waysOf(options).filter((name) => !isDeepStrictEqual(changed[name], options[name]));
  if (moved.length > 0 && hasSecret(options) && !('auth' in change)) {
    const message = `${key}: to change ${moved.join(', ')} give its auth again in the same change ("anonymous" takes it away)`;
    throw new ProxyCacheError('secret-required', message);
  }
  return changed;
}

/** A helper is asked for what `hosts` says that the upstream is, so these too say which secret goes where. */
function waysOf({ auth }: UpstreamOptions): readonly (keyof UpstreamOptions)[] {
  const isHelper = typeof auth === 'object' && 'helper' in auth;
  return isHelper ? [...waysOfSecrets, 'hosts'] : waysOfSecrets;
}

/** The names of the options that differ. */
export function changedNames(before: UpstreamOptions, after: UpstreamOptions): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<keyof UpstreamOptions>;
  return [...names].filter((name) => !isDeepStrictEqual(before[name], after[name]));
}
