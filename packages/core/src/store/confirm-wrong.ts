/**
 * A blob is wrong only when it was so twice, each time opened anew and read whole: a single read may be at fault itself.
 *
 * @param read opens and reads it, and tells whether it is right; `undefined` when it is not there
 * @returns what the last read came to
 */
export async function confirmWrong(read: () => Promise<boolean | undefined>): Promise<boolean | undefined> {
  const first = await read();
  return first === false ? await read() : first;
}
