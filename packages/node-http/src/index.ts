export { parseBasePath, stripBasePath } from './base-path.ts';
export { checkAdapter } from './check-adapter.ts';
export { createNodeHandler, type NodeHandler, type NodeHandlerOptions } from './node-handler.ts';
export { originForm } from './origin-form.ts';
export type { NodeExchange } from './read-request.ts';
export type { ParsedBody } from './request-body.ts';
export { serveExchange } from './serve-exchange.ts';
export { parseStalledFor } from './stalled-client.ts';
