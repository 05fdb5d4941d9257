import type { LifecycleTexts } from './texts';

const tage = (count: number) => `${count} ${count === 1 ? 'Tag' : 'Tage'}`;

export const de: LifecycleTexts = {
  title: (bucket) => `Lebenszyklus von „${bucket}“`,
  hint: 'Regeln, die Dateien und ältere Versionen von selbst löschen. Sie gelten auch für das, was schon da ist. Wo Versionen behalten werden, kommt eine gelöschte Datei in den Papierkorb.',
  none: 'Es gibt keine Regeln: Nichts wird von selbst gelöscht.',
  rules: 'Regeln',
  everything: 'Alle Dateien',
  below: (prefix) => `Unter „${prefix}“`,
  tagged: (tags) => `mit dem Tag ${tags}`,
  larger: (size) => `größer als ${size}`,
  smaller: (size) => `kleiner als ${size}`,
  expires: (count) => `Dateien werden ${tage(count)} nach dem Schreiben gelöscht.`,
  expiresAt: (day) => `Dateien werden am ${day} gelöscht.`,
  dropsMarkers: 'Löschmarken ohne ältere Versionen werden entfernt.',
  removesOld: (count, kept) =>
    `Ältere Versionen werden ${tage(count)} nach ihrer Ablösung entfernt${kept > 0 ? `, außer den neuesten ${kept}` : ''}.`,
  aborts: (count) => `Unfertige Multipart-Uploads werden ${tage(count)} nach ihrem Beginn abgebrochen.`,
  off: 'abgeschaltet',
  add: 'Neue Regel',
  edit: 'Ändern',
  switchOff: 'Abschalten',
  switchOn: 'Einschalten',
  remove: 'Löschen',
  ruleTitle: 'Regel',
  prefix: 'Nur unter diesem Ordner',
  prefixHint: 'Etwa logs/. Leer lassen für alle Dateien.',
  expireDays: 'Dateien löschen nach (Tagen)',
  noncurrentDays: 'Ältere Versionen entfernen nach (Tagen)',
  keepNewer: 'Aber so viele der neuesten älteren Versionen behalten',
  abortDays: 'Unfertige Uploads abbrechen nach (Tagen)',
  emptyHint: 'Ein leeres Feld: nicht durch diese Regel.',
  problems: {
    days: 'Eine ganze Zahl von Tagen ab 1 eingeben oder leer lassen.',
    newer: 'Eine ganze Zahl von 1 bis 100 eingeben oder leer lassen.',
    newerAlone: 'Dazu gehört eine Zahl von Tagen für ältere Versionen.',
    nothing: 'Mindestens eine Zahl von Tagen eingeben.',
  },
};
