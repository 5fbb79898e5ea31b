import { Agent, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import { type BodyFault, type FaultPlan, passBody } from './body-fault.ts';
import { type LoopbackServer, startLoopbackServer } from './loopback-server.ts';

/** A request that passed, and how it was answered. */
export interface PassedRequest {
  method: string;
  /** The path and query as they came. */
  path: string;
  headers: IncomingMessage['headers'];
  /** 0 until it is answered. */
  status: number;
  /** Bytes of the answer's body that left. */
  bytes: number;
}

/** Passes requests on, byte for byte but for the faults it is told, and remembers them. */
export interface CountingProxy extends Omit<LoopbackServer, 'server'> {
  readonly requests: readonly PassedRequest[];
  /** Forgets what passed so far, and the faults that are left. */
  reset(): void;
  /** Plans what befalls the next answers whose path has this part: one fault each, in order. Bodies are those of GET. */
  befall(path: string, faults: readonly BodyFault[]): void;
}

/** Starts one before `target`, which is asked for its base URL anew for each request. */
export async function startCountingProxy(target: () => string): Promise<CountingProxy> {
  const requests: PassedRequest[] = [];
  const plans: FaultPlan[] = [];
  const next = (path: string, isMeant: (fault: BodyFault) => boolean): BodyFault | undefined => {
    const plan = plans.find(({ path: part, faults: [first] }) => path.includes(part) && first && isMeant(first));
    return plan?.faults.shift();
  };
  const agent = new Agent({ keepAlive: true });
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { method = '', url: path = '/', headers } = incoming;
    const passed: PassedRequest = { method, path, headers, status: 0, bytes: 0 };
    requests.push(passed);
    const refusal = next(path, (fault) => 'status' in fault);
    if (refusal !== undefined && 'status' in refusal) {
      passed.status = refusal.status;
      const code = refusal.status === 429 ? 'TOOMANYREQUESTS' : 'UNAVAILABLE';
      const body = JSON.stringify({ errors: [{ code, message: 'by a fault' }] });
      outgoing.writeHead(refusal.status, { ...refusal.headers, 'content-type': 'application/json' }).end(body);
      return;
    }
    const inner = forward(new URL(path, target()), { method, headers: incoming.rawHeaders, agent });
    inner.on('response', (answer) => {
      passed.status = answer.statusCode ?? 0;
      outgoing.writeHead(passed.status, answer.statusMessage, answer.rawHeaders);
      const isBody = method === 'GET' && passed.status < 300;
      void passBody(answer, outgoing, {
        fault: isBody ? next(path, (fault) => !('status' in fault)) : undefined,
        sent: (bytes) => {
          passed.bytes += bytes;
        },
      });
    });
    // Nobody behind us: to our client we are the registry, and a registry that is gone answers nothing.
    inner.on('error', () => outgoing.destroy());
    outgoing.on('close', () => inner.destroy());
    incoming.pipe(inner);
  };
  const server = await startLoopbackServer(pass);
  return {
    port: server.port,
    url: server.url,
    start: server.start,
    async stop() {
      await server.stop();
      agent.destroy();
    },
    requests,
    reset: () => {
      requests.length = 0;
      plans.length = 0;
    },
    befall: (path, faults) => void plans.push({ path, faults: [...faults] }),
  };
}
