/** What is measured, and how it is written. */
export const metrics = {
  requestsPerSecond: { title: 'requests/s', digits: 0 },
  throughput: { title: 'MiB/s', digits: 0 },
  wall: { title: 'wall ms', digits: 0 },
  p99: { title: 'p99 ms', digits: 2 },
  handlerMax: { title: 'worst ms', digits: 1 },
  loopP99: { title: 'loop delay p99 ms', digits: 2 },
  loopMax: { title: 'loop delay worst ms', digits: 1 },
  manifestFirstByte: { title: 'manifest, first byte ms', digits: 1 },
  firstByte: { title: 'first byte ms', digits: 1 },
  firstByteMax: { title: 'worst first byte ms', digits: 1 },
  cpuPerRequest: { title: 'CPU µs/request', digits: 1 },
  cpuPerGiB: { title: 'CPU s/GiB', digits: 2 },
  cpu: { title: 'CPU s', digits: 2 },
  startUp: { title: 'start ms', digits: 0 },
  startCpu: { title: 'start CPU s', digits: 2 },
  memory: { title: 'peak RSS MiB', digits: 0 },
  upstreamGets: { title: 'upstream blob GETs', digits: 0 },
  upstreamMiB: { title: 'upstream MiB', digits: 0 },
} as const;

export type Metric = keyof typeof metrics;
