/** What a setup may change in a release's Helm values: nothing else may differ. */
import { parse } from 'yaml';

export interface PlannedChange {
  mode: 'cluster' | 'standalone';
  restart: 'proxies' | 'release';
  closeLayer4: boolean;
}

interface Values {
  service?: { type?: string; annotations?: Record<string, string> };
  proxy?: { extraEnv?: { name: string; value: string }[] };
  standalone?: { extraEnv?: { name: string; value: string }[] };
  extraConfigFiles?: Record<string, string>;
}

/**
 * The values with the planned change taken back. Throws when a part of the change is missing. For `user.yaml` the lines
 * that were added are removed, so comments and order count too.
 */
export function withoutPlannedChange(values: unknown, change: PlannedChange): unknown {
  const copy = structuredClone(values) as Values;
  const annotations = copy.service?.annotations ?? {};
  for (const name of ['app-protocols', 'backend-config', 'neg']) {
    const key = `cloud.google.com/${name}`;
    if (annotations[key] === undefined) throw new Error(`service.annotations has no ${key}`);
    Reflect.deleteProperty(annotations, key);
  }
  if (change.closeLayer4 && copy.service) {
    if (copy.service.type !== 'ClusterIP') throw new Error(`service.type is ${copy.service.type ?? 'not set'}`);
    copy.service.type = 'LoadBalancer';
  }
  if (change.restart === 'proxies') {
    const component = change.mode === 'cluster' ? copy.proxy : copy.standalone;
    const env = component?.extraEnv ?? [];
    const settings = Object.fromEntries(env.map(({ name, value }) => [name, value]));
    if (settings.COMMON_SECURITY_TLSMODE !== '1') throw new Error(`extraEnv sets no tlsMode: ${JSON.stringify(env)}`);
    if (component)
      component.extraEnv = env.filter(({ name }) => !['COMMON_SECURITY_TLSMODE', 'PROXY_HTTP_PORT'].includes(name));
  } else if (copy.extraConfigFiles) {
    const text = copy.extraConfigFiles['user.yaml'] ?? '';
    const config = parse(text) as { common?: { security?: { tlsMode?: number } } };
    if (config.common?.security?.tlsMode !== 1) throw new Error(`user.yaml sets no tlsMode:\n${text}`);
    copy.extraConfigFiles['user.yaml'] = text
      .split('\n')
      .filter((line) => !/^\s*(security|http):$|^\s*(tlsMode: 1|port: 8080)$/.test(line))
      .join('\n');
  }
  return copy;
}
