import type { Contract } from '../contract.ts';
import type { MountAdapter } from './adapter-case.ts';
import { bodyCases } from './body-cases.ts';
import { connectionCases } from './connection-cases.ts';
import { failureCases } from './failure-cases.ts';
import { headCases } from './head-cases.ts';
import { leavingCases } from './leaving-cases.ts';
import { requestCases } from './request-cases.ts';

/**
 * What every adapter does, over real sockets and before a scripted cache. For any test runner:
 *
 *     for (const { name, run } of casesOf(adapterContract)) test(name, () => run(mount));
 */
export const adapterContract: Contract<MountAdapter> = [
  ...requestCases,
  ...headCases,
  ...bodyCases,
  ...failureCases,
  ...leavingCases,
  ...connectionCases,
];
