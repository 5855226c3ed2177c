import * as vscode from 'vscode';

/** The user's settings. */
export interface Settings {
  /** Kubeconfig files; empty for kubectl's own rules. */
  kubeconfig: readonly string[];
  helmPath: string;
  /** Empty when the chart is to be found. */
  helmChart: string;
  gcloudPath: string;
  /** Folders searched before PATH. */
  path: readonly string[];
  dnsServers: readonly string[];
  testDeadlineMs: number;
  /** Empty for Google's default. */
  sslPolicy: string;
}

/** Prefix of all settings, commands and context keys. */
export const prefix = 'milvusLayer7';

/** Reads the settings as they are now. A value of the wrong type counts as not set. */
export function readSettings(): Settings {
  const configuration = vscode.workspace.getConfiguration(prefix);
  const text = (key: string, fallback = ''): string => {
    const value = configuration.get<unknown>(key);
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : fallback;
  };
  const list = (key: string): string[] => {
    const value = configuration.get<unknown>(key);
    return Array.isArray(value)
      ? (value as unknown[]).filter((item): item is string => typeof item === 'string' && item.trim() !== '')
      : [];
  };
  const deadline = configuration.get<unknown>('test.deadline');
  return {
    kubeconfig: list('kubeconfig'),
    helmPath: text('helm.path', 'helm'),
    helmChart: text('helm.chart'),
    gcloudPath: text('gcloud.path', 'gcloud'),
    path: list('path'),
    dnsServers: list('dns.servers'),
    testDeadlineMs: (typeof deadline === 'number' && deadline > 0 ? deadline : 30) * 1000,
    sslPolicy: text('sslPolicy'),
  };
}
