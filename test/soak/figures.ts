/** What a run came to. */
export interface Figures {
  steps: number;
  requests: number;
  /** How often each status was answered; `0` is a connection that broke before. */
  statuses: Record<string, number>;
  /** How many answers had to be right whatever went wrong. */
  owed: number;
  broken: number;
  left: number;
  restarts: number;
  blobsChecked: number;
  /** Bytes of heap and external memory after a collection, without the upstreams' content, by step. */
  memory: Record<number, number>;
}
