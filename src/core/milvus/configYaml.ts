import * as l10n from '@vscode/l10n';
import { isAlias, isMap, isScalar, isSeq, parseDocument, Scalar, visit, YAMLMap } from 'yaml';
import type { Pair, Document } from 'yaml';
import { ValuesError } from './valuesError.ts';

/**
 * A configuration key in the form in which Milvus compares keys, whether they come from YAML (`proxy.http.port`) or from
 * the environment (`PROXY_HTTP_PORT`, also with the prefix `MILVUS_CONF_`): lower case, without separators
 * (milvus-io/milvus `pkg/config/env_source.go`, `pkg/config/config.go`).
 */
export function configKey(name: string): string {
  return name
    .replace(/^MILVUS_CONF_/, '')
    .toLowerCase()
    .replaceAll(/[/_.]/g, '');
}

/** Changes one setting: its path, such as `['common', 'security', 'tlsMode']`, and the new value. */
export interface ConfigChange {
  path: readonly string[];
  value: number;
}

/**
 * The settings in a YAML file of Milvus, by {@link configKey}, as text. Empty settings are left out.
 *
 * @throws ValuesError when it is no YAML, or no map.
 */
export function readConfigYaml(yaml: string, file: string): Map<string, string> {
  const settings = new Map<string, string>();
  flatten(parse(yaml, file).toJS() as unknown, '', settings);
  return settings;
}

/**
 * Changes settings in a YAML file of Milvus and leaves all else as it is, with its comments.
 *
 * @throws ValuesError when it is no YAML or no map, and when the change would alter another setting (as it can where an
 *   anchor is shared).
 */
export function changeConfigYaml(yaml: string, changes: readonly ConfigChange[], file: string): string {
  const document = parse(yaml, file);
  if (!isMap(document.contents)) {
    document.contents = new YAMLMap(document.schema);
  } else if (document.contents.items.length === 0) {
    document.contents.flow = false;
  }
  for (const { path, value } of changes) setIn(document, document.contents as YAMLMap, path, value, file);
  const changed = document.toString({ lineWidth: 0, flowCollectionPadding: false });

  const wanted = readConfigYaml(yaml, file);
  for (const { path, value } of changes) wanted.set(configKey(path.join('.')), String(value));
  const actual = readConfigYaml(changed, file);
  if (wanted.size !== actual.size || [...wanted].some(([key, value]) => actual.get(key) !== value))
    throw new ValuesError(
      l10n.t(
        '{0} cannot be changed without altering other settings: it shares parts by anchors. Write them out, or let only the proxies restart.',
        file,
      ),
    );
  return changed;
}

/**
 * In the failsafe schema all scalars stay the text they are, so that nothing is read as YAML 1.2 and written back with
 * another meaning for Milvus, which reads YAML 1.1 numbers (0777) and compares settings as text.
 */
function parse(yaml: string, file: string): Document {
  const document = parseDocument(yaml, { schema: 'failsafe', merge: true, prettyErrors: false });
  const [error] = document.errors;
  if (error) {
    const line = yaml.slice(0, error.pos[0]).split('\n').length;
    throw new ValuesError(l10n.t('{0} is not valid YAML at line {1} ({2}).', file, line, error.code));
  }
  if (!isMap(document.contents) && !isEmpty(document.contents))
    throw new ValuesError(l10n.t('{0} holds no settings: it must be a map, such as "common:".', file));
  return document;
}

function isEmpty(node: unknown): boolean {
  return (
    node === null ||
    node === undefined ||
    (isScalar(node) && isPlain(node) && (node.value === null || isNull(node.value)))
  );
}

function isNull(value: unknown): boolean {
  return typeof value === 'string' && /^(~|null|)$/i.test(value);
}

function isPlain(node: Scalar): boolean {
  return node.type === undefined || node.type === Scalar.PLAIN;
}

function flatten(value: unknown, prefix: string, into: Map<string, string>): void {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object') {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (!isNull(text)) into.set(prefix, text);
    return;
  }
  if (Array.isArray(value)) {
    into.set(prefix, JSON.stringify(value));
    return;
  }
  for (const [key, entry] of Object.entries(value)) flatten(entry, prefix + configKey(key), into);
}

