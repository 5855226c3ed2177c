/**
 * The Milvus SDK, loaded on the first connection test.
 */
import { logger, MilvusClient } from '@zilliz/milvus2-sdk-node';

// It logs to the console of the process it runs in.
logger.silent = true;

export { MilvusClient };
