// A primary of node:cluster that serves a coordinator, and its workers, each with coordinators of its own that do as they
// are told from outside: `fork('coordinating-worker.mjs')`, then messages { worker, ... } by IPC.
import cluster from 'node:cluster';
import { clusterCoordinator, serveClusterCoordinator } from '@proxycache/core/cluster';

if (cluster.isPrimary) {
  serveClusterCoordinator();
  process.on('message', ({ worker, ...order }) => {
    if (order.do === 'fork') {
      const worker = cluster.fork();
      // Before it listens, what it is told would be lost.
      const ready = { order: order.id, value: { id: worker.id, pid: worker.process.pid } };
      worker.once('message', () => process.send(ready));
    } else cluster.workers[worker]?.send(order);
  });
  cluster.on('message', (_worker, message) => {
    if (message.proxycache === undefined && message.ready === undefined) process.send(message);
  });
} else {
  const coordinators = new Map();
  const leases = new Map();
  const subscriptions = new Map();

  const coordinatorOf = (name) => {
    const found = coordinators.get(name) ?? clusterCoordinator({ name, answerWithin: '5s' });
    coordinators.set(name, found);
    return found;
  };

  const todo = {
    async acquire({ name, key, options, lease: id }) {
      const lease = await coordinatorOf(name).acquire(key, { ...options, signal: new AbortController().signal });
      if (!lease) return undefined;
      leases.set(id, lease);
      if (lease.lost.aborted) process.send({ lost: id });
      lease.lost.addEventListener('abort', () => process.send({ lost: id }));
      return lease.token;
    },
    release: ({ lease }) => leases.get(lease).release(),
    holder: ({ name, key }) => coordinatorOf(name).holder(key),
    publish: ({ name, channel, message }) => coordinatorOf(name).publish(channel, message),
    async subscribe({ name, channel, subscription }) {
      const end = coordinatorOf(name).subscribe(channel, (message) => process.send({ subscription, message }));
      subscriptions.set(subscription, end);
    },
    unsubscribe: async ({ subscription }) => subscriptions.get(subscription)(),
    close: async ({ name }) => await coordinators.get(name)?.close(),
  };

  process.on('message', (order) => {
    if (order.do === undefined) return;
    todo[order.do](order).then(
      (value) => process.send({ order: order.id, value }),
      (error) => process.send({ order: order.id, problem: error.code }),
    );
  });
  process.send({ ready: true });
}
