import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createProxyCache, fileStorage, type ProxyCacheEvent, type ProxyCacheOptions } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { upstreamKey } from './world.ts';

/** An answer that a client was given. */
export interface GivenAnswer {
  /** `GET /v2/local/team/app/manifests/1.0` */
  request: string;
  authorization: string | undefined;
  status: number;
  challenge: string | undefined;
}

/** A cache in this process that asks who pulls. */
export interface GuardedCache {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly url: string;
  /** What clients were given since the last call. */
  takeAnswers(): readonly GivenAnswer[];
  readonly events: readonly ProxyCacheEvent[];
  /** Makes each answer whose path has this part wait for the work, until the next call. */
  hold(part: string, work: (authorization: string | undefined) => Promise<void>): void;
  close(): Promise<void>;
}

/** Starts one before a registry. @param accessOf the access to the cache of this URL */
export async function startGuardedCache(
  upstream: UpstreamPeer,
  accessOf: (url: string) => NonNullable<ProxyCacheOptions['access']>,
): Promise<GuardedCache> {
  const folder = makeTemporaryFolder('guarded');
  const answers: GivenAnswer[] = [];
  const events: ProxyCacheEvent[] = [];
  let held: Parameters<GuardedCache['hold']> | undefined;
  let handle: ReturnType<typeof createNodeHandler> | undefined;
  const server = createServer((req, res) => {
    const { authorization } = req.headers;
    const writeHead = res.writeHead.bind(res) as (status: number, ...rest: unknown[]) => typeof res;
    res.writeHead = (status: number, ...rest: unknown[]) => {
      answers.push({ request: `${req.method} ${req.url}`, authorization, status, challenge: challengeOf(rest.at(-1)) });
      return writeHead(status, ...rest);
    };
    const work = held !== undefined && req.url?.includes(held[0]) ? held[1](authorization) : Promise.resolve();
    work.then(() => handle?.(req, res)).catch((error) => res.destroy(error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = `http://${host}`;
  const cache = createProxyCache({
    upstreams: [{ key: upstreamKey, url: upstream.url, hosts: ['docker.io'], library: true }],
    defaultUpstream: upstreamKey,
    storage: fileStorage(folder),
    observer: (event) => events.push(event),
    access: accessOf(url),
  });
  handle = createNodeHandler(cache);
  return {
    host,
    url,
    events,
    takeAnswers: () => answers.splice(0),
    hold: (...args) => {
      held = args;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await cache.close({ graceMs: 0 });
      removeFolder(folder);
    },
  };
}

const challengeOf = (headers: unknown): string | undefined =>
  (headers as Record<string, readonly string[] | string>)['www-authenticate']?.toString();
