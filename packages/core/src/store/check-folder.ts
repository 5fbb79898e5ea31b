import { expectBoolean, expectClock, expectKnown, expectObject, invalidOption } from '../runtime/expect-option.ts';

/**
 * Checks what a store in a folder is made with.
 *
 * @param of the function that it was given to
 * @param names the options that there are
 * @throws ProxyCacheError `invalid-options`
 */
export function checkFolder(
  of: string,
  { directory, options, names }: { directory: unknown; options: object; names: readonly string[] },
): void {
  if (typeof directory !== 'string' || directory === '') throw invalidOption(of, 'a folder', directory);
  expectObject(`${of}: options`, options);
  expectKnown(`${of}: options`, options, names);
  const { durable, clock }: { durable?: unknown; clock?: unknown } = options;
  expectBoolean(`${of}: durable`, durable);
  expectClock(`${of}: clock`, clock);
}
