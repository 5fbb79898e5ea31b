import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Coordinator } from '@proxycache/core';

const program = fileURLToPath(new URL('./coordinating-worker.mjs', import.meta.url));

/** A worker of a primary, told what to do from here. */
export interface TestWorker {
  pid: number;
  /** A coordinator of its own. Calls have no signal there. */
  coordinator(name: string): Coordinator & { close(): Promise<void> };
}

/** A primary of node:cluster in a process of its own. */
export interface TestCluster {
  pid: number;
  fork(): Promise<TestWorker>;
  /** Ends it, and with it its workers. */
  close(): Promise<void>;
}

interface FromWorker {
  order?: number;
  value?: unknown;
  problem?: string;
  lost?: number;
  subscription?: number;
  message?: string;
}

/** Starts a primary, with no worker. */
export function startCluster(): TestCluster {
  const child = fork(program, { stdio: 'inherit', execArgv: [] });
  const waiting = new Map<number, (told: FromWorker) => void>();
  const lost = new Map<number, AbortController>();
  const listening = new Map<number, (message: string) => void>();
  let lastId = 0;

  child.on('message', (told: FromWorker) => {
    if (told.order !== undefined) waiting.get(told.order)?.(told);
    if (told.lost !== undefined) lost.get(told.lost)?.abort();
    if (told.subscription !== undefined) listening.get(told.subscription)?.(told.message ?? '');
  });

  async function tell(order: Record<string, unknown>): Promise<unknown> {
    const id = ++lastId;
    const told = await new Promise<FromWorker>((resolve) => {
      waiting.set(id, resolve);
      child.send({ ...order, id });
    });
    waiting.delete(id);
    if (told.problem !== undefined) throw Object.assign(new Error('the worker failed'), { code: told.problem });
    return told.value;
  }

  function coordinatorOf(worker: number, name: string): Coordinator & { close(): Promise<void> } {
    const order = (what: string, more: object) => tell({ worker, do: what, name, ...more });
    return {
      async acquire(key, { signal, ...options }) {
        signal.throwIfAborted();
        const lease = ++lastId;
        const controller = new AbortController();
        lost.set(lease, controller);
        const token = await order('acquire', { key, options, lease });
        if (typeof token !== 'number') return undefined;
        return { token, lost: controller.signal, release: async () => void (await order('release', { lease })) };
      },
      holder: async (key) => (await order('holder', { key })) as string | undefined,
      publish: async (channel, message) => void (await order('publish', { channel, message })),
      subscribe(channel, fn) {
        const subscription = ++lastId;
        listening.set(subscription, (message) => {
          try {
            fn(message);
          } catch {
            // As the worker's own coordinator does.
          }
        });
        void order('subscribe', { channel, subscription });
        return () => void order('unsubscribe', { subscription });
      },
      close: async () => void (await order('close', {})),
    };
  }

  return {
    pid: child.pid ?? -1,
    async fork() {
      const { id, pid } = (await tell({ do: 'fork' })) as { id: number; pid: number };
      return { pid, coordinator: (name) => coordinatorOf(id, name) };
    },
    async close() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
