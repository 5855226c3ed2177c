import type { KubeObject, MilvusRelease, ObjectSet } from '../model.ts';
import { at, isRecord, items, number, text } from '../fields.ts';

/** A pod that serves gRPC clients. */
export interface ServerPod {
  name: string;
  ready: boolean;
  /** Why its container waits or ended, when it does not run. */
  crash?: string;
}

/** How far the Deployments that serve gRPC clients have been rolled out. */
export interface Rollout {
  wanted: number;
  /** Pods of the newest template that are ready. */
  updated: number;
  /** Every pod is of the newest template and ready, and no older one is left. */
  complete: boolean;
  /** When the newest progress was made (RFC 3339). */
  since?: string;
  crash?: { pod: string; message: string };
}

/** The pods behind the client Service, without those that are ending. */
export function serverPods(objects: ObjectSet, release: MilvusRelease): ServerPod[] {
  const selector = at(release.service, 'spec', 'selector');
  if (!isRecord(selector) || Object.keys(selector).length === 0) return [];
  return objects
    .list('Pod', release.namespace)
    .filter((pod) => pod.metadata.deletionTimestamp === undefined)
    .filter((pod) => Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value))
    .map((pod) => ({ name: pod.metadata.name, ready: conditionIsTrue(pod, 'Ready'), ...crashOf(pod) }));
}

/** Reads the roll-out from the Deployments' status, as `kubectl rollout status` does (kubernetes/kubectl pkg/polymorphichelpers/rollout_status.go). */
export function rolloutOf(objects: ObjectSet, release: MilvusRelease): Rollout {
  const rollout: Rollout = { wanted: 0, updated: 0, complete: true };
  for (const known of release.servers) {
    const deployment = objects.get('Deployment', release.namespace, known.metadata.name) ?? known;
    const status = (name: string): number => number(at(deployment, 'status', name)) ?? 0;
    const wanted = number(at(deployment, 'spec', 'replicas')) ?? 1;
    const updated = Math.min(status('updatedReplicas'), status('availableReplicas'));
    const seen = status('observedGeneration') >= (deployment.metadata.generation ?? 0);
    rollout.wanted += wanted;
    rollout.updated += seen ? updated : 0;
    if (!seen || updated < wanted || status('replicas') > status('updatedReplicas')) rollout.complete = false;
    const progressing = items(at(deployment, 'status', 'conditions')).find(
      (condition) => text(at(condition, 'type')) === 'Progressing',
    );
    const since = text(at(progressing, 'lastUpdateTime'));
    if (since !== undefined && (rollout.since === undefined || since > rollout.since)) rollout.since = since;
  }
  const crashed = serverPods(objects, release).find((pod) => pod.crash !== undefined);
  if (crashed?.crash !== undefined) rollout.crash = { pod: crashed.name, message: crashed.crash };
  return rollout;
}

function conditionIsTrue(object: KubeObject, type: string): boolean {
  return items(at(object, 'status', 'conditions')).some(
    (condition) => text(at(condition, 'type')) === type && text(at(condition, 'status')) === 'True',
  );
}

function crashOf(pod: KubeObject): { crash?: string } {
  for (const container of items(at(pod, 'status', 'containerStatuses'))) {
    const reason = text(at(container, 'state', 'waiting', 'reason'));
    if (
      reason === 'CrashLoopBackOff' ||
      reason === 'ImagePullBackOff' ||
      reason === 'ErrImagePull' ||
      reason === 'CreateContainerConfigError'
    ) {
      const message =
        text(at(container, 'lastState', 'terminated', 'message')) ?? text(at(container, 'state', 'waiting', 'message'));
      return { crash: message === undefined ? reason : `${reason}: ${message.trim()}` };
    }
  }
  return {};
}
