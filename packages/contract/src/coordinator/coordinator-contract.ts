import type { Contract } from '../contract.ts';
import type { MakeCoordinators } from './harness.ts';
import { leaseCases } from './leases.ts';
import { messageCases } from './messages.ts';

/** What every `Coordinator` of `@proxycache/core` must do. */
export const coordinatorContract: Contract<MakeCoordinators> = [...leaseCases, ...messageCases];
