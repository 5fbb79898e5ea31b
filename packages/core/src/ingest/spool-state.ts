import { crc32 } from 'node:zlib';

/** How far a leader's spool file is, as it tells in a small file beside it. */
export interface SpoolFileState {
  /** The name of the spool file, in the same folder: another one once the transfer starts anew. */
  file: string;
  /** How many bytes from its start can be read: segments land at their offset, so its size says nothing. */
  written: number;
  /** Size of the whole blob, where it is known. */
  total?: number | undefined;
  /** `asking`: no upstream has answered yet. `queued`: verified, and waits for the store. */
  phase: 'asking' | 'filling' | 'verified' | 'queued' | 'failed';
  /** Rises while its process runs, whether anything came or not. */
  beat: number;
}

/** The length of the file that tells a state: it is read and written whole, in one call. */
export const stateBytes = 512;

const phases: ReadonlySet<unknown> = new Set(['asking', 'filling', 'verified', 'queued', 'failed']);

/** The file beside a spool file. */
export const statePathOf = (spoolFile: string): string => `${spoolFile}.state`;

/** The second name of a spool file: no other file's, and the same number. */
export const keptName = (file: string): string => `0${file}`;

/** Whether two names are of the same file. */
export const isSameFile = (one: string, other: string): boolean =>
  one === other || keptName(one) === other || one === keptName(other);

/** A state as bytes: a checksum, as whoever reads may get half of what is being written, and JSON. */
export function encodeState(state: SpoolFileState): Buffer {
  const text = JSON.stringify({ v: 1, ...state });
  return Buffer.from(`${checksumOf(text)} ${text}`.padEnd(stateBytes));
}

/** The state that such bytes tell; `undefined` where they are none, or half of two. */
export function decodeState(bytes: Uint8Array): SpoolFileState | undefined {
  const all = Buffer.from(bytes).toString('utf8').trimEnd();
  const text = all.slice(9);
  if (text === '' || all.slice(0, 8) !== checksumOf(text)) return undefined;
  const { v, file, written, total, phase, beat } = JSON.parse(text) as Record<string, unknown>;
  // It becomes a path.
  if (v !== 1 || typeof file !== 'string' || !/^\d*$/.test(file) || !phases.has(phase)) return undefined;
  if (typeof written !== 'number' || typeof beat !== 'number') return undefined;
  return {
    file,
    written,
    ...(typeof total === 'number' && { total }),
    phase: phase as SpoolFileState['phase'],
    beat,
  };
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
