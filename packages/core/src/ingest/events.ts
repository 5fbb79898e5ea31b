/** Events of this folder. */
export type IngestEvent =
  | {
      type: 'ingest-started';
      upstream: string;
      repository: string;
      digest: string;
      /** Nobody asked for it yet: its manifest was served. */
      prefetch?: true;
    }
  | {
      type: 'ingest-ended';
      upstream: string;
      repository: string;
      digest: string;
      /** `stored`; `queued`: verified, and waits on the local disk for the store; `unstored`: verified, but it can do neither; `refused`: the upstream has or gives no such blob. */
      outcome: 'stored' | 'queued' | 'unstored' | 'refused' | 'failed';
      bytes: number;
      durationMs: number;
      error?: string;
    }
  /** An upstream sent wrong bytes, and is asked for the whole once more; who has none of the wrong ones is still served. */
  | { type: 'ingest-restarted'; upstream: string; repository: string; digest: string; error: string }
  /** A transfer that broke off goes on, from byte `from`: asked for `attempt` times since the last byte came. */
  | {
      type: 'ingest-resumed';
      upstream: string;
      repository: string;
      digest: string;
      from: number;
      attempt: number;
      /** What it broke off with. */
      error: string;
    }
  /**
   * Where several processes share a storage: whom this one's transfer gets its bytes from, from byte `from` on. `leader`: the
   * upstream, for all of them; `follower`: the process that leads; `stored`: the store, which another filled meanwhile;
   * `alone`: the upstream, for this process, as the leader cannot be read or the coordinator does not answer.
   */
  | {
      type: 'ingest-shared';
      upstream: string;
      repository: string;
      digest: string;
      role: 'leader' | 'follower' | 'stored' | 'alone';
      from: number;
    }
  /** Another process that shares the storage could not be read from over HTTP (`peers`): told at the first of several tries. */
  | { type: 'peer-failed'; peer: string; status?: number; error: string }
  /**
   * So many connections bring pieces of a blob from now on, beside the one that it began with. `error`: why it is one less;
   * none: as they bring more, bring no more, or are done.
   */
  | {
      type: 'segments-changed';
      upstream: string;
      repository: string;
      digest: string;
      segments: number;
      error?: string;
    }
  /**
   * A pull goes on without being cached, as the disk has less than `minFree` left, it does not fit into `maxBytes` or the
   * spool failed; also half-way.
   */
  | {
      type: 'passed-through';
      upstream: string;
      repository: string;
      digest: string;
      reason: 'min-free' | 'max-bytes' | 'spool-failed';
    };
