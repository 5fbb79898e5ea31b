import { ProxyCacheError } from '../runtime/errors.ts';

/** What the resolver has to know of an upstream. */
export interface ResolvableUpstream {
  key: string;
  /** Source hosts it answers for, in any case, default ports or not. */
  hosts: readonly string[];
  /** Whether one-component names mean `library/<name>`. */
  library: boolean;
}

/** Where content comes from: an upstream's key and the repository's name there. */
export interface Target {
  key: string;
  repository: string;
}

/** What a route names. */
export interface Resolution {
  /** At least one. Several where several upstreams declare the same host: in the order they were given. */
  candidates: readonly [Target, ...Target[]];
  /** The repository's name as the client knows it: for answers and `Link`. */
  clientName: string;
  /** Whether the name said nothing of an upstream, and the default one is meant. */
  isDefault?: true;
}

/** Finds the upstream that a request means. */
export interface Resolver {
  /** @returns `undefined` when it names no upstream: the name is unknown */
  resolve(route: { name: string; ns: string | undefined; host: string | undefined }): Resolution | undefined;
}

/**
 * Makes a resolver: by the source host `ns`, else by a `Host` header that an upstream declares, else by the key that
 * the name starts with, else the default upstream.
 *
 * A source host is an allow-list: one that no upstream declares names nothing, and so does one that contradicts a
 * declared `Host`. A `Host` that nobody declares is the proxy's own address and says nothing.
 *
 * @param set.groups several upstreams as one, by keys of their own: they come before upstreams that declare the same host
 * @param set.reservedKeys keys that name nothing any more, and never the default upstream's repositories
 * @throws ProxyCacheError `invalid-options` for a key that is given twice, or a default that is none of them
 */
export function createResolver(set: {
  upstreams: readonly ResolvableUpstream[];
  groups?: readonly ResolvableUpstream[];
  defaultUpstream?: string | undefined;
  reservedKeys: readonly string[];
}): Resolver {
  const reserved = new Set(set.reservedKeys);
  const byKey = indexByKey(set.upstreams, reserved);
  const groups = set.groups ?? [];
  for (const group of groups) byKey.set(group.key, group);
  const byHost = indexByHost([...groups, ...set.upstreams]);
  const fallback = set.defaultUpstream === undefined ? undefined : byKey.get(set.defaultUpstream);
  if (set.defaultUpstream !== undefined && fallback === undefined) {
    const keys = [...byKey.keys()].map((key) => JSON.stringify(key)).join(', ');
    const received = JSON.stringify(set.defaultUpstream);
    throw new ProxyCacheError('invalid-options', `defaultUpstream: expected one of ${keys}, received ${received}`);
  }

  function byNs(name: string, ns: string, declared: Upstreams | undefined): Resolution | undefined {
    const named = byHost.get(normalizeHost(ns))?.filter((upstream) => declared?.includes(upstream) ?? true);
    // BuildKit puts the mirror's path before the name and sends ns as well. A component that merely looks like another
    // upstream's key belongs to the name.
    const key = keyOf(name);
    const keyed = named?.find((upstream) => upstream.key === key);
    return keyed ? resolution([keyed], name, afterKey(name)) : resolution(named, name, name);
  }

  function byPath(name: string): Resolution | undefined {
    const key = keyOf(name);
    const keyed = key === undefined ? undefined : byKey.get(key);
    if (keyed) return resolution([keyed], name, afterKey(name));
    if (reserved.has(key ?? name)) return undefined;
    const found = fallback && resolution([fallback], name, name);
    return found && { ...found, isDefault: true };
  }

  return {
    resolve({ name, ns, host }) {
      const declared = host === undefined || byHost.size === 0 ? undefined : byHost.get(normalizeHost(host));
      if (ns !== undefined) return byNs(name, ns, declared);
      return declared ? resolution(declared, name, name) : byPath(name);
    },
  };
}

/** A host as hosts are compared: in lowercase and without a default port (RFC 3986 6.2.2.1, 6.2.3). */
export function normalizeHost(host: string): string {
  const lower = host.toLowerCase();
  if (lower.endsWith(':443')) return lower.slice(0, -4);
  return lower.endsWith(':80') ? lower.slice(0, -3) : lower;
}

type Upstreams = readonly ResolvableUpstream[];

function indexByKey(upstreams: Upstreams, reserved: ReadonlySet<string>): Map<string, ResolvableUpstream> {
  const byKey = new Map<string, ResolvableUpstream>();
  for (const [index, upstream] of upstreams.entries()) {
    const key = JSON.stringify(upstream.key);
    if (byKey.has(upstream.key)) {
      throw new ProxyCacheError('invalid-options', `upstreams[${index}].key: ${key} is another upstream's key already`);
    }
    if (reserved.has(upstream.key)) {
      throw new ProxyCacheError('invalid-options', `upstreams[${index}].key: ${key} is one of reservedKeys`);
    }
    byKey.set(upstream.key, upstream);
  }
  return byKey;
}

function indexByHost(upstreams: Upstreams): Map<string, ResolvableUpstream[]> {
  const byHost = new Map<string, ResolvableUpstream[]>();
  for (const upstream of upstreams) {
    for (const host of new Set(upstream.hosts.map(normalizeHost))) {
      const declaring = byHost.get(host);
      if (declaring) declaring.push(upstream);
      else byHost.set(host, [upstream]);
    }
  }
  return byHost;
}

/** The name's first component, where something follows it. */
function keyOf(name: string): string | undefined {
  const slash = name.indexOf('/');
  return slash < 0 ? undefined : name.slice(0, slash);
}

function afterKey(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

function resolution(upstreams: Upstreams | undefined, clientName: string, repository: string): Resolution | undefined {
  const [first, ...others] = upstreams ?? [];
  if (!first) return undefined;
  return {
    candidates: [targetAt(first, repository), ...others.map((upstream) => targetAt(upstream, repository))],
    clientName,
  };
}

function targetAt(upstream: ResolvableUpstream, repository: string): Target {
  const official = upstream.library && !repository.includes('/');
  return { key: upstream.key, repository: official ? `library/${repository}` : repository };
}
