import { keyOf } from '../catalog/keys.ts';
import type { Place } from '../catalog/place.ts';
import type { RecordsParts } from '../catalog/records.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { createRecent } from '../runtime/recent.ts';
import type { AdmissionEvents } from './events.ts';
import { createFirstSeen } from './first-seen.ts';
import type { AdmissionSettings } from './hook.ts';
import { createJudge } from './judge.ts';
import { createParents } from './parents.ts';
import { type FoundManifest, referenceText } from './question.ts';
import { withoutManifest } from './refused-by.ts';
import { type Asking, createVerdicts } from './verdicts.ts';

/** Lets content pass, or not. */
export interface Admission {
  /** Whether content of an upstream is judged. */
  judges(upstream: string): boolean;
  /**
   * Lets a manifest pass that is here, and notes that it was asked for, whatever is decided.
   *
   * @throws ProxyCacheError `not-admitted`, `held`, `admission-failed`, `manifest-unsupported`; the signal's reason
   */
  manifest(asking: Asking, asked: { reference: TagOrDigest; found: FoundManifest }): Promise<void>;
  /** Lets a blob pass, for the sake of a manifest that names it. @throws as {@link manifest} */
  blob(asking: Asking, digest: Digest): Promise<void>;
  /** Looks whether a manifest was let pass for nobody known, and that still holds. `false` says nothing. */
  passes(place: Place, reference: TagOrDigest): (digest: Digest) => boolean;
  settled(): Promise<void>;
}

type Pass = { digest: Digest; at: number; until: number };

const mostPasses = 20_000;

export function createAdmission(
  settings: AdmissionSettings,
  parts: RecordsParts & { observe(event: AdmissionEvents): void },
): Admission {
  const { clock } = parts;
  const parents = createParents(parts);
  const judge = createJudge(settings, { ...parts, firstSeen: createFirstSeen(parts) });
  const verdicts = createVerdicts({ judge, parents, now: () => clock.now() });
  const passed = createRecent<string, Pass>(mostPasses);

  const passKey = ({ upstream, scope, repository }: Place, reference: TagOrDigest) =>
    `${keyOf(upstream, scope, repository)} ${referenceText(reference)}`;

  return {
    judges: (upstream) => settings.upstreams?.includes(upstream) ?? true,
    async manifest(asking, { reference, found }) {
      const { place, asker } = asking;
      const { digest } = found.descriptor;
      const manifest = parseManifest(found.bytes);
      const version = judge.version();
      const verdict = await verdicts.on(asking, { digest, reference, found });
      await parents.note(place, { digest, manifest, byTag: reference.kind === 'tag', isAdmitted: verdict.isAdmitted });
      if (!verdict.isAdmitted) throw verdict.error;
      const { until } = verdict;
      if (asker?.identity || version === undefined) return;
      passed.set(`${passKey(place, reference)} ${version}`, { digest, at: clock.now(), until });
    },
    async blob(asking, digest) {
      const verdict = await verdicts.blob(asking, digest);
      if (!verdict) throw withoutManifest(asking.place, digest);
      if (!verdict.isAdmitted) throw verdict.error;
    },
    passes(place, reference) {
      const key = passKey(place, reference);
      return (digest) => {
        const version = judge.version();
        const pass = version === undefined ? undefined : passed.get(`${key} ${version}`);
        const now = clock.now();
        return pass !== undefined && pass.digest === digest && now >= pass.at && now < pass.until;
      };
    },
    settled: parents.settled,
  };
}
