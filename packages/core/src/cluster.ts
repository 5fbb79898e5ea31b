// What `@proxycache/core/cluster` gives: apart from the rest, so that only who uses node:cluster loads it.
export {
  type ClusterCoordinator,
  type ClusterCoordinatorOptions,
  clusterCoordinator,
} from './store/cluster-coordinator.ts';
export { type ServeClusterCoordinatorOptions, serveClusterCoordinator } from './store/serve-cluster-coordinator.ts';