/** Sets the value where the setting already is, in whichever spelling; else in the deepest map that leads to it. */
function setIn(document: Document, map: YAMLMap, path: readonly string[], value: number, file: string): void {
  const own = pairsOf(map, configKey(path.join('.')));
  if (own.length > 0) {
    for (const pair of own) pair.value = scalar(value, pair.value);
    return;
  }
  for (let length = path.length - 1; length > 0; length -= 1) {
    const rest = path.slice(length);
    const branches = pairsOf(map, configKey(path.slice(0, length).join('.')));
    const branch = branches.find((pair) => isMap(pair.value) && leadsTo(pair.value, rest)) ?? branches.at(0);
    if (branch) {
      setIn(document, mapOf(document, branch, file), rest, value, file);
      return;
    }
  }
  const [first, ...rest] = path;
  if (first === undefined) return;
  if (rest.length === 0) {
    map.set(first, scalar(value, undefined));
    return;
  }
  // Where a merge key gives this branch, an own one would hide it, so the own one starts as its copy.
  const branch = mergedMap(document, map, first) ?? new YAMLMap(document.schema);
  map.set(first, branch);
  setIn(document, branch, rest, value, file);
}

function pairsOf(map: YAMLMap, key: string): Pair[] {
  return map.items.filter((pair) => isScalar(pair.key) && configKey(String(pair.key.value)) === key);
}

function leadsTo(map: YAMLMap, path: readonly string[]): boolean {
  if (pairsOf(map, configKey(path.join('.'))).length > 0) return true;
  return path.some((_, index) =>
    pairsOf(map, configKey(path.slice(0, index).join('.'))).some(
      (pair) => isMap(pair.value) && leadsTo(pair.value, path.slice(index)),
    ),
  );
}

/** The map under a key, made where there is none yet. */
function mapOf(document: Document, pair: Pair, file: string): YAMLMap {
  const { value } = pair;
  if (isMap(value)) return value;
  const target = isAlias(value) ? value.resolve(document) : undefined;
  if (isMap(target)) return replace(pair, copyOf(target));
  if (isEmpty(value)) {
    const made = new YAMLMap(document.schema);
    if (isScalar(value)) copyComments(value, made);
    return replace(pair, made);
  }
  throw new ValuesError(
    l10n.t('{0} has a single value at "{1}" where Milvus expects a group of settings.', file, String(pair.key)),
  );
}

function replace(pair: Pair, map: YAMLMap): YAMLMap {
  pair.value = map;
  return map;
}

/** A copy without the anchors, which may be set only once. */
function copyOf(map: YAMLMap): YAMLMap {
  const copy: unknown = map.clone();
  if (!isMap(copy)) return map;
  visit(copy, {
    Node: (_key, node) => {
      if (!isAlias(node)) delete node.anchor;
    },
  });
  return copy;
}

function mergedMap(document: Document, map: YAMLMap, name: string): YAMLMap | undefined {
  for (const pair of map.items) {
    if (!isScalar(pair.key) || !isMergeKey(pair.key.value)) continue;
    for (const source of isSeq(pair.value) ? pair.value.items : [pair.value]) {
      const target = isAlias(source) ? source.resolve(document) : source;
      if (!isMap(target)) continue;
      const found = pairsOf(target, configKey(name))[0]?.value;
      const branch = isAlias(found) ? found.resolve(document) : found;
      if (isMap(branch)) return copyOf(branch);
    }
  }
  return undefined;
}

/** The library reads a merge key as a symbol. */
function isMergeKey(key: unknown): boolean {
  return key === '<<' || (typeof key === 'symbol' && key.description === '<<');
}

function scalar(value: number, before: unknown): Scalar {
  const made = new Scalar(String(value));
  made.type = Scalar.PLAIN;
  if (isScalar(before)) copyComments(before, made);
  return made;
}

function copyComments(from: Scalar, to: Scalar | YAMLMap): void {
  if (typeof from.comment === 'string') to.comment = from.comment;
  if (typeof from.commentBefore === 'string') to.commentBefore = from.commentBefore;
  if (from.spaceBefore === true) to.spaceBefore = true;
}
