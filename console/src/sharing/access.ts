// Who may do what, and why, as the API explains it. No I/O.
import type { components } from '../api/schema';
import type { Texts } from '../texts/en';

type Reply = components['schemas']['AccessReply'];
type Person = Reply['people'][number];
export type Level = Person['levels'][number];

/** Every account that no rule names. */
export const ACCOUNTS = ':accounts';
/** People without an account. */
export const EVERYBODY = ':everybody';

/** In front of a group's name where accounts are named. */
export const GROUP = 'group:';

/** The name of a group that a grant is for; undefined if it is for an account. */
export function groupOf(account: string): string | undefined {
  return account.startsWith(GROUP) ? account.slice(GROUP.length) : undefined;
}

/** An account of an explanation, or who stands in place of one, in words. */
export function whoText(account: string, texts: Texts): string {
  if (account === ACCOUNTS) return texts.sharing.others;
  if (account === EVERYBODY) return texts.sharing.everybody;
  const group = groupOf(account);
  return group === undefined ? account : texts.sharing.group(group);
}

/** Everybody to show: people, and in front of the accounts that no rule names the groups that grants are for. */
export function shownOf({ people, grants }: Pick<Reply, 'people' | 'grants'>): Person[] {
  const named = new Set(people.map(({ account }) => account));
  const groups = new Map<string, Person>();
  for (const { account, level } of grants) {
    if (groupOf(account) === undefined || named.has(account)) continue;
    const levels = [...(groups.get(account)?.levels ?? []), ...RISING.slice(0, RISING.indexOf(level) + 1)];
    groups.set(account, { account, levels, ground: 'grant', because: '' });
  }
  const isRest = ({ account }: Person) => account === ACCOUNTS || account === EVERYBODY;
  return [...people.filter((one) => !isRest(one)), ...groups.values(), ...people.filter(isRest)];
}

const RISING: Level[] = ['read', 'write', 'manage'];

export function highest(levels: readonly Level[]): Level | undefined {
  return RISING.findLast((level) => levels.includes(level));
}

/** The grant of an account that was made for exactly this path, and not for a folder above it. */
export function grantHere({ grants, path }: Pick<Reply, 'grants' | 'path'>, account: string) {
  return grants.find((grant) => grant.account === account && grant.path === path);
}

/** Why somebody has access or has none. The API's own words are the most exact ones, but they are English. */
export function reasonOf(person: Person, reply: Pick<Reply, 'grants' | 'path'>, texts: Texts): string {
  const { because, conditional, ground, account } = person;
  const above = reply.grants.find((grant) => grant.account === account && grant.path !== reply.path);
  const isInherited = ground === 'grant' && !grantHere(reply, account) && above;
  let said = texts.sharing.grounds[ground];
  if (isInherited) said = texts.sharing.inherited(above.path || '/');
  else if (because && texts.locale.startsWith('en')) said = because.charAt(0).toUpperCase() + because.slice(1);
  return conditional ? `${said} ${texts.sharing.conditional}` : said;
}
