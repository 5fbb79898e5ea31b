/** Memory that several look at; it is free again when the last of them has let go. */
export interface SharedMemory {
  hold(): void;
  letGo(): void;
}

/** Bytes in memory that others look at, too: not to be written to. Whoever looks at them for longer holds the memory. */
export interface SharedBytes {
  readonly bytes: Uint8Array;
  readonly memory: SharedMemory;
}

/**
 * Memory that is held by its maker so far.
 *
 * @param free called when the last has let go
 */
export function shareMemory(free: () => void): SharedMemory {
  let holders = 1;
  return {
    hold() {
      holders++;
    },
    letGo() {
      holders--;
      if (holders === 0) free();
    },
  };
}
