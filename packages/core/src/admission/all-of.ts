import { expectFunction, invalidOption } from '../runtime/expect-option.ts';
import type { AdmissionDecision, Admit } from './hook.ts';
import { readDecision } from './read-decision.ts';

/**
 * Lets pass what all of the policies do, asked one after the other: the first that denies decides, else the one that holds
 * for longest. An allowance holds as long as the shortest of them. Where one gives what is no decision, it throws.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function allOf(...policies: readonly Admit[]): Admit {
  if (policies.length === 0) throw invalidOption('allOf', 'at least one policy', policies);
  policies.forEach((policy, index) => {
    if (policy === undefined) throw invalidOption(`allOf[${index}]`, 'a policy', policy);
    expectFunction(`allOf[${index}]`, policy);
  });
  return async (context) => {
    let held: { decision: AdmissionDecision; until: number } | undefined;
    let until: number | undefined;
    for (const policy of policies) {
      const decision = await policy(context);
      // By its values, as one that stands alone: a policy may name every field, and leave most of them undefined.
      const judgement = readDecision(decision, Number.POSITIVE_INFINITY);
      if (judgement.kind === 'deny') return decision;
      if (judgement.kind === 'hold') {
        if (!held || judgement.until > held.until) held = { decision, until: judgement.until };
      } else if ('until' in decision && decision.until !== undefined) {
        until = Math.min(until ?? decision.until, decision.until);
      }
    }
    return held?.decision ?? { allow: true, ...(until !== undefined && { until }) };
  };
}
