import type { Platform } from '../oci/manifest.ts';
import { isOfPlatform, isPlatform, nowhere, parsePlatform, platformList, platformText } from '../oci/platform.ts';
import { expectEach, invalidOption } from '../runtime/expect-option.ts';
import type { AdmissionContext, Admit } from './hook.ts';

const imageConfigs: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);

/**
 * Lets pass images of these platforms, by what their own config says, and indexes that list one: `linux/amd64`,
 * `linux/arm/v7`; without a variant any. What is no image, such as a chart, has no platform and passes.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function platforms(allowed: readonly string[]): Admit {
  if (allowed === undefined || allowed.length === 0) throw invalidOption('platforms', 'at least one platform', allowed);
  expectEach('platforms', allowed, {
    is: 'a platform such as "linux/amd64"',
    test: isPlatform,
  });
  const wanted = allowed.map(parsePlatform);
  const isWanted = (platform: Platform) => wanted.some((one) => isOfPlatform(platform, one));
  return async (context) => {
    const { manifest } = context;
    if (manifest.kind === 'index') {
      const listed = manifest.children.flatMap(({ platform }) => (platform ? [platform] : []));
      const isOpen = manifest.children.length === 0 || listed.length < manifest.children.length;
      if (isOpen || listed.some(isWanted)) return { allow: true };
      return { deny: true, reason: `it has images for ${platformList(listed)} only, not for ${allowed.join(', ')}` };
    }
    if (!manifest.config || !imageConfigs.has(manifest.config.mediaType)) return { allow: true };
    const platform = await platformOf(context);
    if (!platform) return { deny: true, reason: 'its config does not say what it runs on' };
    if (platform.os === nowhere || isWanted(platform)) return { allow: true };
    return { deny: true, reason: `it runs on ${platformText(platform)}, and not on ${allowed.join(', ')}` };
  };
}

async function platformOf({ config }: AdmissionContext): Promise<Platform | undefined> {
  const bytes = await config();
  try {
    const { os, architecture, variant } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
    return { os, architecture, ...(typeof variant === 'string' && variant !== '' && { variant }) };
  } catch {
    return undefined;
  }
}
