/** What a repository says of a blob without giving it. */
export interface SaidOfBlob {
  /** In bytes; missing where it does not say. */
  size?: number;
  /** Whether it names its digest. */
  named: boolean;
}

/**
 * Whether that proves that it holds a blob, of which `size` bytes are here. A login page answers 200 to any digest: an answer that does
 * not name it must at least have its size.
 */
export function isProofOf(said: SaidOfBlob, size: number | undefined): boolean {
  return said.named || (said.size !== undefined && said.size === size);
}
