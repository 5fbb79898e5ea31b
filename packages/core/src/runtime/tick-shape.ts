import { executionAsyncResource } from 'node:async_hooks';

/**
 * Keeps one of the objects that Node makes for each `process.nextTick`, and with it their hidden class.
 *
 * A process that is idle for some seconds gives memory back, and V8 drops the hidden classes of which no object is left.
 * Node makes these objects by a literal with computed keys, and code that has seen two hidden classes behind such a literal
 * goes the slow way for good: in Node 20 and 22 each HTTP request makes several of them, and after the first idle time a
 * server answers small requests at two thirds of its rate, until it is started anew.
 */
export function keepTickShape(): { close(): void } {
  const kept: object[] = [];
  let isClosed = false;
  process.nextTick(() => {
    if (!isClosed) kept.push(executionAsyncResource());
  });
  return {
    close() {
      isClosed = true;
      kept.length = 0;
    },
  };
}
