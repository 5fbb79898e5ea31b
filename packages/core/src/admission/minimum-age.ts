import { type Duration, parseDuration, showDuration } from '../runtime/duration.ts';
import { expectDuration, expectKnown, expectObject, expectOneOf, invalidOption } from '../runtime/expect-option.ts';
import type { AdmissionContext, Admit } from './hook.ts';

// OCI image-spec, annotations.md: RFC 3339, of a manifest or an index.
const createdAnnotation = 'org.opencontainers.image.created';

/**
 * Holds what is younger than so long, so that others find out first what is wrong with it.
 *
 * @param options.since `seen`: since this cache first saw it in its repository, itself or in an index; `created`: since the
 *   instant that the image says itself, which whoever made it was free to make up, else since it was seen. Default `seen`
 * @throws ProxyCacheError `invalid-options`
 */
export function minimumAge(age: Duration, options: { since?: 'seen' | 'created' } = {}): Admit {
  expectDuration('minimumAge', age, 1);
  if (age === undefined || parseDuration(age) === Number.POSITIVE_INFINITY) {
    throw invalidOption('minimumAge', 'a duration such as "7d"', age);
  }
  expectObject('minimumAge: options', options);
  expectKnown('minimumAge', options, ['since']);
  expectOneOf('minimumAge: since', options.since, ['seen', 'created']);
  const { since = 'seen' } = options;
  const ms = parseDuration(age);
  return async (context) => {
    const created = since === 'created' ? await createdAt(context) : undefined;
    // Its images say for themselves when they were made.
    if (since === 'created' && created === undefined && context.manifest.kind === 'index') return { allow: true };
    const from = created ?? context.firstSeenAt;
    if (context.now - from >= ms) return { allow: true };
    const what = created === undefined ? 'it was first seen here' : 'it says that it was created';
    const reason = `it has to be ${showDuration(ms)} old, and ${what} ${new Date(from).toISOString().slice(0, 19)}Z`;
    return { holdUntil: from + ms, reason };
  };
}

async function createdAt({ annotations, manifest, config }: AdmissionContext): Promise<number | undefined> {
  const said = annotations[createdAnnotation];
  if (said !== undefined) return instantOf(said);
  const bytes = manifest.kind === 'image' ? await config() : undefined;
  if (!bytes) return undefined;
  try {
    return instantOf(JSON.parse(new TextDecoder().decode(bytes)).created);
  } catch {
    // An artifact's config may be anything.
    return undefined;
  }
}

function instantOf(text: unknown): number | undefined {
  const at = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
