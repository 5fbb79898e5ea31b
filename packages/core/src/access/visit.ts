import type { AccessRequest } from './hooks.ts';

/** A request on its way through the hooks. */
export interface Visit {
  request: AccessRequest;
  /** Tells hooks that nobody waits for them any more. */
  end(reason: Error): void;
}

/**
 * @param request its signal is not read before a hook reads that of the visit: creating one per request is dear
 * @param contextOf the same of its context. Default: that of the request
 */
export function createVisit(request: AccessRequest, contextOf: () => unknown = () => request.context): Visit {
  let controller: AbortController | undefined;
  let ended: Error | undefined;

  function signalOf(): AbortSignal {
    if (controller) return controller.signal;
    const made = new AbortController();
    controller = made;
    const { signal } = request;
    if (ended) made.abort(ended);
    else if (signal.aborted) made.abort(signal.reason);
    else signal.addEventListener('abort', () => made.abort(signal.reason), { once: true });
    return made.signal;
  }

  const { method, url, basePath, headers } = request;
  return {
    request: {
      method,
      url,
      basePath,
      headers,
      get context() {
        return contextOf();
      },
      get connection() {
        return request.connection;
      },
      get signal() {
        return signalOf();
      },
    },
    end(reason) {
      ended ??= reason;
      controller?.abort(reason);
    },
  };
}
