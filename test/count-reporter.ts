import type { Reporter, TestModule } from 'vitest/node';

/**
 * Closes a run with the name of each test that failed, a line each, and with `N passed, N failed, N skipped` alone on
 * the last line, for people and CI alike.
 */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly { message: string }[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
    const failed = errors.map(({ message }) => `outside of any test: ${message}`);
    for (const module of modules) {
      const file = module.relativeModuleId;
      // A file that failed to load has no tests to count, and must not pass for none.
      if (module.state() === 'failed' && module.errors().length > 0) {
        count.failed++;
        failed.push(...module.errors().map(({ message }) => `${file}: ${message}`));
      }
      for (const test of module.children.allTests()) {
        const { state, errors: reasons } = test.result();
        count[state]++;
        if (state === 'failed') failed.push(`${file} > ${test.fullName}: ${reasons.map(({ message }) => message)}`);
      }
    }
    const lines = failed.map((line) => `FAILED: ${line.replaceAll(/\s+/g, ' ').slice(0, 600)}\n`).join('');
    process.stdout.write(
      `\n${lines}${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped\n`,
    );
  }
}
