/** Sees the latest record and gives the next one, or `undefined` to leave it. */
export type Change<T> = (record: T | undefined) => T | undefined;

/** The lease that a change was learnt under. */
export interface Fence {
  token: number;
  /** Whether it is held still, as far as its holder knows. */
  isHeld(): boolean;
}

/** A change on its way to the store. */
export interface WaitingChange<T> {
  change: Change<T>;
  fence: Fence | undefined;
  /** The store's text that it was made on. */
  base: string | undefined;
}

/** `saved`: the store's text that the record is based on. */
export type Held<T> = { record: T; saved: string | undefined };

/**
 * Changes that the store has not taken yet, and the saves that bring them there: one that runs, one that waits, and which of
 * them readers wait for.
 */
export interface Pending<T> {
  changes: WaitingChange<T>[];
  running: Promise<void>;
  next: Promise<void> | undefined;
  news: Promise<void> | undefined;
}

/** The record after all the changes. */
export function applied<T>(changes: readonly WaitingChange<T>[], record: T | undefined): T | undefined {
  return changes.reduce((current, { change }) => change(current) ?? current, record);
}

/** The highest token of the changes: what came later was learnt on top of the others. */
export function fenceOf<T>(changes: readonly WaitingChange<T>[]): number | undefined {
  const fences = changes.flatMap(({ fence }) => (fence === undefined ? [] : [fence.token]));
  return fences.length === 0 ? undefined : Math.max(...fences);
}

/**
 * Takes those changes away that were made under a lease, whose token a store refused. Not those that were made on what
 * stands there, under a lease that is held: nobody has written since, so tokens have gone back, as another coordinator
 * gives them or its clock was wrong. Those go without a token; the record could never be changed again otherwise.
 *
 * @param text what stands there
 * @returns whether any was taken away
 */
export function dropRefused<T>(changes: WaitingChange<T>[], text: string | undefined): boolean {
  const goesOn = ({ fence, base }: WaitingChange<T>) => fence === undefined || (fence.isHeld() && base === text);
  const rest = changes.filter(goesOn).map((change) => ({ ...change, fence: undefined }));
  return changes.splice(0, changes.length, ...rest).length > rest.length;
}
