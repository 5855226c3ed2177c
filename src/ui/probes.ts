import type { ProbeReport, ProbeStage, Target } from '../core/model.ts';
import type { Disposable } from '../core/ports.ts';
import { Listeners } from './listeners.ts';
import type { ProbeView } from './panel/panelState.ts';
import { targetKey } from './targets.ts';

/** The connection tests of all releases: at most one runs for each, and the last report of each is kept. */
export class Probes implements Disposable {
  readonly #views = new Map<string, ProbeView>();
  readonly #running = new Map<string, AbortController>();
  readonly #changed = new Listeners<Target>();

  /** Undefined when the release was not tested yet. */
  view(target: Target): ProbeView | undefined {
    return this.#views.get(targetKey(target));
  }

  /** Called with the release whose test began, went on or ended. */
  onChange(listener: (target: Target) => void): Disposable {
    return this.#changed.add(listener);
  }

  /**
   * Runs a test and keeps its stages and report. A test of the same release that still runs is cancelled first.
   * Rejects when it was cancelled; the report before it then stands.
   */
  async run(
    target: Target,
    test: (onStage: (stage: ProbeStage) => void, signal: AbortSignal) => Promise<ProbeReport>,
  ): Promise<ProbeReport> {
    const key = targetKey(target);
    this.cancel(target);
    const abort = new AbortController();
    this.#running.set(key, abort);
    const last = this.#views.get(key)?.report;
    let stages: readonly ProbeStage[] = [];
    const tell = (view: ProbeView): void => {
      if (this.#running.get(key) !== abort) return;
      this.#views.set(key, view);
      this.#changed.fire(target);
    };
    tell({ running: true, stages, ...(last ? { report: last } : {}) });
    try {
      const report = await test((stage) => {
        stages = withStage(stages, stage);
        tell({ running: true, stages, ...(last ? { report: last } : {}) });
      }, abort.signal);
      abort.signal.throwIfAborted();
      tell({ running: false, stages: report.stages, report });
      return report;
    } catch (error) {
      tell({ running: false, stages: [], ...(last ? { report: last } : {}) });
      throw error;
    } finally {
      if (this.#running.get(key) === abort) this.#running.delete(key);
    }
  }

  /** Keeps the stages of a test that something else runs, such as the proof of a setup. */
  stage(target: Target, stage: ProbeStage): void {
    const view = this.view(target);
    const stages = withStage(view?.running === true ? view.stages : [], stage);
    this.#views.set(targetKey(target), { ...view, running: true, stages });
    this.#changed.fire(target);
  }

  /** Keeps the report of a test that something else ran; undefined when it ended without one. */
  report(target: Target, report: ProbeReport | undefined): void {
    const view = this.view(target);
    const kept = report ?? view?.report;
    this.#views.set(targetKey(target), {
      running: false,
      stages: kept?.stages ?? [],
      ...(kept ? { report: kept } : {}),
    });
    this.#changed.fire(target);
  }

  cancel(target: Target): void {
    this.#running.get(targetKey(target))?.abort();
  }

  dispose(): void {
    for (const abort of this.#running.values()) abort.abort();
    this.#changed.dispose();
  }
}

function withStage(stages: readonly ProbeStage[], stage: ProbeStage): readonly ProbeStage[] {
  const others = stages.filter((other) => other.id !== stage.id);
  return [...others, stage];
}
