import type { ProxyCache } from './cache-interface.ts';
import { refuseWithoutCaller } from './callers-of.ts';
import type { Scrubs } from './catalog/scrub.ts';
import { parseReference } from './oci/reference.ts';
import type { HasImage } from './pull/has-image.ts';
import type { Pulls } from './pull/noted-pulls.ts';
import type { Target } from './pull/target.ts';
import type { Warms } from './pull/warm.ts';
import type { Sweeps } from './retention/sweeps.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { expectBoolean, expectFunction, expectWhole } from './runtime/expect-option.ts';

/** What {@link createFromCode} works with. */
interface FromCodeParts {
  locate(route: { name: string; ns: undefined; host: undefined }): { target: Target } | undefined;
  isClosed(): boolean;
  hasImage: HasImage;
  pulls: Pulls;
  scrubs: Pick<Scrubs, 'run'>;
  sweeps: Pick<Sweeps, 'run'>;
  warms: Pick<Warms, 'run'>;
}

/** The part of a cache that its host calls rather than its clients. */
export function createFromCode(parts: FromCodeParts): Pick<ProxyCache, 'has' | 'resolve' | 'scrub' | 'sweep' | 'warm'> {
  const { pulls, scrubs, sweeps, warms } = parts;

  function locate(text: string): { target: Target; reference: ReturnType<typeof parseReference>['reference'] } {
    if (parts.isClosed()) throw new ProxyCacheError('closed', 'the cache is closed');
    const { name, reference } = parseReference(text);
    const located = parts.locate({ name, ns: undefined, host: undefined });
    if (!located) throw new ProxyCacheError('name-unknown', `${name} names no upstream; expected <key>/<name>`);
    refuseWithoutCaller(located.target);
    return { target: located.target, reference };
  }

  return {
    async has(text) {
      const { target, reference } = locate(text);
      return parts.hasImage({ target, reference, signal: new AbortController().signal });
    },
    async resolve(text) {
      const { target, reference } = locate(text);
      const pull = { target, want: 'descriptor', signal: new AbortController().signal } as const;
      const answer =
        reference.kind === 'digest'
          ? await pulls.pullDigest({ ...pull, digest: reference.digest })
          : await pulls.pullTag.pull({ ...pull, tag: reference.tag });
      return answer.descriptor;
    },
    async scrub(how = {}) {
      expectFunction('scrub: onProgress', how.onProgress);
      expectWhole('scrub: bytesPerSecond', how.bytesPerSecond, 1);
      return await scrubs.run(how);
    },
    async sweep(how = {}) {
      expectFunction('sweep: onProgress', how.onProgress);
      expectBoolean('sweep: dryRun', how.dryRun);
      return await sweeps.run(how);
    },
    warm: (references, how = {}) => warms.run(references, how, locate),
  };
}
