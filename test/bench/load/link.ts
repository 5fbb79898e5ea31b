import { startDaemon } from '../../peers/daemon.ts';

/** A link between a cache and its upstream; load/link.c says what it does. */
export interface LinkShape {
  roundTripMs: number;
  /** Of all connections together. */
  bytesPerSecond: number;
  /** Of one connection. Default: no limit of its own. */
  bytesPerSecondOfConnection?: number;
}

/** The far end of a link, near. */
export interface Link {
  url: string;
  stop(): Promise<void>;
}

/** Starts a link to a server on loopback. */
export async function startLink(program: string, url: string, shape: LinkShape): Promise<Link> {
  const { roundTripMs, bytesPerSecond, bytesPerSecondOfConnection = 0 } = shape;
  const figures = [roundTripMs * 1000, bytesPerSecond, bytesPerSecondOfConnection, new URL(url).port];
  const daemon = startDaemon(program, figures.map(String));
  const [, address = ''] = await daemon.says(/^listening on (\S+)$/m);
  return { url: address, stop: daemon.stop };
}
