import { invalidOption } from '../runtime/expect-option.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { PersistUpstreamsOptions } from './persist-upstreams-options.ts';

/** Checks that what an upstream refers to can be had. @throws ProxyCacheError `invalid-options` */
export function checkReference(
  path: string,
  upstream: Pick<UpstreamOptions, 'auth' | 'endpoints'>,
  persist: PersistUpstreamsOptions | undefined,
): void {
  if (persist?.secretOf) return;
  for (const one of [upstream, ...(upstream.endpoints ?? [])]) {
    if (typeof one === 'string' || typeof one.auth !== 'object' || !('reference' in one.auth)) continue;
    const expected = 'persistUpstreams.secretOf beside it, which says what it stands for';
    throw invalidOption(`${path}.auth.reference`, expected, one.auth.reference);
  }
}
