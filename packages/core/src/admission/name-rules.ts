import type { TagOrDigest } from '../oci/name.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { matchingPattern } from '../runtime/name-patterns.ts';
import type { NamePatterns } from '../upstream/upstream-options.ts';

/** Which repositories and tags of an upstream are served, by their names alone. */
export interface NameRules {
  /** Why a repository, or this tag of it, is not served; `undefined`: it is, as far as its name goes. */
  reasonAgainst(repository: string, tag?: string): string | undefined;
  /** @throws ProxyCacheError `not-admitted`, with the reason */
  check(repository: string, reference?: TagOrDigest): void;
}

/**
 * The rules of an upstream; `undefined` where it has none. What `exclude` names is not served, whatever `include` says. A
 * digest has no tag: its repository alone counts.
 */
export function createNameRules(upstream: {
  key: string;
  include: NamePatterns;
  exclude: NamePatterns;
}): NameRules | undefined {
  const { key, include, exclude } = upstream;
  if (![include, exclude].some(({ repositories, tags }) => repositories !== undefined || tags !== undefined)) {
    return undefined;
  }
  const repositoryRule = createRule('repositories', { include, exclude });
  const tagRule = createRule('tags', { include, exclude });

  function reasonAgainst(repository: string, tag?: string): string | undefined {
    const ofRepository = repositoryRule(repository);
    if (ofRepository !== undefined) return `excluded by policy: ${repository} at ${key} ${ofRepository}`;
    const ofTag = tag === undefined ? undefined : tagRule(tag);
    return ofTag && `excluded by policy: tag ${tag} of ${repository} at ${key} ${ofTag}`;
  }

  return {
    reasonAgainst,
    check(repository, reference) {
      const reason = reasonAgainst(repository, reference?.kind === 'tag' ? reference.tag : undefined);
      if (reason !== undefined) throw new ProxyCacheError('not-admitted', reason);
    },
  };
}

/** Why a name is not served, as the end of a sentence about it. */
function createRule(
  of: keyof NamePatterns,
  { include, exclude }: { include: NamePatterns; exclude: NamePatterns },
): (name: string) => string | undefined {
  const included = include[of] && matchingPattern(include[of]);
  const excluded = matchingPattern(exclude[of] ?? []);
  return (name) => {
    const pattern = excluded(name);
    if (pattern !== undefined) return `matches exclude.${of} ${JSON.stringify(pattern)}`;
    return included && included(name) === undefined ? `matches none of include.${of}` : undefined;
  };
}
