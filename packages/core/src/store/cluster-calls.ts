import { randomBytes } from 'node:crypto';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { type CoordinatorAnswer, type CoordinatorCall, isToWorker, toPrimary } from './cluster-messages.ts';
import { createStoreDeadline, type StoreCall } from './store-deadline.ts';

/** A worker's channel to its primary: of `process`, what is used here. */
export interface PrimaryPort {
  readonly connected: boolean;
  send(message: unknown, done: (error: Error | null) => void): unknown;
  on(event: 'message', fn: (message: unknown) => void): unknown;
  on(event: 'disconnect', fn: () => void): unknown;
  off(event: 'message', fn: (message: unknown) => void): unknown;
  off(event: 'disconnect', fn: () => void): unknown;
}

type AskOptions = Pick<StoreCall<CoordinatorAnswer>, 'late' | 'rests'>;

/** What is asked of the primary. */
export interface ClusterCalls {
  /** @throws ProxyCacheError `storage-failed` when the primary does not answer in time, or is gone */
  ask(call: CoordinatorCall, options?: AskOptions): Promise<CoordinatorAnswer>;
  /** Says what needs no answer, or has nobody who could do something about its failure. Resolves by the deadline. */
  tell(call: CoordinatorCall): Promise<void>;
  /** Leaves the primary, which ends all that was had of it. Resolves by the deadline. */
  end(): Promise<void>;
}

/** What calls are made with. */
export interface ClusterCallsOptions {
  clock: Clock;
  answerWithinMs: number;
  onMessage(channel: string, message: string): void;
  /** The channel is closed. */
  onEnd(error: unknown): void;
}

type Waiting = { resolve: (answer: CoordinatorAnswer) => void; reject: (error: unknown) => void };

export function createClusterCalls(port: PrimaryPort, options: ClusterCallsOptions): ClusterCalls {
  const { clock, answerWithinMs, onMessage, onEnd } = options;
  const deadline = createStoreDeadline(clock, answerWithinMs);
  const waiting = new Map<number, Waiting>();
  // Several coordinators of a worker share its channel.
  const own = randomBytes(9).toString('base64url');
  let lastId = 0;
  let ended: ProxyCacheError | undefined;

  const gone = () => new ProxyCacheError('storage-failed', 'the channel to the primary of this worker is closed');

  async function send(call: CoordinatorCall): Promise<CoordinatorAnswer> {
    if (!port.connected) throw gone();
    lastId++;
    const id = lastId;
    return await new Promise<CoordinatorAnswer>((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      port.send(toPrimary(own, id, call), (error) => {
        if (!error || !waiting.delete(id)) return;
        reject(new ProxyCacheError('storage-failed', 'the primary of this worker cannot be told', { cause: error }));
      });
    });
  }

  const ask = async (call: CoordinatorCall, how: AskOptions = {}): Promise<CoordinatorAnswer> =>
    await deadline.run({ ...how, operation: `${call.call} of the cluster's primary` }, async () => {
      if (ended && call.call !== 'leave') throw ended;
      return await send(call);
    });

  // Also while it is left alone: what is told now is read when it goes on.
  const tell = async (call: CoordinatorCall) => void (await ask(call, { rests: false }).catch(() => undefined));

  function receive(message: unknown): void {
    if (!isToWorker(message) || message.to !== own) return;
    if ('channel' in message) {
      onMessage(message.channel, message.message);
      return;
    }
    waiting.get(message.id)?.resolve(message.answer);
    waiting.delete(message.id);
  }

  function close(error: unknown): void {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  const onDisconnect = () => {
    close(gone());
    onEnd(gone());
  };
  port.on('message', receive);
  port.on('disconnect', onDisconnect);

  return {
    ask,
    tell,
    async end() {
      if (ended) return;
      // First: what followed `leave` would join again, and a lease that came after it is none.
      ended = new ProxyCacheError('closed', 'this coordinator was closed');
      close(ended);
      await tell({ call: 'leave' });
      port.off('message', receive);
      port.off('disconnect', onDisconnect);
    },
  };
}
