{{/* Each name below is RELEASE-ROLE, which kubernetes_join.py knows, and at most 63 characters with an ordinal. */}}
{{- define "lockstep.release" -}}
{{- if gt (len .Release.Name) 40 }}{{ fail "choose a release name of at most 40 characters: the pods' names begin with it" }}{{ end -}}
{{ .Release.Name }}
{{- end }}

{{- define "lockstep.labels" -}}
{{ include "lockstep.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "lockstep.selector" -}}
app.kubernetes.io/name: lockstep
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Argument: the root and a role's tag. */}}
{{- define "lockstep.image" -}}
image: "{{ .root.Values.image.repository }}:{{ .tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{- define "lockstep.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lockstep.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Argument: the root and the role as after `lockstep serve`. A program that answers is not restarted, even if it is not
healthy: it may be waiting for another one. */}}
{{- define "lockstep.probes" -}}
startupProbe:
  exec: {command: [python3, /opt/lockstep/health.py, {{ .role }}, alive]}
  periodSeconds: 5
  timeoutSeconds: 10
  failureThreshold: {{ mul 12 .root.Values.startMinutes }}
readinessProbe:
  exec: {command: [python3, /opt/lockstep/health.py, {{ .role }}]}
  periodSeconds: 10
  timeoutSeconds: 10
livenessProbe:
  exec: {command: [python3, /opt/lockstep/health.py, {{ .role }}, alive]}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 4
{{- end }}

{{/* Argument: the root and the role. Keeps pods of a role apart, by node and by zone. */}}
{{- define "lockstep.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.spread }}
    labelSelector:
      matchLabels:
        {{- include "lockstep.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.role }}
  {{- end }}
{{- end }}

{{/* Argument: the root, the role and its values. The step before the program by which a pod becomes a member. */}}
{{- define "lockstep.joinContainer" -}}
- name: join
  {{- include "lockstep.image" (dict "root" .root "tag" .values.tag) | nindent 2 }}
  command: [python3, /opt/lockstep/kubernetes_join.py, join, {{ .role }}]
  env:
    - {name: {{ .id }}, valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}}
    - {name: LOCKSTEP_JOIN_HOST, value: {{ include "lockstep.release" .root }}-directory.{{ .root.Release.Namespace }}.svc}
    - {name: LOCKSTEP_JOIN_CA, value: /run/lockstep-join/ca.pem}
    - {name: LOCKSTEP_JOIN_TOKEN, value: /run/lockstep-join/token}
    {{- if and .root.Values.keyPassphraseSecret (eq .role "file-server") }}
    - {name: LOCKSTEP_FILE_SERVER_KEY_PASSPHRASE_FILE, value: /run/lockstep-keys/passphrase}
    {{- end }}
  {{- include "lockstep.containerSecurity" . | nindent 2 }}
  resources: {{ toJson .root.Values.join.resources }}
  volumeMounts:
    - {name: data, mountPath: /var/lib/lockstep}
    - {name: tmp, mountPath: /tmp}
    - {name: join, mountPath: /run/lockstep-join, readOnly: true}
    {{- if and .root.Values.keyPassphraseSecret (eq .role "file-server") }}
    - {name: keys, mountPath: /run/lockstep-keys, readOnly: true}
    {{- end }}
{{- end }}

{{/* The CA certificate that the directory's pod publishes, and the token that says which pod this is. Until the
certificate is published, the pod waits. */}}
{{- define "lockstep.joinVolume" -}}
- name: join
  projected:
    sources:
      - configMap: {name: {{ include "lockstep.release" . }}-ca, items: [{key: ca.pem, path: ca.pem}]}
      - serviceAccountToken: {audience: lockstep-join, expirationSeconds: 600, path: token}
{{- end }}

{{- define "lockstep.dataClaim" -}}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "lockstep.selector" .root | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storage.className }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources: {requests: {storage: {{ .storage.size | quote }}}}
{{- end }}

{{- define "lockstep.keysVolume" -}}
{{- with .Values.keyPassphraseSecret }}
- {name: keys, secret: {secretName: {{ . | quote }}, defaultMode: 0440, items: [{key: passphrase, path: passphrase}]}}
{{- end }}
{{- end }}
