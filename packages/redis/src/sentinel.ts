import { setMaxListeners } from 'node:events';
import type { RedisLink } from './redis.ts';
import { openServerLink, type ServerAddress, type ServerSettings } from './server-link.ts';

/** Sentinels, and the name by which they know a primary. */
export interface SentinelTarget {
  name: string;
  nodes: readonly ServerAddress[];
  /** Those of the sentinels themselves. */
  credentials: Pick<ServerSettings, 'username' | 'password'>;
}

/**
 * Connects to the primary that a sentinel names, and makes sure that it is one: a sentinel may not know yet of a
 * failover. After a failover the connection ends, and the next one asks anew.
 */
export async function openPrimaryLink(
  target: SentinelTarget,
  settings: ServerSettings,
  { signal }: { signal: AbortSignal },
): Promise<RedisLink> {
  const address = await askSentinels(target, settings, signal);
  const link = await openServerLink(address, settings, { signal });
  signal.addEventListener('abort', link.destroy, { once: true });
  try {
    const [role] = (await link.send(['ROLE'])) as [string];
    if (role !== 'master') throw new Error(`${address.host}:${address.port} is not the primary any more`);
    return link;
  } catch (error) {
    link.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', link.destroy);
  }
}

/** All are asked at once, and the first answer is taken: one that hangs costs nothing. */
async function askSentinels(
  target: SentinelTarget,
  settings: ServerSettings,
  signal: AbortSignal,
): Promise<ServerAddress> {
  const done = new AbortController();
  const asked = { signal: AbortSignal.any([signal, done.signal]) };
  setMaxListeners(0, asked.signal);
  const server = { ...settings, ...target.credentials, database: 0 };
  try {
    return await Promise.any(target.nodes.map((node) => askSentinel(node, target.name, { server, asked })));
  } catch (error) {
    if (signal.aborted || !(error instanceof AggregateError)) throw signal.reason ?? error;
    const reasons = error.errors.map((one, at) => `${target.nodes[at]?.host}:${target.nodes[at]?.port} ${one.message}`);
    throw new Error(`no sentinel could name the primary "${target.name}": ${reasons.join('; ')}`, { cause: error });
  } finally {
    done.abort(new Error('another sentinel answered'));
  }
}

async function askSentinel(
  node: ServerAddress,
  name: string,
  { server, asked }: { server: ServerSettings; asked: { signal: AbortSignal } },
): Promise<ServerAddress> {
  const link = await openServerLink(node, server, asked);
  asked.signal.addEventListener('abort', link.destroy, { once: true });
  try {
    const address = (await link.send(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])) as [string, string] | null;
    if (address === null) throw new Error('does not know it');
    return { host: address[0], port: Number(address[1]) };
  } finally {
    link.destroy();
  }
}
