import { type Admission, createAdmission } from './admission/admission.ts';
import type { AdmissionEvents } from './admission/events.ts';
import type { RecordsParts } from './catalog/records.ts';
import { admissionSettings } from './hooks-of.ts';
import type { ProxyCacheOptions } from './options.ts';
import { admittedPulls } from './pull/admitted-pulls.ts';
import type { ListReferrers } from './pull/list-referrers.ts';
import type { Pulls } from './pull/noted-pulls.ts';

/** The pulls that clients get: through the policy, where there is one. */
export function admitClients(
  options: ProxyCacheOptions['admission'],
  {
    pulls,
    listReferrers,
    ...parts
  }: RecordsParts & {
    pulls: Pulls;
    listReferrers: ListReferrers;
    observe(event: AdmissionEvents): void;
  },
): { pulls: Pulls; admission: Pick<Admission, 'settled'> | undefined } {
  if (!options) return { pulls, admission: undefined };
  const admission = createAdmission(admissionSettings(options), parts);
  return { pulls: admittedPulls(pulls, admission, listReferrers), admission };
}
