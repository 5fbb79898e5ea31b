import type { AccessSettings } from './access/hooks.ts';
import type { AdmissionOptions, AdmissionSettings } from './admission/hook.ts';
import { type AccessOptions, defaults, type ProxyCacheOptions } from './options.ts';
import type { SecretOf } from './upstream/credentials.ts';

// A host may give its hooks as methods of a class: they are read by their names, wherever the object has them, and called as
// its own.

/** The hooks with every default filled in. */
export function accessSettings(access: AccessOptions): AccessSettings & Pick<AccessOptions, 'handle'> {
  const { authenticate, authorize, challenge, handle, anonymous, within, audit } = access;
  return {
    ...(authenticate && { authenticate: authenticate.bind(access) }),
    ...(authorize && { authorize: authorize.bind(access) }),
    ...(challenge && { challenge: challenge.bind(access) }),
    ...(handle && {
      handle: Object.assign(handle.bind(access), { owns: (url: string) => handle.owns?.(url) ?? false }),
    }),
    anonymous: anonymous ?? defaults.access.anonymous,
    within: within ?? defaults.access.within,
    audit: audit ?? defaults.access.audit,
  };
}

/** A policy with every default filled in. */
export function admissionSettings(admission: AdmissionOptions): AdmissionSettings {
  const { admit, upstreams, version, within, decisionFor } = admission;
  return {
    admit: admit.bind(admission),
    ...(upstreams !== undefined && { upstreams }),
    version: (typeof version === 'function' ? version.bind(admission) : version) ?? defaults.admission.version,
    within: within ?? defaults.admission.within,
    decisionFor: decisionFor ?? defaults.admission.decisionFor,
  };
}

/** What says what references stand for, if anything does. */
export function secretOf({ persistUpstreams }: Pick<ProxyCacheOptions, 'persistUpstreams'>): SecretOf | undefined {
  return persistUpstreams?.secretOf?.bind(persistUpstreams);
}
