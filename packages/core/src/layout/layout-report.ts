import type { Digest } from '../oci/digest.ts';
import type { WarmOptions } from '../pull/warm-report.ts';

/** Options of an export. */
export interface ExportLayoutOptions extends WarmOptions {
  /** Made where it is not there. An OCI image layout that is there already gets what it lacks. */
  directory: string;
}

/** Options of an import. */
export interface ImportLayoutOptions {
  /** An OCI image layout (OCI image-spec, image-layout.md). */
  directory: string;
  /**
   * What its images are: full references such as `docker-hub/library/alpine:3`, by their `org.opencontainers.image.ref.name`;
   * or one, for a layout of one image. Default: their names are full references.
   */
  as?: string | Readonly<Record<string, string>>;
  /** Ends it: images that are whole by then stay. */
  signal?: AbortSignal;
  /** Called after each manifest and blob, synchronously. What it throws is dropped. */
  onProgress?: (soFar: ImportProgress) => void;
}

/** How far an import has come. */
export interface ImportProgress {
  images: { total: number; done: number; failed: number };
  /** Manifests and blobs that were taken in, or were here. */
  contents: number;
  /** Bytes that were taken in. */
  bytes: number;
  durationMs: number;
}

/** What came of one image of a layout. */
export interface ImportedImage {
  /** What it is here; missing where nobody said. */
  reference?: string;
  digest: Digest;
  /**
   * `imported`: all of it that the layout has is stored, and served; `failed`: not all of it is stored. Nothing of it is served
   * then, but what the images after it left of it when they pushed it out.
   */
  outcome: 'imported' | 'failed';
  /** Bytes that were taken in for it. */
  bytes: number;
  error?: { code: string; message: string };
}

/** What came of it all. */
export interface ImportReport {
  /** In the order of `index.json`. */
  images: readonly ImportedImage[];
  failed: number;
  bytes: number;
  durationMs: number;
}
