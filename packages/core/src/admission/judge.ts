import { keyOf } from '../catalog/keys.ts';
import { createFlights } from '../runtime/collapse.ts';
import { parseDuration } from '../runtime/duration.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import { redact } from '../upstream/redact.ts';
import { createEvaluation, type Evaluated, type JudgeParts } from './evaluate.ts';
import type { AdmissionSettings } from './hook.ts';
import { type Asked, type Facet, facetOf, type Question, referenceText } from './question.ts';
import type { Judgement } from './read-decision.ts';

/** Judges manifests, each once for all whom the decision holds for. */
export interface Judge {
  /** The decision that is kept; `undefined`: there is none that holds. */
  known(question: Asked): Judgement | undefined;
  /** @throws ProxyCacheError `admission-failed`, `manifest-unsupported`, the signal's reason */
  judge(question: Question, signal: AbortSignal): Promise<Judgement>;
  /** The policy's; `undefined` while it cannot be told. */
  version(): string | undefined;
}

type Kept = { judgement: Judgement; at: number };

const mostDecisions = 20_000;
// Each time more is known of what the decision depends on, and there are four such things.
const mostTries = 5;

export function createJudge(settings: AdmissionSettings, parts: JudgeParts): Judge {
  const { clock } = parts;
  const decisions = createRecent<string, Kept>(mostDecisions);
  /** What the decision on a manifest was seen to depend on, beside the manifest. */
  const dependsOn = createRecent<string, ReadonlySet<Facet>>(mostDecisions);
  const flights = createFlights<Evaluated>();
  const evaluate = createEvaluation(settings, parts);
  const decisionForMs = parseDuration(settings.decisionFor);

  function readVersion(): string {
    const version: unknown = typeof settings.version === 'function' ? settings.version() : settings.version;
    if (typeof version !== 'string') throw new Error('expected version to give a text');
    return version;
  }

  /** @throws ProxyCacheError `admission-failed`: by what policy a decision was made has to be known */
  function subjectOf({ place, digest, reference }: Asked): string {
    const { upstream, scope, repository } = place;
    try {
      return `${keyOf(upstream, scope, repository)} ${digest} ${readVersion()}`;
    } catch (cause) {
      const error = redact(cause instanceof Error ? cause.message : String(cause));
      const about = { upstream, repository, reference: referenceText(reference), digest };
      parts.observe({ type: 'admission-failed', ...about, error, durationMs: 0 });
      throw new ProxyCacheError('admission-failed', 'which version of the policy holds cannot be told', { cause });
    }
  }

  /** `undefined`: it is a question like no other. */
  function keyFor(question: Asked, subject: string): string | undefined {
    let key = subject;
    for (const facet of dependsOn.get(subject) ?? []) {
      const text = facetOf(question, facet);
      if (text === undefined) return undefined;
      key += `\n${facet} ${text}`;
    }
    return key;
  }

  function keptUnder(key: string | undefined): Judgement | undefined {
    const kept = key === undefined ? undefined : decisions.get(key);
    if (!kept) return undefined;
    const now = clock.now();
    // A clock that stepped back makes no decision hold for longer.
    return now >= kept.at && now < kept.judgement.until ? kept.judgement : undefined;
  }

  async function evaluated(question: Question, subject: string, signal: AbortSignal): Promise<Evaluated> {
    const result = await evaluate(question, { otherwise: (now) => now + decisionForMs }, signal);
    const facets = new Set([...(dependsOn.get(subject) ?? []), ...result.read]);
    dependsOn.set(subject, facets);
    const key = keyFor(question, subject);
    if (key !== undefined) decisions.set(key, { judgement: result.judgement, at: result.at });
    return result;
  }

  return {
    version() {
      try {
        return readVersion();
      } catch {
        // Told where something is judged.
        return undefined;
      }
    },
    known: (question) => keptUnder(keyFor(question, subjectOf(question))),
    async judge(question, signal) {
      for (let tries = 0; tries < mostTries; tries++) {
        const subject = subjectOf(question);
        const key = keyFor(question, subject);
        if (key === undefined) break;
        const known = keptUnder(key);
        if (known) return known;
        const result = await flights.join(key, (joint) => evaluated(question, subject, joint), signal);
        if (isSame(result, question)) return result.judgement;
      }
      return (await evaluated(question, subjectOf(question), signal)).judgement;
    },
  };
}

/** Whether what was decided on one question holds for another about the same manifest. */
function isSame({ question, read }: Evaluated, other: Question): boolean {
  if (question === other) return true;
  return [...read].every((facet) => {
    const text = facetOf(question, facet);
    return text !== undefined && text === facetOf(other, facet);
  });
}
