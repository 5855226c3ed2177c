import * as l10n from '@vscode/l10n';
import { at, items, text } from '../fields.ts';
import type { KubeObject, MilvusRelease, ObjectSet } from '../model.ts';
import { configKey, readConfigYaml } from './configYaml.ts';
import { compareVersions, grpcPort, milvusContainer } from './releases.ts';

/** What Milvus' servers are configured to do, as far as the objects tell. */
export interface EffectiveConfig {
  /** 0: plain gRPC; 1: TLS; 2: TLS that also asks clients for a certificate. */
  tlsMode: 0 | 1 | 2;
  restEnabled: boolean;
  /** Port of its own for REST; absent when REST shares the gRPC port. */
  restPort?: number;
  authorizationEnabled: boolean;
  /** Where each setting comes from, by its dotted path in milvus.yaml. Localised. */
  source: Readonly<Record<SettingPath, string>>;
  /** Name of the ConfigMap that the user gave in place of the chart's. */
  customConfigMap?: string;
}

/** The settings that the product reads. */
export type SettingPath = (typeof settingPaths)[keyof typeof settingPaths];

/** Paths in milvus.yaml (milvus-io/milvus `configs/milvus.yaml`). */
export const settingPaths = {
  tlsMode: 'common.security.tlsMode',
  authorizationEnabled: 'common.security.authorizationEnabled',
  restEnabled: 'proxy.http.enabled',
  restPort: 'proxy.http.port',
} as const;

/** A layer of settings, by {@link configKey}, and where it comes from. */
export interface ConfigLayer {
  source: string;
  settings: ReadonlyMap<string, string>;
}

/**
 * The configuration that the servers of a release get: Milvus' own defaults, then `default.yaml`, `user.yaml`, then the
 * environment of the container, the later over the earlier (milvus-io/milvus `pkg/config`; etcd, above all of these, is
 * not visible here). Pods may still run with an older one until they are replaced.
 */
export function effectiveConfig(objects: ObjectSet, release: MilvusRelease): EffectiveConfig {
  const [server] = release.servers;
  const map = server && configMapOf(server);
  const layers: ConfigLayer[] = [];
  if (server) {
    for (const file of configFiles(server)) {
      const settings = settingsOf(objects.get('ConfigMap', release.namespace, file.configMap), file.key);
      if (settings) layers.push({ source: l10n.t('ConfigMap {0}, {1}', file.configMap, file.key), settings });
    }
    layers.push({
      source: l10n.t('environment of Deployment {0}', server.metadata.name),
      settings: environment(items(milvusContainer(server).env)),
    });
  }
  const custom = release.installer === 'helm' && map !== undefined && map !== release.service.metadata.name;
  return { ...resolveConfig(layers), ...(custom ? { customConfigMap: map } : {}) };
}

/** Resolves layers of settings; a later one wins. Values that Milvus could not read count as absent. */
export function resolveConfig(layers: readonly ConfigLayer[]): Omit<EffectiveConfig, 'customConfigMap'> {
  const byDefault = l10n.t('default of Milvus');
  const resolve = (path: string): { value?: string; source: string } => {
    for (const layer of [...layers].reverse()) {
      const value = layer.settings.get(configKey(path));
      if (value !== undefined) return { value, source: layer.source };
    }
    return { source: byDefault };
  };
  const tlsMode = resolve(settingPaths.tlsMode);
  const authorizationEnabled = resolve(settingPaths.authorizationEnabled);
  const restEnabled = resolve(settingPaths.restEnabled);
  const restPort = resolve(settingPaths.restPort);
  const port = Number(restPort.value ?? '');
  return {
    tlsMode: tlsMode.value === '1' ? 1 : tlsMode.value === '2' ? 2 : 0,
    restEnabled: boolean(restEnabled.value) ?? true,
    ...(Number.isInteger(port) && port > 0 && port !== grpcPort ? { restPort: port } : {}),
    authorizationEnabled: boolean(authorizationEnabled.value) ?? false,
    source: {
      [settingPaths.tlsMode]: tlsMode.source,
      [settingPaths.authorizationEnabled]: authorizationEnabled.source,
      [settingPaths.restEnabled]: restEnabled.source,
      [settingPaths.restPort]: restPort.source,
    },
  };
}

/** As Go's strconv.ParseBool, which Milvus uses. */
function boolean(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)) return true;
  return ['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value) ? false : undefined;
}

/** Whether REST and gRPC share one port, which only works without TLS. */
export function restSharesPort(config: Pick<EffectiveConfig, 'restEnabled' | 'restPort'>): boolean {
  return config.restEnabled && config.restPort === undefined;
}

/**
 * Whether Milvus refuses to start with TLS while REST shares the gRPC port; before 2.4.13 it silently served no REST
 * (milvus-io/milvus `internal/distributed/proxy/listener_manager.go`, issue 46312). An unknown version counts as new.
 */
export function restConflictIsFatal(version: string | undefined): boolean {
  return version === undefined || compareVersions(version, '2.4.13') >= 0;
}

/** The settings in a container's environment, by {@link configKey}. An entry with `valueFrom` is not readable here. */
export function environment(env: readonly unknown[]): Map<string, string> {
  const settings = new Map<string, string>();
  for (const entry of env) {
    const name = text(at(entry, 'name'));
    const value = at(entry, 'value');
    if (name !== undefined && typeof value === 'string') settings.set(configKey(name), value);
  }
  return settings;
}

/** Settings of the files seen so far. Objects never change, and a status is computed after each change of any object. */
const parsed = new WeakMap<KubeObject, Map<string, ReadonlyMap<string, string>>>();

function settingsOf(configMap: KubeObject | undefined, key: string): ReadonlyMap<string, string> | undefined {
  const yaml = text(at(configMap, 'data', key));
  if (!configMap || yaml === undefined) return undefined;
  const files = parsed.get(configMap) ?? new Map<string, ReadonlyMap<string, string>>();
  parsed.set(configMap, files);
  const settings = files.get(key) ?? readable(yaml);
  files.set(key, settings);
  return settings;
}

/** A file that is no YAML sets nothing here; Milvus does not start with it. */
function readable(yaml: string): ReadonlyMap<string, string> {
  try {
    return readConfigYaml(yaml, '');
  } catch {
    return new Map();
  }
}

/** The ConfigMap whose files are mounted as Milvus' configuration. */
function configMapOf(server: KubeObject): string | undefined {
  return configFiles(server).at(-1)?.configMap;
}

/** The files mounted over Milvus' configuration, in the order in which Milvus reads them. */
function configFiles(server: KubeObject): { configMap: string; key: string }[] {
  const volumes = new Map<string, string>();
  for (const volume of items(at(server, 'spec', 'template', 'spec', 'volumes'))) {
    const name = text(at(volume, 'name'));
    const configMap = text(at(volume, 'configMap', 'name'));
    if (name !== undefined && configMap !== undefined) volumes.set(name, configMap);
  }
  const order = ['milvus.yaml', 'default.yaml', 'user.yaml'];
  const files: { configMap: string; key: string; rank: number }[] = [];
  for (const mount of items(milvusContainer(server).volumeMounts)) {
    const file = /^\/milvus\/configs\/([^/]+)$/.exec(text(at(mount, 'mountPath')) ?? '')?.[1];
    const configMap = volumes.get(text(at(mount, 'name')) ?? '');
    const rank = order.indexOf(file ?? '');
    if (file === undefined || configMap === undefined || rank < 0) continue;
    files.push({ configMap, key: text(at(mount, 'subPath')) ?? file, rank });
  }
  return files.sort((a, b) => a.rank - b.rank);
}
