/**
 * Stage 6 of the connection test: which Milvus is it, is it healthy, and can its data be read?
 */
import * as l10n from '@vscode/l10n';
import { explainGrpcError, grpcCode, grpcError, isRecord, type Greeting } from './grpc.ts';
import type { MilvusCalls } from './milvusClient.ts';
import { failed, passed, type Outcome, type ProbeFailure } from './outcome.ts';

export interface MilvusFacts {
  version?: string;
  entities?: { collection: string; count: number };
  needsCredentials?: boolean;
}

/** Collections that are counted before the search for a non-empty one ends. */
const maxCollections = 50;
const defaultDatabase = 'default';

/**
 * Reads version and health and, when asked, counts the entities of the first collection that holds any. Without
 * credentials that Milvus wants, the stage is skipped: the path is proven.
 */
export async function milvusStage(
  milvus: MilvusCalls,
  greeting: Greeting,
  options: { host: string; credentialsGiven: boolean; readEntities: boolean },
  signal: AbortSignal,
): Promise<Outcome<MilvusFacts>> {
  if (greeting.kind === 'unauthenticated') return unauthenticated(greeting.reason, options.credentialsGiven);
  if (greeting.kind === 'connected') {
    const refusal = statusError(greeting.response);
    if (refusal !== undefined) return failed(refused(refusal));
  }
  try {
    const version = await readVersion(milvus, greeting);
    const health = await milvus.checkHealth();
    const reasons = isRecord(health) && Array.isArray(health.reasons) ? health.reasons.map(String) : [];
    if (isRecord(health) && health.isHealthy === false && isRecord(health.status))
      return { ...failed(unhealthy(statusError(health) ?? reasons.join('; '))), value: withVersion(version) };
    const entities = options.readEntities ? await readEntities(milvus) : undefined;
    const detail = [
      version === undefined ? l10n.t('Milvus of an unknown version') : l10n.t('Milvus {0}', version),
      isRecord(health) && health.isHealthy === true ? l10n.t('healthy') : l10n.t('tells no health'),
      ...(entities === undefined ? [] : [entities.detail]),
    ].join(', ');
    return passed(detail, {
      ...withVersion(version),
      ...(entities?.found === undefined ? {} : { entities: entities.found }),
    });
  } catch (error) {
    signal.throwIfAborted();
    const { code, details } = grpcError(error);
    if (code === grpcCode.unauthenticated) return unauthenticated(details, options.credentialsGiven);
    return failed({ ...explainGrpcError(error, options.host), expected: expectedMilvus() });
  }
}

/** The failure when Milvus did not answer in time. */
export function milvusTimeout(actual: string): ProbeFailure {
  return {
    expected: expectedMilvus(),
    actual,
    cause: l10n.t(
      'Milvus takes connections but does not answer: it waits for etcd, its message queue, its storage or a coordinator.',
    ),
    fix: { kind: 'advice', text: l10n.t('Check the pods of Milvus and of what it depends on, and their logs.') },
  };
}

function expectedMilvus(): string {
  return l10n.t('a healthy Milvus');
}

function withVersion(version: string | undefined): MilvusFacts {
  return version === undefined ? {} : { version };
}

function unauthenticated(reason: string, credentialsGiven: boolean): Outcome<MilvusFacts> {
  if (!credentialsGiven)
    return {
      state: 'skipped',
      detail: l10n.t('The connection works; Milvus wants a user name and password to go on.'),
      value: { needsCredentials: true },
    };
  return {
    ...failed({
      expected: l10n.t('Milvus accepts the credentials'),
      actual: reason,
      cause: l10n.t('The user name and password, or the token, are not those of Milvus.'),
      fix: { kind: 'advice', text: l10n.t('Enter the credentials again. The connection itself works.') },
    }),
    value: { needsCredentials: true },
  };
}

function refused(reason: string): ProbeFailure {
  return {
    expected: expectedMilvus(),
    actual: reason,
    cause: l10n.t('Milvus was reached but refused to connect: it is still starting, or the database does not exist.'),
    fix: { kind: 'advice', text: l10n.t('Check the Milvus pods, and run the test again when they are ready.') },
  };
}

