import { Badge, Text, Title } from '@mantine/core';

import { highest, reasonOf, whoText } from '../sharing/access';
import { useTexts } from '../texts';
import { type Access, changesOf } from './policy';
import { usePolicyTexts } from './texts';

interface Props {
  path: string;
  now: Access;
  then: Access;
}

/** What a policy would change for one place, and why. */
export function Effect({ path, now, then }: Props) {
  const texts = useTexts();
  const own = usePolicyTexts();
  const changes = changesOf(now, then);
  const changed = changes.filter(({ isChanged }) => isChanged);
  const levelText = (levels: readonly ('read' | 'write' | 'manage')[]) => {
    const level = highest(levels);
    return level ? texts.sharing.levels[level] : texts.sharing.nothing;
  };
  const title = path === '' ? own.wholeBucket : path.endsWith('/') ? own.path(path) : own.file(path);
  return (
    <>
      <Title order={3} size="h5" mt="sm">
        {title}
      </Title>
      {changed.length === 0 && <Text size="sm">{own.unchanged}</Text>}
      <ul className="people" aria-label={title}>
        {changed.map(({ person, before }) => (
          <li key={person.account} className="person">
            <div className="person-text">
              <Text size="sm" fw={600} className="breakable">
                {whoText(person.account, texts)}
              </Text>
              <Text size="sm" c="dimmed" className="breakable">
                {reasonOf(person, then, texts)} ({own.was(levelText(before))})
              </Text>
            </div>
            <Badge variant="default" tt="none">
              {levelText(person.levels)}
            </Badge>
          </li>
        ))}
      </ul>
      {changed.length > 0 && changes.length > changed.length && (
        <Text size="sm" c="dimmed">
          {own.others(changes.length - changed.length)}
        </Text>
      )}
    </>
  );
}
