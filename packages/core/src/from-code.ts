import type { ProxyCache } from './cache-interface.ts';
import { refuseWithoutCaller } from './callers-of.ts';
import type { Scrubs } from './catalog/scrub.ts';
import type { Groups } from './group/groups.ts';
import type { GroupRepository } from './group/members.ts';
import type { Exports } from './layout/export-layout.ts';
import type { Imports } from './layout/import-layout.ts';
import { parseReference, type Reference } from './oci/reference.ts';
import type { HasImage } from './pull/has-image.ts';
import type { Pulls } from './pull/noted-pulls.ts';
import type { Target } from './pull/target.ts';
import type { Warms } from './pull/warm.ts';
import type { Purges } from './retention/purges.ts';
import type { Sweeps } from './retention/sweeps.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { expectBoolean, expectFunction, expectWhole } from './runtime/expect-option.ts';
import { whatToPurge } from './what-to-purge.ts';

/** What {@link createFromCode} works with. */
interface FromCodeParts {
  locate(route: { name: string; ns: undefined; host: undefined }): { target: Target } | undefined;
  groups: Pick<Groups, 'locate' | 'member' | 'standing'>;
  /** Resolves when it is known what names mean; `undefined`: it is. */
  wait(): Promise<void> | undefined;
  isClosed(): boolean;
  /** Whether it is the key of an upstream, or of one that was removed. */
  isKey(key: string): boolean;
  hasImage: HasImage;
  pulls: Pulls;
  scrubs: Pick<Scrubs, 'run'>;
  sweeps: Pick<Sweeps, 'run'> & { purge: Purges['run'] };
  warms: Pick<Warms, 'run'>;
  exports: Exports;
  imports: Pick<Imports, 'run'>;
}

/** The part of a cache that its host calls rather than its clients. */
export function createFromCode(
  parts: FromCodeParts,
): Pick<ProxyCache, 'has' | 'resolve' | 'scrub' | 'sweep' | 'warm' | 'purge' | 'exportLayout' | 'importLayout'> {
  const { pulls, scrubs, sweeps, warms } = parts;

  type Located = { target: Target; asked?: never } | { target?: never; asked: GroupRepository };

  async function locate(text: string): Promise<Located & Pick<Reference, 'reference'>> {
    if (parts.isClosed()) throw new ProxyCacheError('closed', 'the cache is closed');
    await parts.wait();
    const { name, reference } = parseReference(text);
    const route = { name, ns: undefined, host: undefined };
    const target = parts.locate(route)?.target;
    if (target) {
      refuseWithoutCaller(target);
      return { target, reference };
    }
    const asked = parts.groups.locate(route)?.asked;
    if (!asked) throw new ProxyCacheError('name-unknown', `${name} names no upstream; expected <key>/<name>`);
    return { asked, reference };
  }

  async function find(text: string): Promise<{ target: Target } & Pick<Reference, 'reference'>> {
    const { target, asked, reference } = await locate(text);
    if (target) return { target, reference };
    const { signal } = new AbortController();
    return { target: await parts.groups.member(asked, { kind: 'manifest', reference }, signal), reference };
  }

  async function own(text: string): Promise<{ target: Target } & Pick<Reference, 'reference'>> {
    const { target, reference } = await locate(text);
    if (target) return { target, reference };
    throw new ProxyCacheError('name-unknown', `${text} names a group; import it for one of its members`);
  }

  return {
    async has(text) {
      const { target, asked, reference } = await locate(text);
      const { signal } = new AbortController();
      const targets = target ? [target] : await parts.groups.standing(asked, signal);
      for (const one of targets) if (await parts.hasImage({ target: one, reference, signal })) return true;
      return false;
    },
    async resolve(text) {
      const { target, reference } = await find(text);
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
    warm: (references, how = {}) => warms.run(references, how, find),
    exportLayout: (references, how) => parts.exports.run(references, how, find),
    importLayout: (how) => parts.imports.run(how, own),
    async purge(what, how = {}) {
      if (parts.isClosed()) throw new ProxyCacheError('closed', 'the cache is closed');
      expectFunction('purge: onProgress', how.onProgress);
      await parts.wait();
      const report = await sweeps.purge(await whatToPurge(what, parts), how);
      // Of one that was removed before a restart there may be something still; of a misspelt one there is nothing.
      if ('upstream' in what && report.repositories === 0 && !parts.isKey(what.upstream)) {
        const message = `purge: ${JSON.stringify(what.upstream.slice(0, 60))} is no upstream's key, and nothing is stored of it`;
        throw new ProxyCacheError('name-unknown', message);
      }
      return report;
    },
  };
}
