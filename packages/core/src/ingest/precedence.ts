import type { Clock } from '../runtime/clock.ts';

/** A transfer that nobody asked for yet. It takes no place from those of clients, and lets them go first. */
export interface SpareTransfer {
  /** Called once, when somebody asks for it: from then on it is a client's like any other. */
  claimed(): void;
}

/** How a transfer stands among those of its upstream. */
export interface Standing {
  /** Whether nobody asked for it yet. */
  isSpare(): boolean;
  /** Makes it a client's; more than once does no harm. */
  claim(): void;
  /** Whether it is to leave the upstream to a client's transfer. */
  mustWait(): boolean;
  /** Resolves when it {@link Standing.mustWait} no longer; rejects with the signal's reason. */
  turn(signal: AbortSignal): Promise<void>;
  /** It brings nothing more; more than once does no harm. */
  end(): void;
}

/** Tells the transfers of clients from the others, upstream by upstream. */
export interface Precedence {
  enter(upstream: string, spare?: SpareTransfer): Standing;
  /** For how many ms no client's transfer has come in from an upstream; `Infinity` where none ever has. */
  quietFor(upstream: string): number;
}

/** What runs at one upstream. */
interface Lane {
  clients: number;
  /** When the last one of clients ended; `clock.monotonic()` ms. */
  leftAt: number;
  waiting: Set<() => void>;
}

export function createPrecedence(clock: Clock): Precedence {
  // Upstreams are few.
  const lanes = new Map<string, Lane>();

  function wake(lane: Lane): void {
    for (const go of [...lane.waiting]) go();
  }

  return {
    enter(upstream, given) {
      const lane = lanes.get(upstream) ?? { clients: 0, leftAt: Number.NEGATIVE_INFINITY, waiting: new Set() };
      lanes.set(upstream, lane);
      let spare = given;
      let ended = false;
      if (!spare) lane.clients++;
      const mustWait = () => spare !== undefined && lane.clients > 0;

      return {
        isSpare: () => spare !== undefined,
        claim() {
          const claimed = spare;
          if (!claimed || ended) return;
          spare = undefined;
          lane.clients++;
          wake(lane);
          claimed.claimed();
        },
        mustWait,
        turn(signal) {
          return new Promise((resolve, reject) => {
            const settle = (act: () => void) => {
              lane.waiting.delete(go);
              signal.removeEventListener('abort', leave);
              act();
            };
            const go = () => {
              if (!mustWait()) settle(resolve);
            };
            const leave = () => settle(() => reject(signal.reason));
            if (signal.aborted) return leave();
            signal.addEventListener('abort', leave, { once: true });
            lane.waiting.add(go);
            go();
          });
        },
        end() {
          if (ended) return;
          ended = true;
          if (spare) return;
          lane.clients--;
          lane.leftAt = clock.monotonic();
          if (lane.clients === 0) wake(lane);
        },
      };
    },
    quietFor(upstream) {
      const { clients, leftAt } = lanes.get(upstream) ?? { clients: 0, leftAt: Number.NEGATIVE_INFINITY };
      return clients > 0 ? 0 : clock.monotonic() - leftAt;
    },
  };
}
