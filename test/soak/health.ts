/** Whether a path on which content comes has been without trouble, and since when: the numbers are of the run's events. */
export interface Health {
  /** It is in trouble from now on. */
  ill(): void;
  /** Its trouble has ended, and nothing of it is remembered. */
  well(): void;
  /** It had no trouble at any time since. */
  since(seq: number): boolean;
  readonly isIll: boolean;
}

/** @param stamp a number that grows with each call */
export function createHealth(stamp: () => number): Health {
  let wellSince = 0;
  return {
    ill() {
      wellSince = Number.POSITIVE_INFINITY;
    },
    well() {
      if (wellSince === Number.POSITIVE_INFINITY) wellSince = stamp();
    },
    since: (seq) => wellSince <= seq,
    get isIll() {
      return wellSince === Number.POSITIVE_INFINITY;
    },
  };
}
