import { type Duration, parseDuration } from '../runtime/duration.ts';
import {
  expectDuration,
  expectKnown,
  expectObject,
  expectShare,
  expectWhole,
  invalidOption,
} from '../runtime/expect-option.ts';
import { expectPatterns, matchingPattern } from '../runtime/name-patterns.ts';
import { withDefaults } from '../runtime/with-defaults.ts';

/** What stays in the stores, and for how long. */
export interface RetentionOptions {
  /** What was not used for so long goes: a tag with its image, an image or a blob pulled by digest. Default 7 days. */
  unusedFor?: Duration | 'never';
  /** For some upstreams or repositories: the first rule that matches holds. Default none. */
  rules?: readonly RetentionRule[];
  /** How often that is looked after, about, while the cache runs; `false`: only by `sweep()`. Default 1 hour. */
  every?: Duration | false;
  /** Bytes of all that is stored: before more comes in, what was used the longest ago goes. Default: no bound. */
  maxBytes?: number;
  /** What is left of a `maxBytes`, as a share of it, after something had to go. Default 0.9. */
  lowWater?: number;
}

/** What stays of some repositories. */
export interface RetentionRule {
  /** Key of an upstream, also of one that was removed. Default: any. */
  upstream?: string;
  /** Patterns of repositories as the upstream names them: `library/*`, `team/**`. Default: all. */
  repositories?: readonly string[];
  /** Default: as for the others. */
  unusedFor?: Duration | 'never';
  /** Patterns of tags that stay with their images however long nobody uses them: `v*`. Default none. */
  keep?: readonly string[];
  /** How many tags stay of each repository besides, those that were used last. Default 0. */
  keepLast?: number;
}

/** What stays of one repository. */
export interface Stay {
  /** `Infinity`: never too old. */
  unusedForMs: number;
  keeps(tag: string): boolean;
  keepLast: number;
}

/** What stays, by the upstream's key and the repository; `undefined` for a name that nobody knows. */
export type StayOf = (upstream: string, repository: string | undefined) => Stay;

/** @throws ProxyCacheError `invalid-options` */
export function checkRetention(retention: unknown): void {
  if (retention === undefined || retention === false) return;
  expectObject('retention', retention);
  const options = retention as RetentionOptions;
  expectKnown('retention', options, ['unusedFor', 'rules', 'every', 'maxBytes', 'lowWater']);
  expectUnusedFor('retention.unusedFor', options.unusedFor);
  if (options.every !== false) expectDuration('retention.every', options.every, leastEveryMs);
  expectWhole('retention.maxBytes', options.maxBytes, 1);
  expectShare('retention.lowWater', options.lowWater);
  const { rules } = options;
  if (rules === undefined) return;
  if (!Array.isArray(rules)) throw invalidOption('retention.rules', 'a list of rules', rules);
  rules.forEach((rule, index) => {
    checkRule(`retention.rules[${index}]`, rule);
  });
}

/** A sweep reads every record. */
const leastEveryMs = 60_000;

function checkRule(path: string, rule: RetentionRule): void {
  expectObject(path, rule);
  expectKnown(path, rule, ['upstream', 'repositories', 'unusedFor', 'keep', 'keepLast']);
  const { upstream, unusedFor } = rule;
  if (upstream !== undefined && (typeof upstream !== 'string' || upstream === '')) {
    throw invalidOption(`${path}.upstream`, 'a key such as "docker-hub"', upstream);
  }
  expectPatterns(`${path}.repositories`, rule.repositories);
  expectPatterns(`${path}.keep`, rule.keep);
  expectUnusedFor(`${path}.unusedFor`, unusedFor);
  expectWhole(`${path}.keepLast`, rule.keepLast);
}

function expectUnusedFor(path: string, value: unknown): void {
  if (value !== 'never') expectDuration(path, value, 1);
}

/** Reads the rules once, for any repository. */
export function stays({ unusedFor, rules }: Required<Pick<RetentionOptions, 'unusedFor' | 'rules'>>): StayOf {
  const read = rules.map((rule) => ({
    upstream: rule.upstream,
    covers: rule.repositories && matchingPattern(rule.repositories),
    stay: stayBy(withDefaults({ unusedFor }, rule)),
  }));
  const otherwise = stayBy({ unusedFor });
  return (upstream, repository) => {
    for (const rule of read) {
      if (rule.upstream !== undefined && rule.upstream !== upstream) continue;
      if (!rule.covers) return rule.stay;
      // A name that nobody knows may be any of these.
      if (repository === undefined) return { ...otherwise, unusedForMs: Number.POSITIVE_INFINITY };
      if (rule.covers(repository) !== undefined) return rule.stay;
    }
    return otherwise;
  };
}

function stayBy({ unusedFor, keep, keepLast = 0 }: RetentionRule & Pick<Required<RetentionRule>, 'unusedFor'>): Stay {
  const match = keep && matchingPattern(keep);
  return {
    unusedForMs: unusedFor === 'never' ? Number.POSITIVE_INFINITY : parseDuration(unusedFor),
    keeps: (tag) => match?.(tag) !== undefined,
    keepLast,
  };
}
