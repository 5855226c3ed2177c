import { isMap, isScalar, parseAllDocuments, stringify, visit } from 'yaml';
import * as l10n from '@vscode/l10n';
import type { KubeObject, Step } from '../model.ts';
import { refOf } from './objectRef.ts';
import type { SetupDeps } from './setup.ts';

/** Two texts in YAML to compare: what is there and what the step would make of it. No private data. */
export interface StepDiff {
  title: string;
  live: string;
  wanted: string;
}

/** Whether a step changes something that can be compared. */
export function hasDiff(step: Step): boolean {
  return step.action.kind === 'apply' || step.action.kind === 'patchMilvus' || step.action.kind === 'helmUpgrade';
}

/**
 * What a step would change, as the API server or Helm tells in a dry run; nothing is written. Undefined for a step
 * without a diff. Throws {@link KubeError} or {@link HelmError}.
 */
export async function stepDiff(
  deps: Pick<SetupDeps, 'cluster' | 'helm'>,
  step: Step,
  signal?: AbortSignal,
): Promise<StepDiff | undefined> {
  const { action } = step;
  if (action.kind === 'apply' || action.kind === 'patchMilvus') {
    const { kind, metadata } = action.object;
    const [live, applied] = await Promise.all([
      deps.cluster.get(refOf(action.object), signal),
      // Forced: the diff is to show what would change; whether it may is asked when it is applied.
      deps.cluster.apply(action.object, { dryRun: true, force: true, ...(signal ? { signal } : {}) }),
    ]);
    return {
      title: l10n.t('{0} {1}', kind, metadata.name),
      live: live ? objectYaml(live) : '',
      wanted: objectYaml(applied.object),
    };
  }
  if (action.kind === 'helmUpgrade') {
    const { namespace, release } = action.upgrade;
    const [live, wanted] = await Promise.all([
      deps.helm.manifest(namespace, release, signal),
      deps.helm.dryRun(action.upgrade, signal),
    ]);
    return { title: l10n.t('Helm release {0}', release), live: redact(live), wanted: redact(wanted) };
  }
  return undefined;
}

/** An object as YAML without what the API server alone keeps. */
export function objectYaml(object: KubeObject): string {
  const {
    managedFields: _fields,
    resourceVersion: _version,
    uid: _uid,
    generation: _generation,
    creationTimestamp: _time,
    ...metadata
  } = object.metadata;
  return redact(stringify({ ...object, metadata }));
}

const hidden = '(not shown)';

/** Manifests without the contents of Secrets and without what looks like a password in a configuration text. */
export function redact(manifests: string): string {
  const documents = parseAllDocuments(manifests);
  if (!Array.isArray(documents)) return manifests;
  return documents
    .filter((document) => document.contents !== null)
    .map((document) => {
      const secret = document.get('kind') === 'Secret';
      visit(document, {
        Pair(_key, pair, path) {
          const name = isScalar(pair.key) ? pair.key.value : undefined;
          if (secret && path.length === 2 && (name === 'data' || name === 'stringData')) {
            hideValues(pair.value);
            return visit.SKIP;
          }
          return undefined;
        },
        Scalar(_key, scalar) {
          if (typeof scalar.value === 'string' && scalar.value.includes('\n')) scalar.value = redactText(scalar.value);
        },
      });
      return document.toString();
    })
    .join('---\n');
}

function hideValues(value: unknown): void {
  if (!isMap(value)) return;
  for (const pair of value.items) {
    if (isScalar(pair.value)) pair.value.value = hidden;
  }
}

/** Lines of a configuration whose key tells of a secret, such as `secretAccessKey: …`. */
function redactText(text: string): string {
  return text.replace(/^(\s*[\w.-]*(?:password|secret|token|accesskey)[\w.-]*\s*:[ \t]*)\S.*$/gim, `$1${hidden}`);
}
