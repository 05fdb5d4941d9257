import { sizeText, timeText } from '../files/format';
import { durationText } from './durations';
import type { ClusterTexts } from './texts';

const LOCALE = 'de-DE';
const lasts = (seconds: string | number) => durationText(Number(seconds), LOCALE);
/** After “seit”, “vor” and “in”. */
const dative = (seconds: string | number) => lasts(seconds).replace(/Tage$/, 'Tagen');
const size = (bytes: string | number) => sizeText(Number(bytes), LOCALE);
const time = (at: string | number) => timeText(Number(at), LOCALE);

export const de: ClusterTexts = {
  title: 'Cluster',
  levels: { healthy: 'Gesund', degraded: 'Eingeschränkt', at_risk: 'Daten in Gefahr' },
  levelTexts: {
    healthy: 'Alles läuft, und alles hat so viele Kopien wie versprochen.',
    degraded: 'Der Cluster läuft, aber Sie müssen sich um etwas kümmern.',
    at_risk: 'Etwas hat weniger Kopien als versprochen, oder nichts lässt sich speichern.',
  },
  whatToDo: 'Was zu tun ist:',
  problems: {
    directoryAway: (why) => [`Der Directory-Server antwortet nicht: ${why}`, 'Starten Sie ihn; warum er steht, sagt sein Log.'],
    directoryCannotWrite: (why) => [
      `Der Directory-Server kann nicht schreiben${why ? `: ${why}` : ''}.`,
      'Sehen Sie nach Platte und Log. Lesen geht weiter, und er versucht es von selbst wieder.',
    ],
    directoryLow: (free) => [`Die Platte des Directory-Servers hat nur noch ${size(free)} frei.`, 'Schaffen Sie dort Platz.'],
    standbySilent: (url, seconds) => [
      `Vom Directory-Server unter ${url} kam seit ${lasts(seconds)} kein Lebenszeichen.`,
      'Starten Sie ihn, damit er übernehmen kann.',
    ],
    restored: (at) => [
      `Seit der Wiederherstellung am ${time(at)} gibt es kein Backup; älteren fehlt, was folgte.`,
      'Machen Sie ein Backup.',
    ],
    backupLate: (seconds) => [
      `Das laufende Backup hat seit ${dative(seconds)} nichts geholt.`,
      'Starten Sie „lockstep backup --follow“ wieder.',
    ],
    proxyReports: (id, why) => [`Proxy ${id} meldet: ${why}`, 'Sehen Sie in sein Log; ein anderer Proxy läuft vielleicht.'],
    proxySick: (id) => [`Proxy ${id} ist nicht gesund.`, 'Sehen Sie in sein Log.'],
    cacheFull: (id) => [`Proxy ${id} kann seinen Cache nicht schreiben.`, 'Schaffen Sie Platz auf seiner Platte; er läuft, ohne neue Inhalte im Cache zu halten.'],
    rateLimits: (id, why) => [
      `Proxy ${id} zählt Anfragen allein: ${why}`,
      'Prüfen Sie den Server von --rate-limit-storage.',
    ],
    lost: (count) => [
      `${count} ${count === 1 ? 'Inhalt hat' : 'Inhalte haben'} keine ganze Kopie auf einem laufenden Dateiserver.`,
      'Starten Sie die Dateiserver, die nicht laufen. Die Dateien stehen unten.',
    ],
    underCopied: (count, copies, ordered) => [
      `${count} ${count === 1 ? 'Blob hat' : 'Blobs haben'} weniger als ${copies} Kopien; ${ordered} entstehen gerade.`,
      ordered ? 'Warten Sie: Die Kopien entstehen von selbst.' : 'Starten Sie Dateiserver, oder nehmen Sie einen dazu.',
    ],
    serverDown: (id, seconds) => [
      `Dateiserver ${id} läuft nicht, zuletzt gehört vor ${dative(seconds)}.`,
      'Starten Sie ihn; sonst entstehen seine Kopien nach einer Weile anderswo.',
    ],
    serverSilent: (id, seconds) => [
      `Dateiserver ${id} antwortet nicht, zuletzt gehört vor ${dative(seconds)}.`,
      'Prüfen Sie das Programm und sein Netz.',
    ],
    serverJoining: (id) => [`Dateiserver ${id} hat sich seit dem Start des Directorys nicht gemeldet.`, 'Starten Sie ihn.'],
    serverProblem: (id, why) => [
      `Dateiserver ${id} nimmt nichts an: ${why}`,
      'Schaffen Sie Platz, oder ersetzen Sie die Platte. Er erholt sich von selbst, und Lesen geht weiter.',
    ],
    serverRefuses: (id, why, free) => [
      `Dateiserver ${id} nimmt keine neuen Dateien: ${why}, ${size(free)} frei.`,
      'Schaffen Sie dort Platz, oder nehmen Sie einen Dateiserver dazu.',
    ],
    tooFewServers: (taking, copies) => [
      `Nur ${taking} Dateiserver ${taking === 1 ? 'nimmt' : 'nehmen'} Dateien an, versprochen: ${copies} ${copies === 1 ? 'Kopie' : 'Kopien'}.`,
      'Starten Sie einen Dateiserver, oder nehmen Sie einen dazu: Bis dahin werden neue Dateien abgelehnt.',
    ],
    proxyDown: (id, seconds) => [
      `Proxy ${id} hat sich ${seconds < 0 ? 'seit dem Start des Directorys' : `seit ${dative(seconds)}`} nicht gemeldet.`,
      'Starten Sie ihn, oder entfernen Sie ihn unten.',
    ],
    recovery: (waiting) => [
      `Die Wiederherstellung ist nicht fertig${waiting ? `; sie wartet auf die Dateiserver ${waiting}` : ''}.`,
      'Siehe „lockstep recover“.',
    ],
    unnamed: (count) => [`Die Wiederherstellung hat ${count} ${count === 1 ? 'Blob' : 'Blobs'} ohne Namen gefunden.`, 'Entscheiden Sie mit „lockstep recover“.'],
    target: (name, waiting, why) => [
      `Für das Benachrichtigungsziel ${name} ${waiting === 1 ? 'wartet' : 'warten'} ${waiting} ${waiting === 1 ? 'Nachricht' : 'Nachrichten'}: ${why}`,
      'Siehe „lockstep targets list“.',
    ],
    storageKey: (id) => [
      `Der Speicherschlüssel ${id} fehlt beim Directory-Server.`,
      'Holen Sie certs/storage-keys.json aus einer Kopie, die ihn hat.',
    ],
  },
  facts: {
    files: 'Dateien',
    versions: 'Versionen',
    bytes: 'Inhalt',
    copies: 'Versprochene Kopien',
    locks: 'Sperren',
    uptime: 'Directory läuft seit',
    version: 'Version',
    disk: 'Freier Platz des Directorys',
    standbys: 'In Bereitschaft',
  },
  free: (free, all) => `${free} von ${all}`,
  lasts: dative,
  servers: 'Dateiserver',
  serverColumns: {
    id: 'Server',
    state: 'Zustand',
    zone: 'Zone',
    used: 'Freier Platz',
    copies: 'Kopien',
    heard: 'Zuletzt gehört',
    version: 'Version',
    actions: 'Aktionen',
  },
  states: {
    up: 'läuft',
    down: 'läuft nicht',
    suspect: 'keine Antwort',
    joining: 'kommt dazu',
    draining: 'wird geleert',
    removed: 'entfernt',
  },
  drained: 'geleert',
  drainLeft: (held) => `wird geleert, noch ${held} ${held === 1 ? 'Kopie' : 'Kopien'}`,
  ago: (seconds) => `vor ${dative(seconds)}`,
  drain: 'Leeren',
  stopDraining: 'Leeren beenden',
  remove: 'Entfernen',
  one: (action, id) => `${action}: ${id}`,
  drainTitle: (id) => `Dateiserver ${id} leeren?`,
  drainText: 'Seine Kopien ziehen auf die anderen um, und er nimmt nichts Neues. Das lässt sich beenden.',
  removeServerTitle: (id) => `Dateiserver ${id} entfernen?`,
  removeServerText: 'Er gehört nicht mehr dazu, seine Kopien zählen nicht mehr. Mit den einzigen Kopien wird das abgelehnt.',
  removeProxyTitle: (id) => `Proxy ${id} entfernen?`,
  removeProxyText: 'Er gehört nicht mehr dazu, und sein Zertifikat wird widerrufen.',
  repair: 'Kopien und Reparatur',
  repairFacts: {
    under_copied: 'Blobs mit zu wenigen Kopien',
    without_living_copy: 'Blobs ohne erreichbare Kopie',
    ordered: 'Kopien, die gerade entstehen',
    repaired_since_start: 'Kopien seit dem Start',
    to_move: 'Umzuziehen von Servern, die geleert werden',
    to_balance: 'Umzuziehen zum Ausgleich',
    surplus: 'Überzählige Kopien',
  },
  balance: 'Server ausgleichen',
  stopBalance: 'Ausgleich beenden',
  lostFiles: 'Dateien ohne erreichbare Kopie',
  lostColumns: { file: 'Datei', version: 'Version', size: 'Größe', servers: 'Dateiserver, die sie hatten' },
  proxies: 'Proxys',
  proxyColumns: { id: 'Proxy', state: 'Zustand', url: 'Adresse', heard: 'Zuletzt gehört', version: 'Version', actions: 'Aktionen' },
  never: 'nie',
  certificates: 'Zertifikate und Schlüssel',
  authorityColumns: { subject: 'Zertifizierungsstelle', state: 'Zustand', until: 'Gültig bis', needed: 'Noch nötig für' },
  authorityStates: { current: 'stellt Zertifikate aus', next: 'wird eingeführt', old: 'alt', leaving: 'scheidet aus' },
  keyColumns: { id: 'Speicherschlüssel', state: 'Zustand', made: 'Angelegt', items: 'Nötig für' },
  keyStates: { current: 'in Gebrauch', old: 'alt' },
  rotation: 'Wechseln Sie sie mit „lockstep certs“ und „lockstep storage-keys“.',
  check: 'Prüfung',
  checkHint: 'Vergleicht die Metadaten mit dem, was die Dateiserver haben. „Jedes Byte prüfen“ liest auch alle Inhalte.',
  checkNow: 'Jetzt prüfen',
  checkDeep: 'Jedes Byte prüfen',
  checkStates: {
    never: 'Seit dem Start des Directorys gab es keine Prüfung.',
    running: (seconds) => `Eine Prüfung läuft seit ${dative(seconds)}.`,
    good: (at, seconds) => `Die Prüfung vom ${time(at)} hat in ${dative(seconds)} nichts gefunden.`,
    bad: (at, count) => `Die Prüfung vom ${time(at)} hat ${count} ${count === 1 ? 'Problem' : 'Probleme'} gefunden:`,
  },
  backup: 'Backup',
  lastBackup: (at) => (at ? `Das letzte Backup ist vom ${time(at)}.` : 'Es gibt noch kein Backup.'),
  following: (seconds, behind) => `Ein laufendes Backup hat zuletzt vor ${dative(seconds)} Änderungen geholt und ist ${behind} ${behind === 1 ? 'Änderung' : 'Änderungen'} zurück.`,
  download: 'Backup herunterladen',
  backupHint: 'Es enthält die Metadaten mit Passwort-Hashes und Schlüsseln: Bewahren Sie es sicher auf.',
};
