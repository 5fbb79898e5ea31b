import { expectFunction, invalidOption } from '../runtime/expect-option.ts';
import type { AdmissionDecision, Admit } from './hook.ts';

/**
 * Lets pass what all of the policies do, asked one after the other: the first that denies decides, else the one that holds
 * for longest. An allowance holds as long as the shortest of them.
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
    let held: Extract<AdmissionDecision, { holdUntil: number }> | undefined;
    let until: number | undefined;
    for (const policy of policies) {
      const decision = await policy(context);
      if ('holdUntil' in decision) {
        if (!held || decision.holdUntil > held.holdUntil) held = decision;
      } else if ('allow' in decision && decision.allow === true) {
        if (decision.until !== undefined) until = Math.min(until ?? decision.until, decision.until);
        // What is no allowance, whatever it is, lets nothing pass.
      } else return decision;
    }
    return held ?? { allow: true, ...(until !== undefined && { until }) };
  };
}
