/** Who asks. */
export interface Identity {
  /** As audits name it; never a secret. */
  name: string;
  /** What a token narrows its bearer to: repository names as clients write them in paths. Absent: no narrowing. */
  repositories?: readonly string[];
  /** The host's own: groups, tenant. */
  attributes?: Readonly<Record<string, unknown>>;
}
