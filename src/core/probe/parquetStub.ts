/**
 * Stands in for `@shanghaikid/parquetjs`, which the Milvus SDK loads for its bulk writer only; the bulk writer is not
 * used here. `esbuild.mjs` puts it in place.
 */
export {};
