import type { Digest } from '../oci/digest.ts';
import { expectFunction, expectObject, invalidOption } from '../runtime/expect-option.ts';
import type { AdmissionContext, Admit } from './hook.ts';

/** What is to be verified, and what of its repository that takes: see {@link AdmissionContext}. */
export interface SignedContent
  extends Pick<
    AdmissionContext,
    | 'upstream'
    | 'repository'
    | 'descriptor'
    | 'manifest'
    | 'annotations'
    | 'signal'
    | 'referrers'
    | 'fetchManifest'
    | 'fetchBlob'
  > {
  digest: Digest;
}

/** Whether a signature that counts is there; or why none does, which is told to the client. */
export type VerifySignature = (
  content: SignedContent,
) => boolean | { reason: string } | Promise<boolean | { reason: string }>;

/**
 * Lets pass what `verify` finds signed, and the images of an index that is: a signature of an index covers what it lists.
 * Signatures are content, too: a `verify` that does not take them for signed keeps clients from verifying for themselves.
 *
 * @throws ProxyCacheError `invalid-options` without a `verify`: nothing here knows whose signatures count
 */
export function requireSignature({ verify }: { verify: VerifySignature }): Admit {
  expectObject('requireSignature', { verify });
  if (verify === undefined) throw invalidOption('requireSignature: verify', 'a function that verifies', verify);
  expectFunction('requireSignature: verify', verify);
  return async (context) => {
    if (context.parents.length > 0) return { allow: true };
    const { upstream, repository, descriptor, manifest, annotations, signal } = context;
    const { referrers, fetchManifest, fetchBlob } = context;
    const { digest } = descriptor;
    const about = { upstream, repository, descriptor, digest, manifest, annotations, signal };
    const verdict = await verify({ ...about, referrers, fetchManifest, fetchBlob });
    if (verdict === true) return { allow: true };
    const reason = typeof verdict === 'object' && typeof verdict?.reason === 'string' ? `: ${verdict.reason}` : '';
    return { deny: true, reason: `no signature of it counts here${reason}` };
  };
}
