import type { Bytes } from '@proxycache/core';
import { type Gate, gate } from './gate.ts';

/**
 * What befalls a call:
 *
 * - `fail`: it throws this (an `Error` with the text, or the value itself) without doing anything
 * - `hang`: it waits for its signal, or for `heal()`; `deaf` also ignores the signal, as a dead network disk does
 * - `gate`: it waits for the gate or its signal, then does its work
 */
export type Trouble = { fail: string | Error } | { hang: true | 'deaf' } | { gate: Gate };

/** The troubles of named operations, and how often each was called. */
export interface Troubles<Operation extends string> {
  on(operation: Operation, trouble: Trouble & { times?: number }): void;
  heal(operation?: Operation): void;
  calls(operation: Operation): number;
  /** Counts a call and lets its trouble befall it. */
  enter(operation: Operation, signal?: AbortSignal): Promise<void>;
}

/** Makes a set of operations with no trouble. */
export function troubles<Operation extends string>(): Troubles<Operation> {
  const active = new Map<Operation, { trouble: Trouble; left: number; healed: Gate }>();
  const counts = new Map<Operation, number>();

  function heal(operation?: Operation): void {
    for (const name of operation === undefined ? [...active.keys()] : [operation]) {
      active.get(name)?.healed.open();
      active.delete(name);
    }
  }

  return {
    on(operation, { times, ...trouble }) {
      heal(operation);
      active.set(operation, { trouble, left: times ?? Number.POSITIVE_INFINITY, healed: gate() });
    },
    heal,
    calls: (operation) => counts.get(operation) ?? 0,
    async enter(operation, signal) {
      counts.set(operation, (counts.get(operation) ?? 0) + 1);
      const entry = active.get(operation);
      if (!entry || entry.left < 1) return;
      entry.left--;
      const { trouble, healed } = entry;
      if ('fail' in trouble) throw trouble.fail instanceof Error ? trouble.fail : new Error(trouble.fail);
      if ('gate' in trouble) await trouble.gate.pass(signal);
      else await healed.pass(trouble.hang === 'deaf' ? undefined : signal);
    },
  };
}

/** The bytes, with `before` awaited ahead of each chunk. Closing it closes the source, also before the first chunk. */
export function flakyBytes(bytes: Bytes, before: () => Promise<void>): Bytes {
  return {
    [Symbol.asyncIterator]() {
      const source = bytes[Symbol.asyncIterator]();
      return {
        async next() {
          await before();
          return await source.next();
        },
        async return() {
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
