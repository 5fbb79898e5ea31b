import { expectWhole, invalidOption } from '../runtime/expect-option.ts';
import type { Admit } from './hook.ts';

/**
 * Lets pass images and artifacts whose config and layers have so many bytes at most, as their manifest says; of an index
 * each image is judged by itself.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function maxSize(bytes: number): Admit {
  if (bytes === undefined) throw invalidOption('maxSize', 'a number of bytes', bytes);
  expectWhole('maxSize', bytes, 1);
  return ({ manifest }) => {
    if (manifest.kind === 'index') return { allow: true };
    const size = manifest.blobs.reduce((sum, blob) => sum + blob.size, 0);
    if (size <= bytes) return { allow: true };
    return { deny: true, reason: `it has ${size} bytes, more than ${bytes}` };
  };
}
