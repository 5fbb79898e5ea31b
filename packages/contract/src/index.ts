export { type AdapterCase, type AdapterHost, hostAnswer, type MountAdapter } from './adapter/adapter-case.ts';
export { adapterContract } from './adapter/adapter-contract.ts';
export { listenOnLoopback } from './adapter/listen.ts';
