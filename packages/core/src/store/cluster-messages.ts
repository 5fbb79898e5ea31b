/** What a coordinator of a worker asks of the primary. `leave` is its last word, and ends all it has. */
export type CoordinatorCall =
  | { call: 'acquire'; key: string; for: number; value: string }
  | { call: 'release'; key: string; token: number }
  | { call: 'renew' | 'leave' }
  | { call: 'holder'; key: string }
  | { call: 'publish'; channel: string; message: string }
  | { call: 'subscribe' | 'unsubscribe'; channel: string };

/** What the primary says to a call: a token, a value, or nothing. */
export type CoordinatorAnswer = number | string | undefined;

/** On its way to the primary: a call, and which coordinator of the worker makes it. */
export type ToPrimary = { proxycache: typeof mark; from: string; id: number } & CoordinatorCall;

/** On its way to a coordinator of a worker: an answer, or what was published. All of a worker read the same channel. */
export type ToWorker = { proxycache: typeof mark; to: string } & (
  | { id: number; answer?: number | string }
  | { channel: string; message: string }
);

/** Tells these messages from those that a host sends over the same channel, and from those of another version. */
const mark = 'coordinator/2';

export const toPrimary = (from: string, id: number, call: CoordinatorCall): ToPrimary => ({
  proxycache: mark,
  from,
  id,
  ...call,
});

export const answerTo = ({ from, id }: Pick<ToPrimary, 'from' | 'id'>, answer: CoordinatorAnswer): ToWorker => ({
  proxycache: mark,
  to: from,
  id,
  // JSON has no `undefined`.
  ...(answer !== undefined && { answer }),
});

export const published = (to: string, channel: string, message: string): ToWorker => ({
  proxycache: mark,
  to,
  channel,
  message,
});

const isOurs = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && (message as { proxycache?: unknown }).proxycache === mark;

export const isToPrimary = (message: unknown): message is ToPrimary => isOurs(message);
export const isToWorker = (message: unknown): message is ToWorker => isOurs(message);
