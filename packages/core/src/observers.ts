import type { ProxyCacheEvent } from './events.ts';
import { attempt } from './runtime/attempt.ts';
import { invalidOption } from './runtime/expect-option.ts';

/** Is told each event, synchronously. */
export type Observer = (event: ProxyCacheEvent) => void;

/** Those who are told what a cache does. */
export interface Observers {
  tell(event: ProxyCacheEvent): void;
  /** @returns ends it @throws ProxyCacheError `invalid-options` */
  add(observer: Observer): () => void;
}

/** @param first told before any that are added */
export function createObservers(first: Observer | undefined): Observers {
  // Replaced, never changed: one that leaves while it is told takes nothing from the others.
  let observers: readonly Observer[] = first ? [first] : [];
  return {
    tell(event) {
      for (const observer of observers) attempt(() => observer(event));
    },
    add(observer) {
      if (typeof observer !== 'function') throw invalidOption('observe: observer', 'a function', observer);
      // Each call is a subscription of its own, also of the same function.
      const added: Observer = (event) => observer(event);
      observers = [...observers, added];
      return () => {
        observers = observers.filter((one) => one !== added);
      };
    },
  };
}
