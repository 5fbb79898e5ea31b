/** Room for one blob among what may be stored. */
export interface Room {
  /** How many bytes are claimed at a time of a blob whose size nobody told. */
  readonly step: number;
  /** Whether there would be room for so many bytes at once, as far as is known. */
  seemsReady(bytes: number): boolean;
  /**
   * Sees to it that so many bytes in all may be stored, which counts as taken until {@link release}.
   *
   * @throws ProxyCacheError `quota-exceeded` where they may not; the signal's reason
   */
  claim(bytes: number, signal: AbortSignal): Promise<void>;
  /**
   * Lets something go for a disk that has `least` bytes too few; nothing, where all that could go is less than that.
   *
   * @param room.bytes what is to go where there is so much
   * @returns whether that is worth another look
   * @throws the signal's reason
   */
  free(room: { bytes: number; least: number }, signal: AbortSignal): Promise<boolean>;
  /** It is stored, and counted there, or is not going to be. */
  release(): void;
}
