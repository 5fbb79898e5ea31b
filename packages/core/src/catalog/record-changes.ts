/** Sees the latest record and gives the next one, or `undefined` to leave it. */
export type Change<T> = (record: T | undefined) => T | undefined;

/** A change on its way to the store. */
export interface WaitingChange<T> {
  change: Change<T>;
  /** The token of the lease that it was learnt under. */
  fence: number | undefined;
}

/** The record after all the changes. */
export function applied<T>(changes: readonly WaitingChange<T>[], record: T | undefined): T | undefined {
  return changes.reduce((current, { change }) => change(current) ?? current, record);
}

/** The highest token of the changes: what came later was learnt on top of the others. */
export function fenceOf<T>(changes: readonly WaitingChange<T>[]): number | undefined {
  const fences = changes.flatMap(({ fence }) => (fence === undefined ? [] : [fence]));
  return fences.length === 0 ? undefined : Math.max(...fences);
}

/** Takes those changes away that were made under a lease. */
export function dropFenced<T>(changes: WaitingChange<T>[]): void {
  const rest = changes.filter(({ fence }) => fence === undefined);
  changes.splice(0, changes.length, ...rest);
}
