import { isPathComponent } from '../oci/name.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { normalizeHost, type ResolvableUpstream } from './resolver.ts';

/**
 * Checks an upstream's key: it starts with a lowercase letter and is a legal path component of a repository name, since
 * clients write it as one.
 *
 * @param path what the key is called in the message, as in `upstreams[0].key`
 * @throws ProxyCacheError `invalid-options`, saying which part of the rule is broken
 */
export function checkUpstreamKey(key: string, path = 'key'): void {
  const broken = brokenRule(key);
  if (broken === undefined) return;
  const lower = key.toLowerCase();
  const hint = lower !== key && brokenRule(lower) === undefined ? `; did you mean ${JSON.stringify(lower)}?` : '';
  throw new ProxyCacheError('invalid-options', `${path}: ${broken}, received ${JSON.stringify(key)}${hint}`);
}

function brokenRule(key: string): string | undefined {
  if (!/^[a-z0-9._-]*$/.test(key)) return 'expected only lowercase letters, digits, ".", "_" and "-"';
  if (!/^[a-z]/.test(key)) return 'expected a lowercase letter first';
  if (isPathComponent(key)) return undefined;
  return 'expected letters or digits around each separator, which is ".", "_", "__" or a run of "-" (a legal path component)';
}

/**
 * Says which keys hide accounts of Docker Hub: a path that starts with the key means the upstream, so that images of an
 * account of that name cannot be pulled, by paths without a key (under a default upstream that is Docker Hub) or with
 * `?ns=docker.io` (for a key of Docker Hub itself).
 */
export function shadowWarnings(set: {
  upstreams: readonly ResolvableUpstream[];
  defaultUpstream?: string | undefined;
  reservedKeys: readonly string[];
}): readonly string[] {
  const hub = set.upstreams.filter((upstream) => upstream.hosts.some((host) => normalizeHost(host) === 'docker.io'));
  const keys = hub.some((upstream) => upstream.key === set.defaultUpstream)
    ? [...set.upstreams.map((upstream) => upstream.key), ...set.reservedKeys]
    : hub.map((upstream) => upstream.key);
  return keys
    .filter(couldBeAccount)
    .map(
      (key) =>
        `key ${JSON.stringify(key)} hides the Docker Hub account of that name: ${key}/… means the upstream; ` +
        'no account has a "-", "." or "_" in its name, so a key with one hides nothing',
    );
}

// Docker Hub: an account's name is 4 to 30 lowercase letters and digits.
function couldBeAccount(key: string): boolean {
  return /^[a-z0-9]{4,30}$/.test(key);
}
