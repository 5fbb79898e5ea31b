import { isProxyCacheError, type ProxyCacheError } from '../runtime/errors.ts';

/** Whether what failed is here rather than upstream: the bytes can still be had. */
export function isLocal(error: unknown): error is ProxyCacheError & { code: 'storage-full' | 'storage-failed' } {
  return isProxyCacheError(error) && (error.code === 'storage-full' || error.code === 'storage-failed');
}
