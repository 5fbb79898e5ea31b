import { type Clock, isProxyCacheError, ProxyCacheError } from '@proxycache/core';
import { createClusterServers, parseAddress, type ServerCall } from './cluster-servers.ts';
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

/** How long a command waits before it is sent again, of whose keys some have moved to another server and others not yet. */
const tryAgainMs = 50;

/**
 * A cluster: a connection to each primary, so that one that is away or hangs costs only what is stored there, and that
 * for no longer than until a replica has taken over.
 */
export function createCluster({ nodes, connect, clock, answerWithinMs }: ClusterOptions): Redis {
  const servers = createClusterServers(connect);
  const seeds = nodes.map(servers.connect);
  let closed = false;
  let slots: readonly SlotRange[] = [];
  let refreshing: Promise<void> | undefined;
  let refreshedAt = Number.NEGATIVE_INFINITY;

  function refresh(): Promise<void> {
    refreshing ??= findSlots().finally(() => {
      refreshing = undefined;
      refreshedAt = clock.monotonic();
    });
    return refreshing;
  }

  /** For the calls that follow. */
  function refreshSoon(): void {
    if (clock.monotonic() - refreshedAt >= refreshEveryMs) refresh().catch(() => undefined);
  }

  async function findSlots(): Promise<void> {
    const asked = servers.names().map(async (name) => {
      const reply = await servers.send(name, [{ key: '', args: ['CLUSTER', 'SLOTS'] }]);
      const found = parseSlots(reply, name);
      if (found.length === 0) throw new ProxyCacheError('storage-failed', `${name} knows no slots of the cluster`);
      return found;
    });
    const found = await Promise.any(asked).catch((error) => {
      throw error instanceof AggregateError ? error.errors[0] : error;
    });
    if (closed) return;
    slots = found.map(({ from, to, address }) => ({ from, to, address: servers.connect(address) }));
    servers.keep(new Set([...seeds, ...slots.map(({ address }) => address)]));
  }

  async function serverOf(slot: number): Promise<string> {
    const find = () => slots.find(({ from, to }) => from <= slot && slot <= to);
    if (find() === undefined) await refresh();
    const server = find();
    if (server === undefined) throw new ProxyCacheError('storage-failed', `no server of the cluster has slot ${slot}`);
    return server.address;
  }

  /** Where a server says that a slot is; for all that follow, where it has moved. */
  function sentOnTo(error: ProxyCacheError, slot: number, asked: string): string {
    const [kind, , told = ''] = (error.cause as Error).message.split(' ');
    const { host, port } = parseAddress(told);
    // Without a host it is that of the server that was asked.
    const address = servers.connect({ host: host || parseAddress(asked).host, port });
    if (kind === 'MOVED') {
      slots = [{ from: slot, to: slot, address }, ...slots.filter(({ from, to }) => from !== slot || to !== slot)];
      refreshSoon();
    }
    return address;
  }

  async function sendOn(call: ServerCall, isOver: () => boolean): Promise<unknown> {
    const slot = hashSlot(call.key);
    let server = await serverOf(slot);
    let asking = false;
    for (let redirects = 0; ; ) {
      // Nobody waits for it: it may take a lease that nobody would hold.
      if (isOver()) throw new ProxyCacheError('storage-failed', 'nobody waits for it any more');
      try {
        // ASKING is for the one command that comes next on this connection.
        return await servers.send(server, asking ? [{ key: call.key, args: ['ASKING'] }, call] : [call]);
      } catch (error) {
        if (!isProxyCacheError(error) || error.code !== 'storage-failed') throw error;
        const code = replyCode(error.cause);
        if (redirects < mostRedirects && (code === 'MOVED' || code === 'ASK')) {
          redirects++;
          asking = code === 'ASK';
          server = sentOnTo(error, slot, server);
          continue;
        }
        if (code === 'TRYAGAIN' && !isOver()) {
          await new Promise<void>((resolve) => clock.after(tryAgainMs, resolve));
          if (isOver()) throw error;
          asking = false;
          server = await serverOf(slot);
          continue;
        }
        // Its slots may be another's by now.
        refreshSoon();
        throw error;
      }
    }
  }

  refresh().catch(() => undefined);
  return {
    isCluster: true,
    async send(key, args, { signal, sent }) {
      signal?.throwIfAborted();
      if (closed) throw new ProxyCacheError('closed', 'the connections to the Redis cluster were closed');
      const message = `the Redis cluster did not answer ${args[0]} within ${answerWithinMs} ms`;
      const late = () => new ProxyCacheError('storage-failed', message);
      let over = false;
      const call: ServerCall = { key, args, ...(sent && { sent }) };
      return await within({ clock, ms: answerWithinMs, signal, late }, () => sendOn(call, () => over)).finally(() => {
        over = true;
      });
    },
    async close() {
      closed = true;
      await servers.close();
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
