import {
  expectDuration,
  expectEach,
  expectFunction,
  expectKnown,
  expectObject,
  invalidOption,
} from '../runtime/expect-option.ts';
import type { AdmissionOptions } from './hook.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof AdmissionOptions, true>> = {
  admit: true,
  upstreams: true,
  version: true,
  within: true,
  decisionFor: true,
};

/** Checks a policy, also of a caller without types. @param keys of the upstreams; `undefined`: more may be added @throws ProxyCacheError `invalid-options` */
export function checkAdmission(path: string, admission: AdmissionOptions, keys: readonly string[] | undefined): void {
  expectObject(path, admission);
  expectKnown(path, admission, Object.keys(known));
  const { admit, upstreams, version, within, decisionFor } = admission;
  if (admit === undefined) throw invalidOption(`${path}.admit`, 'a function', admit);
  expectFunction(`${path}.admit`, admit);
  if (version !== undefined && typeof version !== 'string' && typeof version !== 'function') {
    throw invalidOption(`${path}.version`, 'a text, or a function that gives one', version);
  }
  expectEach(`${path}.upstreams`, upstreams, {
    is: 'the key of an upstream',
    test: (key) => keys?.includes(key) ?? key !== '',
  });
  expectDuration(`${path}.within`, within, 1);
  expectDuration(`${path}.decisionFor`, decisionFor);
}