function unhealthy(reasons: string): ProbeFailure {
  return {
    expected: expectedMilvus(),
    actual: reasons === '' ? l10n.t('Milvus says that it is not healthy') : l10n.t('not healthy: {0}', reasons),
    cause: l10n.t('Milvus was reached; a part of it, or something it depends on, does not work.'),
    fix: { kind: 'advice', text: l10n.t('Check the pods of Milvus and of what it depends on, and their logs.') },
  };
}

/** The version as Milvus builds report it: `GetVersion`, else the build tags told by `Connect`; both may be empty. */
async function readVersion(milvus: MilvusCalls, greeting: Greeting): Promise<string | undefined> {
  const answer = await milvus.getVersion();
  const serverInfo = greeting.kind === 'connected' ? greeting.response.server_info : undefined;
  const candidates = [
    isRecord(answer) ? answer.version : undefined,
    isRecord(serverInfo) ? serverInfo.build_tags : undefined,
  ];
  const version = candidates.find((value): value is string => typeof value === 'string' && value !== '');
  return version?.replace(/^v(?=\d)/, '');
}

/** Reason of an answer whose Milvus status tells an error; undefined when it tells none. */
function statusError(answer: unknown): string | undefined {
  const status = isRecord(answer) && isRecord(answer.status) ? answer.status : answer;
  if (!isRecord(status)) return undefined;
  const { error_code, code, reason } = status;
  const fine = (error_code === undefined || error_code === 'Success') && Number(code ?? 0) === 0;
  if (fine) return undefined;
  return typeof reason === 'string' && reason !== '' ? reason : `${String(error_code)} (${String(code)})`;
}

interface EntitiesRead {
  found?: { collection: string; count: number };
  /** Localised. */
  detail: string;
}

/** Not being allowed to read is told, and is no failure of the connection. */
async function readEntities(milvus: MilvusCalls): Promise<EntitiesRead> {
  let seen = 0;
  let refusal: string | undefined;
  for (const database of await databases(milvus)) {
    const list = await milvus.showCollections(database);
    refusal ??= statusError(list);
    for (const collection of collectionNames(list)) {
      if (seen === maxCollections) break;
      seen += 1;
      const count = await countEntities(milvus, database, collection);
      if (typeof count === 'string') refusal ??= count;
      else if (count > 0) {
        const name = database === defaultDatabase ? collection : `${database}.${collection}`;
        return { found: { collection: name, count }, detail: l10n.t('{0} entities in collection {1}', count, name) };
      }
    }
  }
  if (refusal !== undefined) return { detail: l10n.t('no entities read: {0}', refusal) };
  return { detail: seen === 0 ? l10n.t('no collection yet') : l10n.t('no entities in {0} collections', seen) };
}

/** The default database first. Servers before 2.2.9 know only that. */
async function databases(milvus: MilvusCalls): Promise<string[]> {
  const answer = await milvus.listDatabases();
  const names = isRecord(answer) && Array.isArray(answer.db_names) ? answer.db_names.map(String) : [];
  return [defaultDatabase, ...names.filter((name) => name !== defaultDatabase)];
}

function collectionNames(answer: unknown): string[] {
  if (!isRecord(answer) || !Array.isArray(answer.collection_names)) return [];
  return answer.collection_names.map(String);
}

/**
 * How many entities a collection holds, or why that cannot be read. `count(*)` is a query and sees every entity, but
 * needs the collection loaded; the statistics do not, but see only what is flushed.
 */
async function countEntities(milvus: MilvusCalls, database: string, collection: string): Promise<number | string> {
  const counted = await milvus.countEntities(database, collection);
  const queryError = statusError(counted);
  if (queryError === undefined && isRecord(counted) && Array.isArray(counted.data)) {
    const [row] = counted.data as unknown[];
    const count = isRecord(row) ? Number(row['count(*)']) : Number.NaN;
    if (Number.isFinite(count)) return count;
  }
  const statistics = await milvus.getStatistics(database, collection);
  const statisticsError = statusError(statistics);
  if (statisticsError !== undefined) return statisticsError;
  const data = isRecord(statistics) ? statistics.data : undefined;
  const rows = isRecord(data) ? Number(data.row_count) : Number.NaN;
  return Number.isFinite(rows) ? rows : (queryError ?? l10n.t('Milvus told no count'));
}
