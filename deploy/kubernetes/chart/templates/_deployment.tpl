{{/* The gateway: dict "root", "colour". */}}
{{- define "shield.deployment" -}}
{{- $v := .root.Values -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "shield.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "shield.component" (dict "component" "gateway") | nindent 4 }}
    {{- with .colour }}
    shield.materi.dev/colour: {{ . }}
    {{- end }}
spec:
  {{- if not $v.autoscaling.enabled }}
  replicas: {{ $v.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  minReadySeconds: 5
  progressDeadlineSeconds: 300
  selector:
    matchLabels:
      {{- include "shield.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  template:
    metadata:
      labels:
        {{- include "shield.component" (dict "component" "gateway") | nindent 8 }}
        {{- with .colour }}
        shield.materi.dev/colour: {{ . }}
        {{- end }}
    spec:
      serviceAccountName: shield
      automountServiceAccountToken: false
      enableServiceLinks: false # or an older Service named shield would be in the environment
      terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
      securityContext:
        {{- include "shield.podSecurity" . | nindent 8 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "shield.selector" . | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "shield.selector" . | nindent 20 }}
      containers:
        - name: shield
          image: {{ include "shield.image" . }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          args: [serve]
          ports:
            - name: http
              containerPort: 8000
              protocol: TCP
            - name: admin
              containerPort: 9000
              protocol: TCP
          env:
            - name: GOMEMLIMIT
              value: {{ $v.goMemoryLimit }}
            - name: SHIELD_CONFIG
              value: /etc/shield/shield.yaml
            {{- range $name, $key := $v.secret.files }}
            - name: {{ $name }}_FILE
              value: /run/secrets/shield/{{ $key }}
            {{- end }}
          envFrom:
            - configMapRef:
                name: {{ include "shield.environmentName" .root }}
          resources:
            {{- toYaml $v.resources | nindent 12 }}
          # A cold start compiles the plugins, which may take some seconds on one CPU; what counts
          # as started is that the listener answers, and that is within the first second.
          startupProbe:
            httpGet: {path: /health/, port: admin}
            periodSeconds: 1
            timeoutSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /health/, port: admin}
            periodSeconds: 15
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /ready/, port: admin}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          lifecycle:
            preStop:
              sleep: {seconds: {{ $v.preStopSeconds }}}
          securityContext:
            {{- include "shield.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/shield, readOnly: true}
            - {name: secrets, mountPath: /run/secrets/shield, readOnly: true}
            - {name: data, mountPath: /var/lib/shield}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: config
          configMap:
            name: {{ include "shield.configName" .root }}
        - name: secrets
          secret:
            secretName: {{ $v.secret.name }}
            defaultMode: 0440
            items:
              {{- range $name, $key := $v.secret.files }}
              - {key: {{ $key }}, path: {{ $key }}}
              {{- end }}
        - name: data
          emptyDir: {sizeLimit: 256Mi}
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
{{- end }}
