/** config/kubernetes.yaml without a cluster: against the schemas of Kubernetes, the Dockerfile, and the config that its environment makes. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { mumi } from '../helpers/program.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PATH = join(ROOT, 'config/kubernetes.yaml')
const python = process.env.MUMI_TEST_PYTHON

// biome-ignore lint/suspicious/noExplicitAny: the schemas say what is in it
const objects: any[] = parseAllDocuments(readFileSync(PATH, 'utf8')).map(one => one.toJS())
const ofKind = (kind: string) => objects.find(one => one.kind === kind)
const { spec } = ofKind('StatefulSet')
const pod = spec.template.spec
const [container] = pod.containers
const dockerfile = readFileSync(join(ROOT, 'config/Dockerfile'), 'utf8')

const schemas = { skip: python === undefined && 'MUMI_TEST_PYTHON is not set' }
t.test('each object fits the schema of Kubernetes, which has nothing more', schemas, async t => {
  const args = ['-m', 'kubernetes_validate', '--strict', PATH]
  const { status, stdout, stderr } = spawnSync(`${python}`, args, { encoding: 'utf8' })
  t.equal(status, 0, `${stdout}${stderr}`)
  t.equal(`${stdout}${stderr}`.match(/ passed for resource /g)?.length, objects.length)
})

/** The environment of the container: that of the image, and what the manifest adds. */
function environment(): Record<string, string> {
  const [, line = ''] = /^ENV (.+)$/m.exec(dockerfile) ?? []
  const image = line.split(' ').map(pair => pair.split('='))
  const added = container.env.map(({ name, value }: Record<string, string>) => [name, value])
  return Object.fromEntries([...image, ...added])
}

t.test('ports, folders and times are those of the config that its environment makes', async t => {
  t.testdir()
  const { code, stdout, stderr } = await mumi(t, ['config'], environment()).ended
  t.equal(code, 0, stderr)
  const config = JSON.parse(stdout)
  const ports = new Map(
    container.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [
      name,
      containerPort,
    ]),
  )
  t.same(Object.fromEntries(ports), { http: config.http.port, mqtt: config.mqtt.port, ops: config.ops.port })
  for (const { host } of [config.http, config.mqtt, config.ops]) t.equal(host, '0.0.0.0')
  const probed = [container.startupProbe, container.readinessProbe, container.livenessProbe].map(
    one => one.httpGet,
  )
  t.same(
    probed.map(({ path, port }) => `${port} ${path}`),
    ['ops /healthz', 'ops /readyz', 'ops /healthz'],
  )
  const [{ mountPath, name }] = container.volumeMounts
  t.match(dockerfile, `\nVOLUME ${mountPath}\n`)
  t.equal(name, spec.volumeClaimTemplates[0].metadata.name)
  t.match(config.data.dir, new RegExp(`^${mountPath}/\\w`), 'a folder in the volume')
  const { timeout, spread } = config.shutdown
  t.ok(pod.terminationGracePeriodSeconds * 1000 > timeout + spread, 'longer than a clean shutdown may take')
})

t.test('one pod, without rights and without variables of Services', async t => {
  t.equal(spec.replicas, 1)
  t.equal(pod.enableServiceLinks, false)
  t.equal(pod.automountServiceAccountToken, false)
  t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 1000, fsGroupChangePolicy: 'OnRootMismatch' })
  t.match(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  t.match(container.image, new RegExp(`:${version}$`))
})

t.test('Service, NetworkPolicy and PodDisruptionBudget mean this pod and its ports', async t => {
  const { labels } = spec.template.metadata
  t.same(spec.selector.matchLabels, labels)
  const service = ofKind('Service')
  t.same(service.spec.selector, labels)
  t.equal(service.metadata.name, spec.serviceName)
  const policy = ofKind('NetworkPolicy').spec
  t.same(policy.podSelector.matchLabels, labels)
  t.same(ofKind('PodDisruptionBudget').spec.selector.matchLabels, labels)
  const names = container.ports.map(({ name }: { name: string }) => name)
  for (const { targetPort } of service.spec.ports) t.ok(names.includes(targetPort), targetPort)
  const [open, ops] = policy.ingress
  t.same(
    open.ports.map(({ port }: { port: string }) => port),
    service.spec.ports.map(({ targetPort }: { targetPort: string }) => targetPort),
  )
  t.same(ops.ports, [{ port: 'ops' }])
  t.ok(ops.from.length > 0, 'metrics are not for everybody')
})
