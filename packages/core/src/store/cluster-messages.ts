/** What a worker asks of the primary. */
export type CoordinatorCall =
  | { call: 'acquire'; key: string; for: number; value: string }
  | { call: 'release'; key: string; token: number }
  | { call: 'renew' }
  | { call: 'holder'; key: string }
  | { call: 'publish'; channel: string; message: string }
  | { call: 'subscribe' | 'unsubscribe'; channel: string };

/** What the primary says to a call: a token, a value, or nothing. */
export type CoordinatorAnswer = number | string | undefined;

/** On its way to the primary. */
export type ToPrimary = { proxycache: typeof mark; id: number } & CoordinatorCall;

/** On its way to a worker: an answer, or what was published. */
export type ToWorker = { proxycache: typeof mark } & (
  | { id: number; answer?: number | string }
  | { channel: string; message: string }
);

/** Tells these messages from those that a host sends over the same channel, and from those of another version. */
const mark = 'coordinator/1';

export const toPrimary = (id: number, call: CoordinatorCall): ToPrimary => ({ proxycache: mark, id, ...call });

export const answerTo = (id: number, answer: CoordinatorAnswer): ToWorker => ({
  proxycache: mark,
  id,
  // JSON has no `undefined`.
  ...(answer !== undefined && { answer }),
});

export const published = (channel: string, message: string): ToWorker => ({ proxycache: mark, channel, message });

const isOurs = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && (message as { proxycache?: unknown }).proxycache === mark;

export const isToPrimary = (message: unknown): message is ToPrimary => isOurs(message);
export const isToWorker = (message: unknown): message is ToWorker => isOurs(message);
