/**
 * The Milvus SDK, loaded on the first connection test.
 */
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { logger, MilvusClient } from '@zilliz/milvus2-sdk-node';

// Both log to the console of the process that they run in.
logger.silent = true;
setLogVerbosity(logVerbosity.NONE);

export { MilvusClient };
