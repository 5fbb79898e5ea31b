import { attempt, type Clock, type Duration, ProxyCacheError, parseDuration, systemClock } from '@proxycache/core';
import type { HostClient } from './host-client.ts';
import type { RedisEvent } from './redis.ts';
import type { SentinelTarget } from './sentinel.ts';
import type { RedisTls, ServerAddress, ServerSettings } from './server-link.ts';

/** Which Redis, and how it is used. Exactly one of `url`, `sentinel`, `cluster` and `client` says which. */
export interface RedisOptions {
  /** One server: `redis://[username][:password]@host[:port][/database]`, `rediss:` for TLS. */
  url?: string;
  /** The primary that sentinels know by `name`; `nodes` are sentinels, as `host:port`. */
  sentinel?: { name: string; nodes: readonly string[]; username?: string; password?: string };
  /** Some servers of a cluster, as `host:port`; they name the others. */
  cluster?: { nodes: readonly string[] };
  /** A client of the host's own, of `createClient`, `createCluster` or `createSentinel`; connecting and ending it is the host's. */
  client?: HostClient;
  /** Of the servers by `sentinel` and `cluster`. Default: none. */
  username?: string;
  password?: string;
  /** With `sentinel`. Default: 0. */
  database?: number;
  /** Default: none, but with `rediss:`. */
  tls?: RedisTls;
  /** First part of every key. Default: `proxycache`. */
  prefix?: string;
  /**
   * How long a server may take to answer, and to accept a connection. A cache waits for records no longer than 3 s, and for leases no
   * longer than 2 s, whatever this says. Default: 1 s.
   */
  answerWithin?: Duration;
  /** Is told when Redis goes away and comes back. What it throws is dropped. */
  observer?: (event: RedisEvent) => void;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** Which Redis, checked. */
export type RedisTarget =
  | { kind: 'server'; address: ServerAddress }
  | ({ kind: 'sentinel' } & SentinelTarget)
  | { kind: 'cluster'; nodes: readonly [ServerAddress, ...ServerAddress[]] }
  | { kind: 'client'; client: HostClient };

/** The options, checked, with defaults. */
export interface RedisSettings {
  target: RedisTarget;
  server: ServerSettings;
  prefix: string;
  clock: Clock;
  tell: (event: RedisEvent) => void;
}

const defaultPort = 6379;
const sentinelPort = 26379;
const longestDeadlineMs = 60_000;

/**
 * Looks at options as `redisMetadata` and `redisCoordinator` do, and connects to nothing.
 *
 * @throws ProxyCacheError `invalid-options`, without what may be a secret
 */
export function checkRedisOptions(options: RedisOptions): void {
  readRedisOptions(options);
}

/** @throws ProxyCacheError as {@link checkRedisOptions} */
export function readRedisOptions(options: RedisOptions): RedisSettings {
  const kinds = (['url', 'sentinel', 'cluster', 'client'] as const).filter((kind) => options?.[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) {
    throw wrong(`expected one of "url", "sentinel", "cluster" and "client", received ${kinds.join(' and ') || 'none'}`);
  }
  const { username, password, tls, database = 0, prefix = 'proxycache', clock = systemClock, observer } = options;
  // Braces would make a hash tag of their own, and patterns of users' permissions end in "*".
  if (!/^[A-Za-z0-9_.:-]{1,100}$/.test(prefix)) {
    throw wrong(`prefix: expected up to 100 of [A-Za-z0-9_.:-], received ${JSON.stringify(prefix)}`);
  }
  const server = { username, password, database: databaseOf(database), tls, answerWithinMs: deadlineOf(options) };
  const { target, ...ofUrl } = targetOf(options);
  return {
    target,
    server: { ...server, ...ofUrl },
    prefix,
    clock,
    tell: (event) => attempt(() => observer?.(event)),
  };
}

function targetOf({
  url,
  sentinel,
  cluster,
  client,
  tls,
}: RedisOptions): { target: RedisTarget } & Partial<ServerSettings> {
  if (url !== undefined) return parseRedisUrl(url, tls);
  if (sentinel !== undefined) {
    const { name, nodes, username, password } = sentinel;
    if (typeof name !== 'string' || name === '') throw wrong('sentinel.name: expected the name of a primary');
    const addresses = parseNodes('sentinel.nodes', nodes, sentinelPort);
    return { target: { kind: 'sentinel', name, nodes: addresses, credentials: { username, password } } };
  }
  if (cluster !== undefined) {
    return { target: { kind: 'cluster', nodes: parseNodes('cluster.nodes', cluster.nodes, defaultPort) }, database: 0 };
  }
  if (client === undefined || typeof client.sendCommand !== 'function') {
    throw wrong('client: expected one of createClient, createCluster or createSentinel');
  }
  return { target: { kind: 'client', client } };
}

function parseRedisUrl(text: string, tls: RedisTls | undefined): { target: RedisTarget } & Partial<ServerSettings> {
  const expected = 'url: expected redis://[username][:password]@host[:port][/database]';
  // Neither the text nor the error that names it goes on: it may hold a password.
  if (!URL.canParse(text))
    throw wrong(`${expected}, received what is no URL; encode special characters of the password`);
  const { protocol, hostname, port, pathname, username, password } = new URL(text);
  if (protocol !== 'redis:' && protocol !== 'rediss:')
    throw wrong(`${expected}, or rediss: for TLS, received ${protocol}//…`);
  if (hostname === '') throw wrong(`${expected}, received no host`);
  const [, database] = /^\/?(\d*)$/.exec(pathname) ?? [];
  if (database === undefined) throw wrong(`${expected}, received a database that is no number`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    target: { kind: 'server', address: { host, port: Number(port || defaultPort) } },
    ...(database === '' ? {} : { database: databaseOf(Number(database)) }),
    ...(protocol === 'rediss:' ? { tls: tls ?? {} } : {}),
    ...(username === '' ? {} : { username: decoded(username) }),
    ...(password === '' ? {} : { password: decoded(password) }),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong('url: username and password must be percent-encoded');
  }
}

/** `host:port`, of which the port may be missing. */
function parseNodes(
  path: string,
  nodes: readonly string[],
  defaultTo: number,
): readonly [ServerAddress, ...ServerAddress[]] {
  const parse = (node: unknown, at: number): ServerAddress => {
    const text = typeof node === 'string' && !/[/@\s]/.test(node) ? `redis://${node}` : '';
    if (!URL.canParse(text)) throw wrong(`${path}[${at}]: expected "host:port", without a scheme and credentials`);
    const { hostname, port } = new URL(text);
    return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || defaultTo) };
  };
  if (!Array.isArray(nodes) || nodes.length === 0) throw wrong(`${path}: expected some of "host:port"`);
  const [first, ...rest] = nodes as readonly unknown[];
  return [parse(first, 0), ...rest.map((node, at) => parse(node, at + 1))];
}

function databaseOf(database: number): number {
  if (Number.isInteger(database) && database >= 0) return database;
  throw wrong(`database: expected a number from 0 on, received ${JSON.stringify(database)}`);
}

function deadlineOf({ answerWithin = '1s' }: RedisOptions): number {
  const ms = parseDuration(answerWithin);
  if (ms >= 1 && ms <= longestDeadlineMs) return ms;
  throw wrong(`answerWithin: expected 1 ms to 60 s, received ${JSON.stringify(answerWithin)}`);
}

const wrong = (message: string) => new ProxyCacheError('invalid-options', `redis: ${message}`);
