{{/* Labels of everything. */}}
{{- define "shield.labels" -}}
app.kubernetes.io/name: shield
app.kubernetes.io/part-of: materi
{{- end }}

{{/* Labels of a part: dict "component". */}}
{{- define "shield.component" -}}
{{ include "shield.labels" . }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* What selects the gateway's pods: dict "colour", which is empty where there are no two. */}}
{{- define "shield.selector" -}}
app.kubernetes.io/name: shield
app.kubernetes.io/component: gateway
{{- with .colour }}
shield.materi.dev/colour: {{ . }}
{{- end }}
{{- end }}

{{- define "shield.colours" -}}
{{ .Values.blueGreen.enabled | ternary (list "blue" "green") (list "") | toJson }}
{{- end }}

{{/* Name of the Deployment of a colour, and of what belongs to it. */}}
{{- define "shield.name" -}}
{{ empty .colour | ternary "shield" (printf "shield-%s" .colour) }}
{{- end }}

{{- define "shield.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := $image.tag -}}
{{- if .colour }}{{ $tag = get .root.Values.blueGreen.tags .colour | default $tag }}{{ end -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end -}}
{{- end }}

{{/* Data of the ConfigMaps, as JSON. */}}
{{- define "shield.config" -}}
{{ dict "shield.yaml" (.Values.config | default (.Files.Get "files/shield.yaml")) | toJson }}
{{- end }}
{{- define "shield.environment" -}}
{{ .Values.environment | toJson }}
{{- end }}
{{- define "shield.backup" -}}
{{- $recipients := printf "# The age public keys that backups are encrypted to, one a line.\n%s" .Values.backup.recipients -}}
{{ dict "backup.sh" (.Files.Get "files/backup/backup.sh") "database.sh" (.Files.Get "files/backup/database.sh") "recipients" $recipients | toJson }}
{{- end }}

{{/*
Name of a ConfigMap with the hash of its content: dict "root", "name", "data" (JSON). It is the
hash that kustomize makes, so that both ways of rendering give the same objects: the first ten
hexadecimal digits of the SHA-256 of kind, data and an empty name in JSON, with letters in place of
those digits that could make a word.
*/}}
{{- define "shield.hashed" -}}
{{- if .root.Values.hashNames -}}
{{- $sum := dict "data" (fromJson .data) "kind" "ConfigMap" "name" "" | toJson | sha256sum | trunc 10 -}}
{{ .name }}-{{ $sum | replace "0" "g" | replace "1" "h" | replace "3" "k" | replace "a" "m" | replace "e" "t" }}
{{- else -}}
{{ .name }}
{{- end -}}
{{- end }}
{{- define "shield.configName" -}}
{{ include "shield.hashed" (dict "root" . "name" "shield-config" "data" (include "shield.config" .)) }}
{{- end }}
{{- define "shield.environmentName" -}}
{{ include "shield.hashed" (dict "root" . "name" "shield-env" "data" (include "shield.environment" .)) }}
{{- end }}
{{- define "shield.backupName" -}}
{{ include "shield.hashed" (dict "root" . "name" "shield-backup" "data" (include "shield.backup" .)) }}
{{- end }}

{{/* What every pod and every container has; Pod Security "restricted" and more. */}}
{{- define "shield.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "shield.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
capabilities:
  drop: [ALL]
{{- end }}
