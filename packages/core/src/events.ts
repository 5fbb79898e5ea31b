import type { AccessEvent } from './access/events.ts';
import type { AdmissionEvents } from './admission/events.ts';
import type { GroupEvent } from './group/events.ts';
import type { HttpEvent } from './http/events.ts';
import type { IngestEvent } from './ingest/events.ts';
import type { PrefetchEvent } from './pull/events.ts';
import type { QuotaEvent, RetentionEvent } from './retention/events.ts';
import type { RosterEvent } from './roster/events.ts';
import type { StoreEvent } from './store/events.ts';
import type { UpstreamEvent } from './upstream/events.ts';

/** Something a host should know of, once, at start. */
export interface WarningEvent {
  type: 'warning';
  message: string;
}

/** Everything an observer is told, by `type`. No URL, credential or token is ever in one. */
export type ProxyCacheEvent =
  | HttpEvent
  | AccessEvent
  | UpstreamEvent
  | GroupEvent
  | IngestEvent
  | PrefetchEvent
  | RetentionEvent
  | QuotaEvent
  | StoreEvent
  | RosterEvent
  | AdmissionEvents
  | WarningEvent;
