import type { Clock } from '../runtime/clock.ts';
import { createCredentialLoader } from './credential-load.ts';
import { type CredentialSource, createCredentialSource } from './credential-source.ts';
import { generationOf } from './generation.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** A time in which an upstream is asked as one user, until there is another one. The same user may have several. */
export interface Term {
  readonly number: number;
  /** What is answered from then on may have been said to somebody else. */
  readonly isOver: boolean;
}

/** Whom an upstream's `url` is asked as. */
export interface Identity {
  /** What proofs of now belong to; see {@link generationOf}. A user name in a file is looked at again, behind the answer. */
  generation(): string;
  /** That of now. `undefined`: one without end. */
  term(): Term | undefined;
  /** The credential that goes with it. `undefined`: one whose identity stays as it is. */
  source: CredentialSource | undefined;
}

// Of a file that changes seldom, asked for at each request.
const lookEvery = 1_000;

/** What stands for an upstream's URL and identity, also where the identity changes while the process runs. */
export function createIdentity(settings: UpstreamSettings, { clock }: { clock: Clock }): Identity {
  const { key, auth, credentials } = settings;
  let current = generationOf(settings);
  const isInFiles = typeof auth === 'object' && 'usernameFile' in auth && credentials !== 'caller';
  const loader = isInFiles ? createCredentialLoader(auth, { key, server: '', clock }) : undefined;
  if (!loader) return { generation: () => current, term: () => undefined, source: undefined };
  let term = { number: 1, isOver: false };
  // Only with the credential itself: else what the one before it proved would belong to the new name.
  const source = createCredentialSource(loader, {
    clock,
    key,
    loaded(credential) {
      const generation = generationOf({ ...settings, auth: credential });
      if (generation === current) return;
      current = generation;
      term.isOver = true;
      term = { number: term.number + 1, isOver: false };
    },
  });
  const { signal } = new AbortController();
  let lookAt = clock.monotonic() + lookEvery;
  let isLooking = false;

  async function look(): Promise<void> {
    isLooking = true;
    // What cannot be read is told to whoever needs it.
    await source.get({ signal }).catch(() => undefined);
    isLooking = false;
    lookAt = clock.monotonic() + lookEvery;
  }

  return {
    source,
    generation() {
      if (!isLooking && clock.monotonic() >= lookAt) void look();
      return current;
    },
    term: () => term,
  };
}
