import type { Intent, KubeObject, MilvusRelease, ObjectSet } from '../model.ts';
import { isRecord, json } from '../fields.ts';
import { names } from '../gke/objects.ts';

/** Annotation of our BackendConfig that keeps what the user chose, so that an interrupted setup goes on anywhere. */
export const intentAnnotation = 'milvus-layer7/intent';

/** Annotation of our BackendConfig that records the passed connection test; Layer 4 closes only after it. */
export const proofAnnotation = 'milvus-layer7/proven';

/** Record of a passed connection test. `at` is RFC 3339. */
export interface Proof {
  host: string;
  at: string;
}

/** Our BackendConfig of a release, where the intent and the proof are kept. */
export function ownBackendConfig(objects: ObjectSet, release: MilvusRelease): KubeObject | undefined {
  return objects.get('BackendConfig', release.namespace, names(release).backendConfig);
}

/** What an earlier setup of this release was asked for; undefined when there was none or it cannot be read. */
export function readIntent(objects: ObjectSet, release: MilvusRelease): Intent | undefined {
  const value = parseAnnotation(ownBackendConfig(objects, release), intentAnnotation);
  if (!value || typeof value.host !== 'string' || value.host === '') return undefined;
  const certificate = readCertificate(value.certificate);
  const address = readAddress(value.address);
  if (!certificate || !address) return undefined;
  return {
    host: value.host,
    certificate,
    address,
    restart: value.restart === 'release' ? 'release' : 'proxies',
    closeLayer4: value.closeLayer4 === true,
    ...(typeof value.sslPolicy === 'string' && value.sslPolicy !== '' ? { sslPolicy: value.sslPolicy } : {}),
  };
}

/** The recorded proof for this host name, if any. */
export function readProof(objects: ObjectSet, release: MilvusRelease, host: string): Proof | undefined {
  const value = parseAnnotation(ownBackendConfig(objects, release), proofAnnotation);
  return value?.host === host && typeof value.at === 'string' ? { host, at: value.at } : undefined;
}

function readCertificate(value: unknown): Intent['certificate'] | undefined {
  if (!isRecord(value)) return undefined;
  if (value.kind === 'managed') return { kind: 'managed' };
  if (value.kind === 'secret' && typeof value.name === 'string') return { kind: 'secret', name: value.name };
  if (value.kind === 'generate')
    return { kind: 'generate', keyType: value.keyType === 'rsa-2048' ? 'rsa-2048' : 'ecdsa-p256' };
  return undefined;
}

function readAddress(value: unknown): Intent['address'] | undefined {
  if (!isRecord(value)) return undefined;
  if (value.kind === 'ephemeral') return { kind: 'ephemeral' };
  if ((value.kind === 'static' || value.kind === 'reserve') && typeof value.name === 'string')
    return { kind: value.kind, name: value.name };
  return undefined;
}

function parseAnnotation(object: KubeObject | undefined, key: string): Record<string, unknown> | undefined {
  const value = json(object?.metadata.annotations?.[key]);
  return isRecord(value) ? value : undefined;
}
