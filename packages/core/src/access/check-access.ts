import {
  expectBoolean,
  expectDuration,
  expectFunction,
  expectKnown,
  expectObject,
  invalidOption,
} from '../runtime/expect-option.ts';
import type { AccessHooks } from './hooks.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof AccessHooks | 'handle', true>> = {
  authenticate: true,
  authorize: true,
  anonymous: true,
  challenge: true,
  handle: true,
  within: true,
  audit: true,
};

/** @throws ProxyCacheError `invalid-options` */
export function checkAccess(
  access: AccessHooks & { handle?: unknown },
  { publicContent }: { publicContent?: unknown },
): void {
  expectObject('access', access);
  expectKnown('access', access, Object.keys(known));
  for (const hook of ['authenticate', 'authorize', 'challenge', 'handle'] as const) {
    expectFunction(`access.${hook}`, access[hook]);
  }
  const { handle } = access;
  if (typeof handle === 'function' && 'owns' in handle) expectFunction('access.handle.owns', handle.owns);
  expectBoolean('access.anonymous', access.anonymous);
  expectBoolean('access.audit', access.audit);
  expectDuration('access.within', access.within, 1);
  const { authenticate, authorize, anonymous } = access;
  if (anonymous === false && !authenticate) {
    throw invalidOption('access.anonymous', 'true without access.authenticate, as nobody could be let in', anonymous);
  }
  if (publicContent === true && (authenticate || authorize)) {
    const expected = 'false beside access.authenticate or access.authorize, as a shared cache in front asks neither';
    throw invalidOption('publicContent', expected, publicContent);
  }
}
