/** A manifest was judged; answers by a decision that is kept are not told again. */
export interface AdmissionEvent {
  type: 'admission';
  decision: 'allow' | 'deny' | 'hold';
  upstream: string;
  repository: string;
  /** Tag or digest, as it was asked for. */
  reference: string;
  digest: string;
  /** Why not, as clients are told. */
  reason?: string;
  /** Until when the decision holds, in ms since the epoch. */
  until: number;
  durationMs: number;
}

/** The hook threw, was late or gave what is no decision: what was asked for was refused with 503. */
export interface AdmissionFailedEvent {
  type: 'admission-failed';
  upstream: string;
  repository: string;
  reference: string;
  digest: string;
  error: string;
  durationMs: number;
}

export type AdmissionEvents = AdmissionEvent | AdmissionFailedEvent;
