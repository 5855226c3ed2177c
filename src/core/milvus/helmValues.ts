import * as l10n from '@vscode/l10n';
import { stringify } from 'yaml';
import { at, isRecord, text } from '../fields.ts';
import type { HelmUpgrade, MilvusRelease } from '../model.ts';
import type { HelmRelease } from '../ports.ts';
import { changeConfigYaml, configKey, readConfigYaml } from './configYaml.ts';
import type { ConfigChange } from './configYaml.ts';
import { environment, resolveConfig, restSharesPort, settingPaths } from './effectiveConfig.ts';
import type { ConfigLayer, EffectiveConfig } from './effectiveConfig.ts';
import { ValuesError } from './valuesError.ts';

export { ValuesError } from './valuesError.ts';

/** Port that REST gets when it can no longer share gRPC's. The Milvus Operator's own TLS sample uses it too. */
export const movedRestPort = 8080;

/** What the cut-over does. */
export interface CutOverOptions {
  /**
   * `proxies` sets the environment of the proxies, so that only they restart; `release` writes `user.yaml`, whose
   * checksum is on every pod of the release, so that all restart.
   */
  restart: 'proxies' | 'release';
  /** Annotations that the Service needs, so that they outlive a re-created Service. */
  serviceAnnotations: Readonly<Record<string, string>>;
  /** What the servers get today; used for what the values do not tell, that is with `customConfigMap`. */
  config?: EffectiveConfig;
}

type Values = Record<string, unknown>;
type Change = HelmUpgrade['changes'][number];

/**
 * The upgrade after which Milvus speaks TLS: `tlsMode` 1, the REST port moved off the gRPC port, the annotations also as
 * `service.annotations`. Undefined when the values already say so. All other values stay, also the entries of lists.
 *
 * The REST port moves for every version: from 2.4.13 on Milvus does not start otherwise, and older ones would silently
 * stop to serve REST and break at the next upgrade of their image. It is moved rather than REST disabled, because the web
 * UI and the API on 9091 need `proxy.http.enabled`.
 *
 * @throws ValuesError when `user.yaml` or a list cannot be read, and when `restart: 'release'` would have to change a
 *   `customConfigMap`.
 */
export function cutOverUpgrade(
  helm: HelmRelease,
  release: MilvusRelease,
  options: CutOverOptions,
): HelmUpgrade | undefined {
  const values = structuredClone(helm.values);
  const changes: Change[] = [];
  const component = release.mode === 'cluster' ? 'proxy' : 'standalone';
  const customConfigMap = text(at(values, 'customConfigMap'));
  const env = extraEnv(values, component);
  const config = resolveConfig([
    ...(customConfigMap === undefined ? [userYamlLayer(values)] : layersOf(options.config)),
    { source: `${component}.extraEnv`, settings: environment(env) },
  ]);

  const wanted: Setting[] = [
    ...(config.tlsMode === 1 ? [] : [{ path: settingPaths.tlsMode, value: 1 }]),
    ...(restSharesPort(config) ? [{ path: settingPaths.restPort, value: movedRestPort }] : []),
  ];
  if (wanted.length > 0) {
    // An entry in the environment wins over user.yaml, so it changes in either case.
    const inEnv = wanted.filter((setting) => options.restart === 'proxies' || hasEntry(env, setting.path));
    const inFile = wanted.filter((setting) => !inEnv.includes(setting));
    if (inEnv.length > 0) changeEnv(values, component, env, inEnv, changes);
    if (inFile.length > 0) {
      if (customConfigMap !== undefined)
        throw new ValuesError(
          l10n.t(
            'The release takes its configuration from ConfigMap {0} (customConfigMap), so Helm values cannot change it. Let only the proxies restart, or set {1} there.',
            customConfigMap,
            inFile.map(({ path, value }) => `${path}: ${value}`).join(', '),
          ),
        );
      changeUserYaml(values, inFile, changes);
    }
  }
  changeAnnotations(values, options.serviceAnnotations, changes);
  return changes.length === 0 ? undefined : upgrade(helm, values, changes);
}

/**
 * The upgrade that closes Layer 4: `service.type` ClusterIP, which touches the Service alone. Undefined when neither the
 * values nor the live Service say otherwise.
 */
export function closeLayer4Upgrade(helm: HelmRelease, release: MilvusRelease): HelmUpgrade | undefined {
  const type = 'ClusterIP';
  const values = structuredClone(helm.values);
  const inValues = at(values, 'service', 'type');
  const live = text(at(release.service, 'spec', 'type'));
  // The chart's default is ClusterIP; another live type without such a value was set by hand.
  if ((inValues ?? type) === type && (live ?? type) === type) return undefined;
  group(values, 'service').type = type;
  const from = typeof inValues === 'string' && inValues !== type ? inValues : live;
  return upgrade(helm, values, [{ path: 'service.type', ...(from === undefined ? {} : { from }), to: type }]);
}

interface Setting {
  path: string;
  value: number;
}

