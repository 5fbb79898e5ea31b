import type { UpstreamEvent } from './upstream/events.ts';

/** Everything an observer is told, by `type`. No URL, credential or token is ever in one. */
export type ProxyCacheEvent = UpstreamEvent;
