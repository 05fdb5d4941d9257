import { Alert, Anchor, Button, Divider, Paper, PasswordInput, type PasswordInputProps, Stack, TextInput, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';

import { api, data } from '../api/client';
import { Failure } from '../api/failure';
import { Preferences } from '../shell/Preferences';
import { type Texts } from '../texts/en';
import { useTexts, words } from '../texts';
import { SingleSignOn } from './SingleSignOn';
import { BEGIN, CLIENT } from './session';

interface Props {
  hasEnded: boolean;
  onDone: () => void;
}

/** The page of somebody who is not signed in. */
export function SignIn({ hasEnded, onDone }: Props) {
  const texts = useTexts();
  const [isNew, setIsNew] = useState(false);
  const [isOneTime, setIsOneTime] = useState(false);
  const [newPassword, setNewPassword] = useState('');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [code, setCode] = useState('');
  const [needsCode, setNeedsCode] = useState(false);
  const codeField = useRef<HTMLInputElement>(null);

  const signIn = useMutation({
    mutationFn: async () => {
      if ((isNew || isOneTime) && again !== (isNew ? password : newPassword)) throw new Mismatch();
      const account = { username, password, client: CLIENT };
      let reply;
      if (isNew) reply = await data(api.POST('/api/v1/auth/register', { ...BEGIN, body: account }));
      else if (isOneTime) {
        const body = { username, password, new_password: newPassword, code };
        reply = await data(api.POST('/api/v1/auth/password', { ...BEGIN, body }));
      } else reply = await data(api.POST('/api/v1/auth/login', { ...BEGIN, body: { ...account, create: false, code } }));
      if (reply.must_enrol) throw new MustEnrol();
    },
    onSuccess: onDone,
    onError: (error) => {
      if (isMustChange(error)) setIsOneTime(true);
      const secondFactor = error instanceof Failure && error.problem.code === 'second_factor_needed';
      setNeedsCode(needsCode || (secondFactor && error.problem.reason !== 'enrol'));
      if (secondFactor) setCode('');
    },
  });
  useEffect(() => {
    if (needsCode) codeField.current?.focus();
  }, [needsCode, signIn.failureCount, signIn.submittedAt]);

  function submit(event: FormEvent) {
    event.preventDefault();
    signIn.mutate();
  }
  function change(set: (value: string) => void) {
    return (event: { currentTarget: { value: string } }) => set(event.currentTarget.value);
  }

  return (
    <main className="sign-in">
      <Paper withBorder radius="md" p="xl" className="sign-in-card">
        <Title order={1} size="h2" mb="lg">
          {texts.signIn.title}
        </Title>
        <form onSubmit={submit}>
          <Stack>
            {hasEnded && !signIn.isError && <Alert role="status">{texts.signIn.ended}</Alert>}
            {signIn.isError && (
              <Alert color={isQuestion(signIn.error) ? 'blue' : 'red'} role="alert">
                {said(signIn.error, texts)}
              </Alert>
            )}
            <TextInput
              label={texts.signIn.user}
              value={username}
              onChange={change(setUsername)}
              autoComplete="username"
              autoCapitalize="none"
              spellCheck={false}
              required
              withAsterisk={false}
              data-autofocus
              autoFocus
            />
            <PasswordInput
              label={texts.signIn.password}
              value={password}
              onChange={change(setPassword)}
              autoComplete={isNew ? 'new-password' : 'current-password'}
              required
              withAsterisk={false}
            />
            {isOneTime && (
              <NewPassword
                label={texts.signIn.newPassword}
                value={newPassword}
                onChange={change(setNewPassword)}
                autoFocus
              />
            )}
            {(isNew || isOneTime) && (
              <NewPassword label={texts.signIn.again} value={again} onChange={change(setAgain)} />
            )}
            {needsCode && !isNew && (
              <TextInput
                ref={codeField}
                label={texts.signIn.code}
                value={code}
                onChange={change(setCode)}
                autoComplete="one-time-code"
                required
                withAsterisk={false}
              />
            )}
            <Button type="submit" loading={signIn.isPending} fullWidth>
              {submitText(isNew, isOneTime, texts)}
            </Button>
          </Stack>
        </form>
        <Anchor
          component="button"
          type="button"
          size="sm"
          mt="md"
          onClick={() => {
            setIsNew(!isNew);
            setIsOneTime(false);
            signIn.reset();
          }}
        >
          {isNew ? texts.signIn.haveOne : texts.signIn.newHere}
        </Anchor>
        {!isNew && <SingleSignOn onDone={onDone} divider={<Divider label={texts.signIn.or} my="md" />} />}
      </Paper>
      <Preferences />
    </main>
  );
}

function NewPassword(field: PasswordInputProps) {
  return <PasswordInput autoComplete="new-password" required withAsterisk={false} {...field} />;
}

class Mismatch extends Error {}
class MustEnrol extends Error {}

/** The first question for a code, or for a password of one's own, is no mistake of the person. */
function isQuestion(error: Error): boolean {
  return error instanceof Failure && (error.problem.reason === 'missing' || isMustChange(error));
}

function isMustChange(error: Error): boolean {
  return error instanceof Failure && error.problem.mustChange === true;
}

function submitText(isNew: boolean, isOneTime: boolean, texts: Texts): string {
  if (isOneTime) return texts.signIn.setPassword;
  return isNew ? texts.signIn.create : texts.signIn.submit;
}

function said(error: Error, texts: Texts): string {
  if (error instanceof Mismatch) return texts.signIn.differ;
  if (error instanceof MustEnrol) return texts.signIn.mustEnrol;
  if (!(error instanceof Failure)) return words(error, texts);
  const { code, reason, status } = error.problem;
  if (isMustChange(error)) return texts.signIn.oneTime;
  if (code === 'second_factor_needed') {
    const byReason: Record<string, string> = {
      missing: texts.signIn.needCode,
      wrong: texts.signIn.wrongCode,
      used: texts.signIn.usedCode,
      enrol: texts.signIn.mustEnrol,
    };
    return byReason[reason ?? ''] ?? texts.signIn.needCode;
  }
  return status === 401 ? texts.signIn.wrong : words(error, texts);
}