function upgrade(helm: HelmRelease, values: Values, changes: Change[]): HelmUpgrade {
  return {
    release: helm.name,
    namespace: helm.namespace,
    chartName: helm.chartName,
    chartVersion: helm.chartVersion,
    values: valuesYaml(values),
    changes,
  };
}

/**
 * Values as YAML that Helm reads back as they are. Keys and strings are quoted as in JSON: Helm reads YAML 1.1, where
 * `on`, `0777` or `1e3` would become something else. Characters that Go's YAML reader refuses or folds are escaped.
 */
export function valuesYaml(values: Readonly<Record<string, unknown>>): string {
  return stringify(values, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'QUOTE_DOUBLE',
    doubleQuotedAsJSON: true,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  }).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const userYamlFile = 'user.yaml';

function userYaml(values: Values): string {
  const file = at(values, 'extraConfigFiles', userYamlFile);
  if (file === undefined || file === null) return '';
  if (typeof file !== 'string')
    throw new ValuesError(
      l10n.t('The value {0} is no text, so the chart cannot use it.', 'extraConfigFiles."user.yaml"'),
    );
  return file;
}

function userYamlLayer(values: Values): ConfigLayer {
  return { source: userYamlFile, settings: readConfigYaml(userYaml(values), 'extraConfigFiles."user.yaml"') };
}

/** What is known of a configuration that is not in the values. */
function layersOf(config: EffectiveConfig | undefined): ConfigLayer[] {
  if (!config) return [];
  const settings = new Map([
    [configKey(settingPaths.tlsMode), String(config.tlsMode)],
    [configKey(settingPaths.restEnabled), String(config.restEnabled)],
  ]);
  if (config.restPort !== undefined) settings.set(configKey(settingPaths.restPort), String(config.restPort));
  return [{ source: '', settings }];
}

function changeUserYaml(values: Values, settings: readonly Setting[], changes: Change[]): void {
  const path = `extraConfigFiles."${userYamlFile}"`;
  const before = userYaml(values);
  const present = readConfigYaml(before, path);
  const wanted: ConfigChange[] = settings.map((setting) => ({ path: setting.path.split('.'), value: setting.value }));
  group(values, 'extraConfigFiles')[userYamlFile] = changeConfigYaml(before, wanted, path);
  for (const setting of settings) {
    const from = present.get(configKey(setting.path));
    changes.push({
      path: `${path}.${setting.path}`,
      ...(from === undefined ? {} : { from }),
      to: String(setting.value),
    });
  }
}

function extraEnv(values: Values, component: string): readonly unknown[] {
  const env = at(values, component, 'extraEnv');
  if (env === undefined || env === null) return [];
  if (!Array.isArray(env))
    throw new ValuesError(l10n.t('The value {0} is no list, so the chart cannot use it.', `${component}.extraEnv`));
  return env as unknown[];
}

function isEntryOf(entry: unknown, path: string): boolean {
  const name = text(at(entry, 'name'));
  return name !== undefined && configKey(name) === configKey(path);
}

function hasEntry(env: readonly unknown[], path: string): boolean {
  return env.some((entry) => isEntryOf(entry, path));
}

/** The environment variable of a setting, such as `COMMON_SECURITY_TLSMODE`. */
function variable(path: string): string {
  return path.toUpperCase().replaceAll('.', '_');
}

function changeEnv(
  values: Values,
  component: string,
  env: readonly unknown[],
  settings: readonly Setting[],
  changes: Change[],
): void {
  let entries = [...env];
  for (const { path, value } of settings) {
    const present = entries.filter((entry) => isEntryOf(entry, path));
    const name = text(at(present[0], 'name')) ?? variable(path);
    entries =
      present.length === 0
        ? [...entries, { name, value: String(value) }]
        : entries.map((entry) => (isEntryOf(entry, path) ? { name: at(entry, 'name'), value: String(value) } : entry));
    const from = at(present.at(-1), 'value');
    changes.push({
      path: `${component}.extraEnv.${name}`,
      ...(typeof from === 'string' ? { from } : present.length > 0 ? { from: 'valueFrom' } : {}),
      to: String(value),
    });
  }
  group(values, component).extraEnv = entries;
}

function changeAnnotations(values: Values, wanted: Readonly<Record<string, string>>, changes: Change[]): void {
  for (const [key, to] of Object.entries(wanted)) {
    const from = at(values, 'service', 'annotations', key);
    if (from === to) continue;
    const service = group(values, 'service');
    group(service, 'annotations', 'service.annotations')[key] = to;
    changes.push({
      path: `service.annotations."${key}"`,
      ...(typeof from === 'string' ? { from } : {}),
      to,
    });
  }
}

/** The map under a key, made where there is none or null. */
function group(values: Values, key: string, path = key): Values {
  const present = Object.hasOwn(values, key) ? values[key] : undefined;
  if (isRecord(present)) return present;
  if (present !== undefined && present !== null)
    throw new ValuesError(l10n.t('The value {0} is no group of values, so the chart cannot use it.', path));
  const made: Values = {};
  values[key] = made;
  return made;
}
