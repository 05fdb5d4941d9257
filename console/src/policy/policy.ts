// A bucket's policy as text, the folders that it names, and what it changes. No I/O.
import type { components } from '../api/schema';

export type Policy = Record<string, unknown>;
export type Access = components['schemas']['AccessReply'];
type Person = Access['people'][number];
type Level = Person['levels'][number];

/** One account or group, with what it could do and what it can do now. */
export interface Change {
  person: Person;
  before: Level[];
  isChanged: boolean;
}

const MOST_FOLDERS = 5;
const VERSION = '2012-10-17';

/** The policy that a text is: null for an empty text, undefined if it is no JSON object. */
export function policyOf(text: string): Policy | null | undefined {
  if (!text.trim()) return null;
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Policy) : undefined;
  } catch {
    return undefined;
  }
}

/** The policy for the API, whose document says of it only that it is an object. */
export function sent(policy: Policy | null): components['schemas']['BucketPolicyBody']['policy'] {
  return policy as Record<string, never> | null;
}

export function textOf(policy: Policy | null | undefined): string {
  return policy ? JSON.stringify(policy, null, 2) : '';
}

/** The whole bucket, and the first folders and files that the policy's resources name: what to explain. */
export function pathsOf(policy: Policy | null, bucket: string): string[] {
  const statements = [policy?.Statement ?? []].flat() as ({ Resource?: string | string[] } | null)[];
  const prefix = `arn:aws:s3:::${bucket}/`;
  const named = statements
    .flatMap((statement) => statement?.Resource ?? [])
    .filter((resource) => typeof resource === 'string' && resource.startsWith(prefix))
    .map((resource) => resource.slice(prefix.length))
    .map((key) => (/[*?$]/.test(key) ? key.slice(0, key.search(/[*?$]/)).replace(/[^/]*$/, '') : key))
    .filter((path) => path !== '' && !path.startsWith('/') && !path.split('/').some((part) => part === '..' || part === '.'));
  return ['', ...new Set(named)].slice(0, MOST_FOLDERS + 1);
}

/** Everybody with the preview, those first for whom something changes. */
export function changesOf(now: Access, then: Access): Change[] {
  const before = new Map(now.people.map(({ account, levels }) => [account, levels]));
  const gone = now.people.filter(({ account }) => !then.people.some((one) => one.account === account));
  // Whom no rule names any more has what all other accounts have.
  const rest = then.people.find(({ account }) => account === ':accounts');
  const people = [...then.people, ...(rest ? gone.map(({ account }) => ({ ...rest, account })) : [])];
  const changes = people.map((person) => {
    const known = before.get(person.account) ?? before.get(':accounts') ?? [];
    return { person, before: known, isChanged: known.join() !== person.levels.join() };
  });
  return changes.toSorted((one, other) => Number(other.isChanged) - Number(one.isChanged));
}

export type Template = 'publicFolder' | 'accountReads' | 'accountWrites' | 'onlyOffice';

/** A policy to begin with. */
export function templateOf(kind: Template, bucket: string): Policy {
  const arn = `arn:aws:s3:::${bucket}`;
  const statements: Record<Template, Policy> = {
    publicFolder: { Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'], Resource: [`${arn}/public/*`] },
    accountReads: {
      ...{ Effect: 'Allow', Principal: { AWS: ['NAME'] } },
      ...{ Action: ['s3:ListBucket', 's3:GetObject'], Resource: [arn, `${arn}/*`] },
    },
    accountWrites: {
      ...{ Effect: 'Allow', Principal: { AWS: ['group:NAME'] } },
      ...{ Action: ['s3:ListBucket', 's3:GetObject', 's3:PutObject', 's3:DeleteObject'], Resource: [arn, `${arn}/*`] },
    },
    onlyOffice: {
      ...{ Effect: 'Deny', Principal: '*', Action: ['s3:*'], Resource: [arn, `${arn}/*`] },
      Condition: { NotIpAddress: { 'aws:SourceIp': ['192.0.2.0/24'] } },
    },
  };
  return { Version: VERSION, Statement: [statements[kind]] };
}
