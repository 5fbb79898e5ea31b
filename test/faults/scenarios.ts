import { answerScenarios } from './answer-scenarios.ts';
import { bodyScenarios } from './body-scenarios.ts';
import type { Scenario } from './scenario.ts';
import { storageScenarios } from './storage-scenarios.ts';

export const scenarios: readonly Scenario[] = [...bodyScenarios, ...answerScenarios, ...storageScenarios];
