import * as l10n from '@vscode/l10n';
import type { SetupDeps, SetupEvent, SetupResult } from '../core/loadbalancer/setup.ts';
import type { Intent, Step, Target } from '../core/model.ts';
import type { Disposable } from '../core/ports.ts';
import type { Core } from './core.ts';
import { Listeners } from './listeners.ts';
import { finished, planned, stopped, withLog, withPlan, withStep, type SetupProgress } from './panel/setupProgress.ts';
import type { Probes } from './probes.ts';

/** What a {@link SetupSession} works with. */
export interface SessionDeps {
  core: Pick<Core, 'planSetup' | 'runSetup' | 'stepDiff'>;
  setup: SetupDeps;
  probes: Probes;
}

/** One setup of one release in this window: its plan, and the run that carries it out. */
export class SetupSession implements Disposable {
  readonly target: Target;
  readonly intent: Intent;
  readonly #deps: SessionDeps;
  readonly #hold: Disposable;
  readonly #changed = new Listeners();
  #progress: SetupProgress;
  #run: AbortController | undefined;

  private constructor(deps: SessionDeps, target: Target, intent: Intent, progress: SetupProgress, hold: Disposable) {
    this.#deps = deps;
    this.target = target;
    this.intent = intent;
    this.#progress = progress;
    this.#hold = hold;
  }

  /**
   * Plans. Rejects when the cluster cannot be read. `hold` is let go of when the session is disposed of.
   */
  static async plan(
    deps: SessionDeps,
    target: Target,
    intent: Intent,
    hold: Disposable,
    signal?: AbortSignal,
  ): Promise<SetupSession> {
    try {
      const plan = await deps.core.planSetup(deps.setup, target, intent, signal);
      return new SetupSession(deps, target, intent, planned(plan), hold);
    } catch (error) {
      hold.dispose();
      throw error;
    }
  }

  get progress(): SetupProgress {
    return this.#progress;
  }

  /** URL of the API server that is written to. */
  get server(): string {
    return this.#deps.setup.cluster.server;
  }

  get deps(): SetupDeps {
    return this.#deps.setup;
  }

  get running(): boolean {
    return this.#run !== undefined;
  }

  /** Called after each change of {@link progress}. */
  onChange(listener: () => void): Disposable {
    return this.#changed.add(listener);
  }

  /** The texts to compare for one step; undefined when there is no such step or nothing to compare. */
  async diff(stepId: string, signal?: AbortSignal): Promise<Awaited<ReturnType<Core['stepDiff']>>> {
    const step = this.#progress.plan.steps.find((candidate) => candidate.id === stepId);
    return step && (await this.#deps.core.stepDiff(this.#deps.setup, step, signal));
  }

  /** Plans again from what is live now: the cluster may have changed since. */
  async planAgain(signal?: AbortSignal): Promise<void> {
    if (this.#run) return;
    const plan = await this.#deps.core.planSetup(this.#deps.setup, this.target, this.intent, signal);
    this.#set({ ...planned(plan), log: this.#progress.log });
  }

  /**
   * Carries the plan out. `force` names the steps that may take over fields of other managers. Resolves with how it
   * ended; undefined when it runs already.
   */
  async run(force: ReadonlySet<string> = new Set()): Promise<SetupResult | undefined> {
    if (this.#run) return undefined;
    const run = new AbortController();
    this.#run = run;
    this.#set({ ...this.#progress, phase: 'running', steps: new Map() });
    try {
      const result = await this.#deps.core.runSetup(this.#deps.setup, this.target, this.intent, {
        signal: run.signal,
        force,
        onEvent: (event) => {
          this.#take(event);
        },
      });
      this.#end(result);
      return result;
    } finally {
      this.#run = undefined;
      if (this.#deps.probes.view(this.target)?.running === true) this.#deps.probes.report(this.target, undefined);
      this.#changed.fire();
    }
  }

  /** Stops before the next write. */
  cancel(): void {
    if (!this.#run || this.#run.signal.aborted) return;
    this.#note(l10n.t('Cancelling: what is being written is finished first.'));
    this.#run.abort();
  }

  dispose(): void {
    this.#run?.abort();
    this.#changed.dispose();
    this.#hold.dispose();
  }

  #take(event: SetupEvent): void {
    switch (event.kind) {
      case 'plan':
        this.#set(withPlan(this.#progress, event.plan));
        break;
      case 'step':
        this.#takeStep(event.step, event.state, event.message);
        break;
      case 'probe':
        this.#deps.probes.stage(this.target, event.stage);
        break;
      case 'report':
        this.#deps.probes.report(this.target, event.report);
        break;
      case 'note':
        this.#note(event.text);
        break;
      case 'status':
        // The monitor of the release tells the same from the same watch.
        break;
    }
  }

  #takeStep(step: Step, state: 'running' | 'done' | 'failed', message: string | undefined): void {
    const failed = state === 'failed' && message !== undefined && message !== '' ? { error: message } : {};
    const next = withStep(this.#progress, step, { state, ...failed });
    this.#set(next);
    if (state === 'running') this.#note(step.title);
    if (state === 'failed') this.#note(message === undefined || message === '' ? l10n.t('Failed') : message);
  }

  #end(result: SetupResult): void {
    switch (result.outcome) {
      case 'proven':
        this.#set(finished(this.#progress));
        this.#note(l10n.t('Done: the connection is proven.'));
        break;
      case 'blocked':
        this.#set({ ...this.#progress, phase: 'planned' });
        break;
      case 'cancelled':
        this.#set(stopped(this.#progress, 'cancelled'));
        this.#note(l10n.t('Cancelled'));
        break;
      case 'failed':
        if (!result.step) this.#note(result.message);
        this.#set(stopped(this.#progress, 'failed'));
        break;
      case 'conflict':
        this.#set(stopped(this.#progress, 'failed'));
        break;
    }
  }

  #note(text: string): void {
    this.#set(withLog(this.#progress, this.#deps.setup.clock.now(), text));
  }

  #set(progress: SetupProgress): void {
    this.#progress = progress;
    this.#changed.fire();
  }
}
