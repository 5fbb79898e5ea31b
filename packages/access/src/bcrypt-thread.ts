// What a worker thread of ours runs: `new Worker` loads this file, nothing imports it.
import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';
import { type BcryptJob, runnerReady } from './bcrypt-runner.ts';

const port = parentPort;
port?.on('message', ({ password, hash }: BcryptJob) => port.postMessage(compareSync(password, hash)));
port?.postMessage(runnerReady);
