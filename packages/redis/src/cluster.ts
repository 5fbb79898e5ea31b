import { type Clock, isProxyCacheError, ProxyCacheError } from '@proxycache/core';
import { within } from './deadline.ts';
import { hashSlot } from './hash-slot.ts';
import type { Redis } from './redis.ts';
import { replyCode } from './redis-failure.ts';
import type { ServerAddress } from './server-link.ts';

/** What a cluster is made with. */
export interface ClusterOptions {
  /** Servers that name the others. */
  nodes: readonly ServerAddress[];
  connect: (address: ServerAddress) => Redis;
  clock: Clock;
  answerWithinMs: number;
}

/** A range of slots, and the server that has them. */
type SlotRange = { from: number; to: number; address: string };

/** How often one command is sent on to where a server says its slot is. */
const mostRedirects = 4;

/** How often servers are asked for the slots because commands fail. */
const refreshEveryMs = 250;

const nameOf = ({ host, port }: ServerAddress) => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * A cluster: a connection to each primary, so that one that is away or hangs costs only what is stored there, and that
 * for no longer than until a replica has taken over.
 */
export function createCluster({ nodes, connect, clock, answerWithinMs }: ClusterOptions): Redis {
  const servers = new Map<string, Redis>();
  const seeds = new Set(nodes.map(nameOf));
  for (const node of nodes) serverAt(nameOf(node), node);
  let closed = false;
  let slots: readonly SlotRange[] = [];
  let refreshing: Promise<void> | undefined;
  let refreshedAt = Number.NEGATIVE_INFINITY;

  function serverAt(name: string, address: ServerAddress): Redis {
    const known = servers.get(name);
    if (known !== undefined) return known;
    const server = connect(address);
    servers.set(name, server);
    return server;
  }

  function refresh(): Promise<void> {
    refreshing ??= findSlots().finally(() => {
      refreshing = undefined;
      refreshedAt = clock.monotonic();
    });
    return refreshing;
  }

  async function findSlots(): Promise<void> {
    const asked = [...servers].map(async ([name, server]) => {
      const reply = await server.send('', ['CLUSTER', 'SLOTS'], {});
      const found = parseSlots(reply, name);
      if (found.length === 0) throw new ProxyCacheError('storage-failed', `${name} knows no slots of the cluster`);
      return found;
    });
    const found = await Promise.any(asked).catch((error) => {
      throw error instanceof AggregateError ? error.errors[0] : error;
    });
    if (closed) return;
    slots = found.map(({ from, to, address }) => ({ from, to, address: nameOf(address) }));
    for (const { address } of found) serverAt(nameOf(address), address);
    const used = new Set(slots.map(({ address }) => address));
    for (const [name, server] of servers) {
      if (used.has(name) || seeds.has(name)) continue;
      servers.delete(name);
      void server.close();
    }
  }

  async function serverOf(slot: number): Promise<Redis> {
    const find = () => slots.find(({ from, to }) => from <= slot && slot <= to);
    if (find() === undefined) await refresh();
    const server = servers.get(find()?.address ?? '');
    if (server === undefined) throw new ProxyCacheError('storage-failed', `no server of the cluster has slot ${slot}`);
    return server;
  }

  async function sendOn(key: string, args: readonly string[]): Promise<unknown> {
    const slot = hashSlot(key);
    let server = await serverOf(slot);
    let asking = false;
    for (let redirects = 0; ; redirects++) {
      try {
        if (!asking) return await server.send(key, args, {});
        // For the one command that comes next on this connection.
        const [, reply] = await Promise.all([server.send(key, ['ASKING'], {}), server.send(key, args, {})]);
        return reply;
      } catch (error) {
        if (!isProxyCacheError(error) || error.code !== 'storage-failed') throw error;
        const code = replyCode(error.cause);
        if (redirects < mostRedirects && code === 'MOVED') {
          asking = false;
          await refresh();
          server = await serverOf(slot);
          continue;
        }
        if (redirects < mostRedirects && code === 'ASK') {
          asking = true;
          const address = parseAddress((error.cause as Error).message.split(' ')[2] ?? '');
          server = serverAt(nameOf(address), address);
          continue;
        }
        // Its slots may be another's by now. The answer is for the calls that follow.
        if (clock.monotonic() - refreshedAt >= refreshEveryMs) refresh().catch(() => undefined);
        throw error;
      }
    }
  }

  refresh().catch(() => undefined);
  return {
    isCluster: true,
    async send(key, args, { signal }) {
      signal?.throwIfAborted();
      if (closed) throw new ProxyCacheError('closed', 'the connections to the Redis cluster were closed');
      const message = `the Redis cluster did not answer ${args[0]} within ${answerWithinMs} ms`;
      const late = () => new ProxyCacheError('storage-failed', message);
      return await within({ clock, ms: answerWithinMs, signal, late }, () => sendOn(key, args));
    },
    async close() {
      closed = true;
      await Promise.all([...servers.values()].map((server) => server.close()));
    },
  };
}

/** The answer to `CLUSTER SLOTS`; a server that does not know its own address is where it was asked. */
function parseSlots(reply: unknown, asked: string): { from: number; to: number; address: ServerAddress }[] {
  const ranges = reply as [number, number, [string | null, number]][];
  return ranges.map(([from, to, [host, port]]) => {
    const own = host === null || host === '' || host === '?';
    return { from, to, address: { host: own ? parseAddress(asked).host : host, port } };
  });
}

function parseAddress(text: string): ServerAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(colon + 1)) };
}
