import type { Handle } from './message.ts';

/**
 * The same, which begins with a request when it is known what names mean.
 *
 * @param wait resolves then, or when it has taken too long; `undefined`: it is known. Never rejects
 */
export function untilKnown(handle: Handle, wait: () => Promise<void> | undefined): Handle {
  async function waiting(request: Parameters<Handle>[0]): ReturnType<Handle> {
    await wait();
    return await handle(request);
  }

  const known: Handle = (request) => (wait() !== undefined ? waiting(request) : handle(request));
  const { fromMemory } = handle;
  return Object.assign(known, {
    ...(fromMemory && {
      fromMemory: (request: Parameters<Handle>[0]) => (wait() !== undefined ? undefined : fromMemory(request)),
    }),
  });
}
