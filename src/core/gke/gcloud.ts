import * as l10n from '@vscode/l10n';
import { at, items, json, text } from '../fields.ts';
import type { Gcloud, GlobalAddress } from '../ports.ts';
import { lastLines, ProcessError } from '../process.ts';
import type { Run, RunResult } from '../process.ts';

/** What gcloud refused. The message is localised and says what to do. */
export class GcloudError extends Error {
  override readonly name = 'GcloudError';
}

/** The project in the name that `gcloud container clusters get-credentials` gives a context: `gke_PROJECT_LOCATION_NAME`. */
export function projectOfContext(context: string): string | undefined {
  return /^gke_([^_]+)_[^_]+_.+$/.exec(context)?.[1];
}

/**
 * The user's `gcloud`.
 *
 * @param project project of the cluster; gcloud's own configured one when absent.
 * @param file name or path of the program.
 */
export function createGcloud(run: Run, project?: string, file = 'gcloud'): Gcloud {
  const call = async (args: readonly string[], signal: AbortSignal | undefined): Promise<RunResult> =>
    run(
      file,
      [
        'compute',
        'addresses',
        ...args,
        '--global',
        '--format=json',
        ...(project === undefined ? [] : [`--project=${project}`]),
      ],
      {
        // A question would wait for an answer for ever.
        env: { CLOUDSDK_CORE_DISABLE_PROMPTS: '1' },
        timeoutMs: 120_000,
        ...(signal ? { signal } : {}),
      },
    );

  const list = async (signal: AbortSignal | undefined): Promise<GlobalAddress[]> => {
    const result = await call(['list'], signal);
    if (result.exitCode !== 0) throw new GcloudError(explain(result, l10n.t('list the addresses'), project));
    return readAddresses(result.stdout);
  };

  return {
    addresses: async (signal) => {
      try {
        return await list(signal);
      } catch (error) {
        if (error instanceof ProcessError && error.reason === 'missing') return undefined;
        throw asGcloudError(error);
      }
    },
    reserveAddress: async (name, signal) => {
      if (!/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
        throw new GcloudError(
          l10n.t(
            '"{0}" is no name for an address: lower-case letters, digits and hyphens, at most 63, a letter first.',
            name,
          ),
        );
      try {
        const result = await call(['create', name], signal);
        const made = result.exitCode === 0 ? readAddresses(result.stdout) : [];
        const found = made.find((address) => address.name === name);
        if (found) return found;
        const exists = /already exists/i.test(result.stderr);
        if (result.exitCode !== 0 && !exists)
          throw new GcloudError(explain(result, l10n.t('reserve the address {0}', name), project));
        // An interrupted setup has reserved it already, or this gcloud prints no resource.
        const present = (await list(signal)).find((address) => address.name === name);
        if (present) return present;
        throw new GcloudError(l10n.t('gcloud reserved the address {0}, but does not list it.', name));
      } catch (error) {
        throw asGcloudError(error);
      }
    },
  };
}

function asGcloudError(error: unknown): unknown {
  return error instanceof ProcessError ? new GcloudError(error.message, { cause: error }) : error;
}

/** The external IPv4 addresses; a load balancer of GKE Ingress cannot use others. */
function readAddresses(stdout: string): GlobalAddress[] {
  const found: GlobalAddress[] = [];
  const output = json(stdout);
  for (const entry of Array.isArray(output) ? items(output) : [output]) {
    const name = text(at(entry, 'name'));
    const address = text(at(entry, 'address'));
    const external = (at(entry, 'addressType') ?? 'EXTERNAL') === 'EXTERNAL';
    const ipv4 = (at(entry, 'ipVersion') ?? 'IPV4') === 'IPV4';
    if (name !== undefined && address !== undefined && external && ipv4)
      found.push({ name, address, status: text(at(entry, 'status')) ?? '' });
  }
  return found;
}

function explain(result: RunResult, doing: string, project: string | undefined): string {
  const said = lastLines(result.stderr);
  const where = project ?? l10n.t('the configured project');
  if (
    /do not currently have an active account|Reauthentication|refreshing your current auth tokens|gcloud auth login/i.test(
      said,
    )
  )
    return l10n.t('gcloud cannot {0}: it is not logged in. Run "gcloud auth login". gcloud says: {1}', doing, said);
  if (/QUOTA_EXCEEDED|Quota '[^']*' exceeded/i.test(said))
    return l10n.t(
      'gcloud cannot {0}: the quota of {1} is used up. Delete an unused address, or ask for more quota. gcloud says: {2}',
      doing,
      where,
      said,
    );
  if (/PERMISSION_DENIED|Required '[^']*' permission|does not have permission|forbidden/i.test(said))
    return l10n.t(
      'gcloud cannot {0}: the account has no permission for it in {1}; the role Compute Network Admin has it. gcloud says: {2}',
      doing,
      where,
      said,
    );
  if (/property \[project\]|required property \[project\]|The project property/i.test(said))
    return l10n.t(
      'gcloud cannot {0}: it knows no project. Run "gcloud config set project PROJECT". gcloud says: {1}',
      doing,
      said,
    );
  return l10n.t('gcloud cannot {0} in {1}. gcloud says: {2}', doing, where, said);
}
