import { createClient } from '@keyv/redis';
import type { RedisLink } from './redis.ts';

/** Where a server listens. */
export type ServerAddress = { host: string; port: number };

/** TLS of the connections, by Node's own options. `{}` for what the system trusts. */
export interface RedisTls {
  ca?: string | Buffer | (string | Buffer)[];
  cert?: string | Buffer;
  key?: string | Buffer;
  servername?: string;
  rejectUnauthorized?: boolean;
}

/** What a connection to a server needs. */
export interface ServerSettings {
  username: string | undefined;
  password: string | undefined;
  database: number;
  tls: RedisTls | undefined;
  answerWithinMs: number;
}

/** Commands that may wait in one connection. What comes beyond that fails at once, also while the server hangs. */
const mostWaiting = 20_000;

/** Longer than any deadline: the client's own counts the time in which this process stood still. */
const clientTimeoutMs = 120_000;

/**
 * Connects to one server. The client neither connects again nor keeps commands for later: what it is to be replaced by,
 * and when, is for whoever uses the link to say.
 */
export async function openServerLink(
  { host, port }: ServerAddress,
  { username, password, database, tls }: ServerSettings,
  { signal }: { signal: AbortSignal },
): Promise<RedisLink> {
  signal.throwIfAborted();
  const client = createClient({
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database,
    disableOfflineQueue: true,
    commandsQueueMaxLength: mostWaiting,
    socket: {
      host,
      port,
      connectTimeout: clientTimeoutMs,
      reconnectStrategy: false,
      ...(tls === undefined ? {} : { ...tls, tls: true as const }),
    },
  });
  let lost: { cause: unknown } | undefined;
  let listener: ((cause: unknown) => void) | undefined;
  const lose = (cause: unknown) => {
    if (lost !== undefined) return;
    lost = { cause };
    listener?.(cause);
  };
  client.on('error', (cause) => {
    // Of an open connection it says things that do not end it, such as a message that nobody listens to.
    if (!client.isOpen) lose(cause);
  });
  client.on('end', () => lose(new Error('the connection was closed')));
  const destroy = () => {
    // It throws when it has ended already.
    if (client.isOpen) client.destroy();
  };
  await new Promise<void>((resolve, reject) => {
    const leave = () => {
      reject(signal.reason);
      destroy();
    };
    signal.addEventListener('abort', leave, { once: true });
    client
      .connect()
      .then(() => resolve(), reject)
      .finally(() => signal.removeEventListener('abort', leave));
  }).catch((error) => {
    destroy();
    throw error;
  });
  return {
    send: (args) => client.sendCommand([...args]),
    subscribe: (channel, fn) => client.subscribe(channel, fn),
    unsubscribe: (channel) => client.unsubscribe(channel),
    onLost(fn) {
      listener = fn;
      if (lost !== undefined) fn(lost.cause);
    },
    destroy,
  };
}
